import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.audit import read
from sandbox.audit.sink import Sink
from sandbox.errors import AuditError, UsageError
from sandbox.event import Event


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def logged(environ: dict[str, str], session: str, server: str = "github", events: int = 3) -> Path:
    with Sink(session, server, environ=environ) as sink:
        for number in range(events):
            sink.emit(Event("relay.request", {"n": number}))
    return Path(sink.path)


def fault(environ: dict[str, str], session: str) -> str:
    finding = read.check(read.find(environ, session)).finding
    return finding.fault if finding else ""


def test_no_state_directory_means_no_sessions(environ: dict[str, str]):
    assert read.logs(environ) == []


def test_sessions_are_listed_newest_first(environ: dict[str, str]):
    for place, session in enumerate(["b", "c", "a"]):
        log = logged(environ, session)
        os.utime(log, (place, place))
        os.utime(log.with_suffix(".head"), (place, place))
    assert [log.session for log in read.logs(environ)] == ["a", "c", "b"]


def test_files_that_are_not_ours_are_no_sessions(environ: dict[str, str]):
    directory = logged(environ, "s1").parent
    for name in ("notes.txt", ".x.jsonl", "a b.jsonl", "jsonl"):
        (directory / name).touch()
    assert [log.session for log in read.logs(environ)] == ["s1"]


@pytest.mark.parametrize(
    ("wanted", "session"),
    [
        pytest.param("20261122-aa", "20261122-aa", id="the whole id, though it begins another"),
        pytest.param("20261122-b", "20261122-bb", id="a unique beginning"),
        pytest.param("time", "20261122-bb", id="a server"),
    ],
)
def test_a_session_is_found_by(wanted: str, session: str, environ: dict[str, str]):
    logged(environ, "20261122-aa", "git")
    logged(environ, "20261122-aaa", "git")
    logged(environ, "20261122-bb", "time")
    assert read.find(environ, wanted).session == session
    path = read.find(environ, wanted).path
    assert read.find({"HOME": "/nonexistent"}, path).session == session


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("2026", "ambiguous-session"), ("nothing", "no-such-session"), ("", "no-such-session")],
)
def test_what_names_no_single_session_is_a_usage_error(wanted: str, code: str, environ: dict[str, str]):
    logged(environ, "20261122-aa")
    logged(environ, "20261122-bb")
    with pytest.raises(UsageError) as raised:
        read.find(environ, wanted)
    assert raised.value.code == code


@pytest.mark.threat("S7", proves="an emptied or removed log, and a removed or changed head, are findings")
@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        pytest.param(lambda log, head: log.write_bytes(b""), "truncated", id="the log emptied"),
        pytest.param(lambda log, head: log.unlink(), "truncated", id="the log removed"),
        pytest.param(lambda log, head: head.unlink(), "head-missing", id="the head removed"),
        pytest.param(lambda log, head: head.write_bytes(b""), "head-damaged", id="the head emptied"),
        pytest.param(
            lambda log, head: head.write_bytes(head.read_bytes().replace(b'"seq":3', b'"seq":2')),
            "edited",
            id="the head set back",
        ),
        pytest.param(
            lambda log, head: head.write_bytes(head.read_bytes().replace(b'"s1"', b'"s2"')),
            "head-damaged",
            id="the head of another session",
        ),
    ],
)
def test_a_log_and_its_head_belong_together(tamper, expected: str, environ: dict[str, str]):
    log = logged(environ, "s1")
    assert fault(environ, "s1") == ""
    tamper(log, log.with_suffix(".head"))
    assert fault(environ, "s1") == expected


def test_every_byte_of_a_head_counts(environ: dict[str, str]):
    log = logged(environ, "s1")
    head = log.with_suffix(".head")
    record = head.read_bytes()
    for place in range(len(record)):
        head.write_bytes(record[:place] + bytes([record[place] ^ 1]) + record[place + 1 :])
        assert fault(environ, "s1") != "", place
    head.write_bytes(record)
    assert fault(environ, "s1") == ""


def test_both_files_gone_is_no_session_that_verify_knows(environ: dict[str, str]):
    log = logged(environ, "s1")
    log.unlink()
    log.with_suffix(".head").unlink()
    with pytest.raises(UsageError):
        read.find(environ, "s1")


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_only_a_regular_file_is_read(kind: str, environ: dict[str, str], tmp_path: Path):
    log = logged(environ, "s1")
    other = log.rename(tmp_path / "moved")
    {"link": lambda: log.symlink_to(other), "fifo": lambda: os.mkfifo(log), "directory": log.mkdir}[kind]()
    with pytest.raises(AuditError, match="symbolic link" if kind == "link" else "not a regular file"):
        list(read.events(read.Log(str(log), "s1")))
    with pytest.raises(AuditError):
        read.check(read.Log(str(log), "s1"))


def test_a_line_without_end_does_not_fill_the_memory(environ: dict[str, str]):
    log = logged(environ, "s1")
    with log.open("ab") as stream:
        stream.truncate(1 << 28)
    finding = read.check(read.find(environ, "s1")).finding
    assert finding is not None
    assert (finding.line, finding.fault) == (4, "edited")


def test_a_live_session_verifies_while_it_is_written(environ: dict[str, str]):
    code = (
        "import os, sys; from sandbox.audit.sink import Sink; from sandbox.event import Event\n"
        "with Sink('s1', 'g', environ=os.environ) as sink:\n"
        "    print(flush=True)\n"
        "    for n in range(20000): sink.emit(Event('relay.request', {'n': n}))\n"
    )
    env = {**os.environ, **environ}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        log = read.find(environ, "s1")
        rounds = 0
        while writer.poll() is None:
            checked = read.check(log)
            assert checked.finding is None
            rounds += 1
    assert writer.returncode == 0
    assert rounds > 0
    assert read.check(log) == read.Checked(log, 20000, None)
    assert read.running(log) == set()
