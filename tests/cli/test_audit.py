import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sandbox.audit.sink import Sink
from sandbox.cli.main import main
from sandbox.event import Event

Out = pytest.CaptureFixture[str]


def logged(session: str, *events: Event, server: str = "github", path: str | None = None) -> Path:
    with Sink(session, server, environ=os.environ, path=path) as sink:
        for event in events or (Event("session.start"), Event("relay.request"), Event("session.end")):
            sink.emit(event)
    return Path(sink.path)


def text(out: Out) -> tuple[str, str]:
    captured = out.readouterr()
    return captured.out, captured.err


# --- show ----------------------------------------------------------------------------------------


def test_show_prints_one_line_an_event_with_server_kind_detail_and_rule(capsys: Out):
    logged("s1", Event("egress.deny", {"host": "a.example", "port": 443, "why": ""}, rule="default deny"))
    assert main(["audit", "show"]) == 0
    (line,) = text(capsys)[0].splitlines()
    assert line.endswith('egress.deny         host=a.example port=443 why=""  [default deny]')
    assert "Z" not in line[:23]
    assert "  github  " in line


def test_show_json_prints_the_very_bytes_of_the_log(capsys: Out):
    log = logged("s1")
    assert main(["audit", "show", "s1", "--json"]) == 0
    assert text(capsys)[0] == log.read_text()


def test_show_filters_by_kind(capsys: Out):
    logged("s1")
    assert main(["audit", "show", "--kind", "relay.request"]) == 0
    assert len(text(capsys)[0].splitlines()) == 1


FAMILY = ("egress.allow", "egress.deny", "dns.deny", "egress.close", "session.end")
FILTERS = [
    pytest.param("egress", ["egress.allow", "egress.deny", "egress.close"], id="a family"),
    pytest.param("egress.deny", ["egress.deny"], id="one kind of it"),
    pytest.param("dns", ["dns.deny"], id="another family"),
    pytest.param("kill", [], id="a kind without a family, which did not happen"),
]


@pytest.mark.parametrize(("kind", "shown"), FILTERS)
def test_show_filters_by_family(kind: str, shown: list[str], capsys: Out):
    logged("s1", *map(Event, FAMILY))
    assert main(["audit", "show", "--kind", kind, "--json"]) == 0
    assert [json.loads(line)["kind"] for line in text(capsys)[0].splitlines()] == shown


@pytest.mark.parametrize("kind", ["egres", "egress.", "egress.nothing", "", "."])
def test_a_kind_that_does_not_exist_is_a_usage_error(kind: str, capsys: Out):
    logged("s1")
    with pytest.raises(SystemExit):
        main(["audit", "show", "--kind", kind])
    assert "invalid choice" in text(capsys)[1]


def test_show_takes_the_newest_session_unless_told(capsys: Out):
    for age, session in ((2, "old"), (1, "new")):
        log = logged(session, server=session)
        for path in (log, log.with_suffix(".head")):
            os.utime(path, (time.time() - age, time.time() - age))
    assert main(["audit", "show"]) == 0
    assert "  new  " in text(capsys)[0]
    assert main(["audit", "show", "old"]) == 0
    assert "  old  " in text(capsys)[0]


@pytest.mark.threat("S7", proves="a hostile server's names do not act on the terminal that shows the log")
def test_what_a_terminal_would_act_on_is_written_out(capsys: Out):
    hostile = "\x1b[2J\x9b1m\r\n\u202e\u200b\ud800ä"
    logged("s1", Event("relay.noise", {hostile: [hostile, {hostile: hostile}]}, hostile), server=hostile)
    assert main(["audit", "show"]) == 0
    shown = text(capsys)[0]
    assert len(shown.splitlines()) == 1
    assert all(char.isprintable() for char in shown.rstrip("\n"))
    assert r"\x1b[2J" in shown
    assert "ä" in shown


def test_show_says_what_is_no_event_and_goes_on(capsys: Out):
    log = logged("s1")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + b"\x1b[2Jnonsense\n" + lines[2])
    assert main(["audit", "show"]) == 1
    out, err = text(capsys)
    assert len(out.splitlines()) == 2
    assert "line 2 is not an event" in err
    assert "\x1b" not in out + err


def test_sessions_are_listed_with_their_state(capsys: Out):
    log = logged("s1")
    for path in (log, log.with_suffix(".head")):
        os.utime(path, (time.time() - 1, time.time() - 1))
    with Sink("s2", "time", environ=os.environ) as sink:
        sink.emit(Event("session.start"))
        assert main(["audit", "show", "--sessions", "--json"]) == 0
    listed = [json.loads(line) for line in text(capsys)[0].splitlines()]
    assert [(one["session"], one["server"], one["running"]) for one in listed] == [
        ("s2", "time", True),
        ("s1", "github", False),
    ]
    assert main(["audit", "show", "--sessions"]) == 0
    assert [line.split()[-1] for line in text(capsys)[0].splitlines()] == ["ended", "ended"]


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["show"], id="show without a session"),
        pytest.param(["show", "x"], id="an unknown session"),
        pytest.param(["follow"], id="follow without a session"),
        pytest.param(["verify", "x"], id="verify an unknown session"),
    ],
)
def test_what_does_not_exist_is_a_usage_error(args: list[str], capsys: Out):
    assert main(["audit", *args]) == 2
    assert "hint: mcp-sandbox" in text(capsys)[1]


def test_an_unreadable_log_is_a_clear_error(capsys: Out, tmp_path: Path):
    log = logged("s1")
    log.rename(tmp_path / "moved")
    log.symlink_to(tmp_path / "moved")
    assert main(["audit", "show"]) == 1
    assert "it is a symbolic link" in text(capsys)[1]


def test_an_unreadable_state_directory_is_a_clear_error(capsys: Out):
    Path(os.environ["HOME"], ".local/state/mcp-sandbox").mkdir(parents=True)
    Path(os.environ["HOME"], ".local/state/mcp-sandbox/audit").write_text("not a directory")
    for action in ("show", "follow", "verify"):
        assert main(["audit", action]) == 1
        assert "Not a directory" in text(capsys)[1]


# --- follow --------------------------------------------------------------------------------------


def follower(*args: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]
    return subprocess.Popen(
        [*argv, "audit", "follow", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_follow_prints_events_as_they_happen_and_ends_with_the_session():
    with Sink("s1", "github", environ=os.environ) as sink:
        sink.emit(Event("session.start"))
        with follower("s1") as child:
            assert child.stdout is not None
            assert "session.start" in child.stdout.readline()
            sink.emit(Event("relay.request", {"n": 1}))
            assert "relay.request" in child.stdout.readline()
            sink.emit(Event("session.end"))
            out, _ = child.communicate(timeout=20)
    assert "session.end" in out
    assert child.returncode == 0


def test_follow_ends_when_nobody_writes_any_more():
    sink = Sink("s1", "github", environ=os.environ)
    sink.emit(Event("session.start"))
    with follower("s1", "--json") as child:
        assert child.stdout is not None
        assert json.loads(child.stdout.readline())["kind"] == "session.start"
        sink.emit(Event("relay.request"))
        sink.close()
        out, err = child.communicate(timeout=20)
    assert json.loads(out)["kind"] == "relay.request"
    assert "nobody writes" in err


def test_follow_of_an_ended_session_prints_it_and_ends(capsys: Out):
    logged("s1")
    thread = threading.Thread(target=main, args=(["audit", "follow"],))
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(text(capsys)[0].splitlines()) == 3


# --- verify --------------------------------------------------------------------------------------


def test_verify_of_nothing_is_fine(capsys: Out):
    assert main(["audit", "verify"]) == 0
    assert "no session" in text(capsys)[1]


@pytest.mark.threat("S7", proves="verify names file, line and fault, with status 1")
@pytest.mark.parametrize(
    ("tamper", "line", "fault"),
    [
        pytest.param(lambda n: [n[0], n[1].replace(b"github", b"gitlab"), n[2]], 2, "edited", id="edited"),
        pytest.param(lambda n: [n[0], n[2]], 2, "deleted", id="deleted"),
        pytest.param(lambda n: [n[0], n[2], n[1]], 2, "reordered", id="swapped"),
        pytest.param(lambda n: [n[0], n[1][:50] + b"\n", n[2]], 2, "cut", id="cut"),
        pytest.param(lambda n: n[:1], 2, "truncated", id="the end cut off"),
    ],
)
def test_verify_names_the_first_bad_line(tamper, line: int, fault: str, capsys: Out):
    good, bad = logged("good"), logged("bad")
    bad.write_bytes(b"".join(tamper(bad.read_bytes().splitlines(keepends=True))))
    assert main(["audit", "verify"]) == 1
    shown = text(capsys)[0].splitlines()
    assert f"ok  {good}: 3 events" in shown
    assert any(one.startswith(f"bad  {bad}:{line}: {fault}: ") for one in shown)
    assert main(["audit", "verify", "good"]) == 0
    assert main(["audit", "verify", str(bad)]) == 1


def test_verify_json_is_one_document(capsys: Out):
    log = logged("s1")
    log.with_suffix(".head").unlink()
    assert main(["audit", "verify", "--json"]) == 1
    document = json.loads(text(capsys)[0])
    assert next(iter(document)) == "schema"
    assert document["ok"] is False
    (one,) = document["logs"]
    assert (one["path"], one["finding"]["fault"], one["finding"]["line"]) == (str(log), "head-missing", 4)
    assert "cannot rule out truncation" in one["finding"]["what"]


def test_verify_reads_a_log_that_sessions_share(capsys: Out, tmp_path: Path):
    path = tmp_path / "all.log"
    logged("s1", path=str(path))
    logged("s2", path=str(path))
    assert main(["audit", "verify", str(path)]) == 0
    assert "6 events" in text(capsys)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert main(["audit", "verify", str(path)]) == 1
    assert "events 1 to 3 of session `s2` are missing" in text(capsys)[0]


def test_verify_says_which_sessions_never_closed(capsys: Out):
    sink = Sink("s1", "g", environ=os.environ)
    assert main(["audit", "verify", "s1"]) == 0
    assert "not closed: s1" in text(capsys)[0]
    sink.close()


def test_verify_goes_on_after_a_log_that_it_cannot_read(capsys: Out, tmp_path: Path):
    logged("s1")
    assert main(["audit", "verify", str(tmp_path / "nothing.jsonl"), "s1"]) == 1
    shown = text(capsys)[0].splitlines()
    assert "unreadable: cannot read" in shown[0]
    assert shown[1].startswith("ok  ")
