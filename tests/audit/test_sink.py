import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sandbox.audit import read
from sandbox.audit.redact import MARK
from sandbox.audit.sink import SYNCED, Sink
from sandbox.errors import AuditError, UsageError
from sandbox.event import Event

REQUEST = Event("relay.request", {"method": "tools/call", "id": 1})


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def lines(sink: Sink) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(sink.path).read_bytes().splitlines()]


def checked(sink: Sink) -> read.Checked:
    return read.check(read.Log(sink.path, sink.session))


@pytest.mark.threat("S7", proves="every emitted event is in a private log whose chain verifies")
def test_a_session_is_a_private_file_that_verifies(environ: dict[str, str]):
    with Sink("s1", "github", environ=environ) as sink:
        sink.emit(Event("session.start", {"command": ["npx"]}))
        sink.emit(REQUEST)
        sink.emit(Event("session.end", {"status": 0}))
    assert [line["kind"] for line in lines(sink)] == ["session.start", "relay.request", "session.end"]
    assert checked(sink) == read.Checked(read.Log(sink.path, "s1"), 3, None)
    log = Path(sink.path)
    assert log.stat().st_mode & 0o777 == 0o600
    assert log.with_suffix(".head").stat().st_mode & 0o777 == 0o600
    assert log.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_can_be_inherited(environ: dict[str, str]):
    with Sink("s1", "g", environ=environ):
        ours = [fd for fd in os.listdir("/proc/self/fd") if "/audit" in _target(fd)]
        assert len(ours) == 3
        assert not any(os.get_inheritable(int(fd)) for fd in ours)
    assert not [fd for fd in os.listdir("/proc/self/fd") if "/audit" in _target(fd)]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_secrets_do_not_reach_the_file(environ: dict[str, str]):
    with Sink("s1", "g", environ=environ, secrets=["hunter22"]) as sink:
        sink.emit(Event("relay.noise", {"text": "hunter22 and later33"}, rule="hunter22"))
        sink.conceal(["later33"])
        sink.emit(Event("relay.noise", {"text": "later33"}))
    first, second = lines(sink)
    assert (first["detail"], first["rule"]) == ({"text": f"{MARK} and later33"}, MARK)
    assert second["detail"] == {"text": MARK}


@pytest.mark.threat("S7", proves="concurrent writers keep one chain")
def test_events_of_many_threads_are_one_chain(environ: dict[str, str]):
    with Sink("s1", "g", environ=environ) as sink:

        def work(name: int) -> None:
            for number in range(150):
                kind = "relay.dropped" if number % 50 == 0 else "relay.request"
                sink.emit(Event(kind, {"thread": name, "n": number}))

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert checked(sink).finding is None
    seen = [(line["detail"]["thread"], line["detail"]["n"]) for line in lines(sink)]  # type: ignore[index]
    assert sorted(seen) == [(name, number) for name in range(4) for number in range(150)]


def test_denials_are_on_the_disk_before_emit_returns(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    synced: list[int] = []
    with Sink("s1", "g", environ=environ) as sink:
        real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), real(fd))[1])
        sink.emit(REQUEST)
        assert synced == []
        for kind in sorted(SYNCED - {"session.end"}):
            sink.emit(Event(kind))
            assert len(synced) == 2
            synced.clear()
        sink.emit(REQUEST, sync=True)
        assert len(synced) == 2
    assert {"egress.deny", "quota.breach", "kill", "relay.dropped", "waiver", "session.end"} <= SYNCED


@pytest.mark.threat("S7", proves="lines cut from the log of a session killed by SIGKILL are missed")
def test_after_a_kill_the_head_still_knows_the_last_event(environ: dict[str, str]):
    code = (
        "import os, signal; from sandbox.audit.sink import Sink; from sandbox.event import Event\n"
        "sink = Sink('s1', 'g', environ=os.environ)\n"
        "for n in range(9): sink.emit(Event('relay.request', {'n': n}))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    child = subprocess.run([sys.executable, "-c", code], env={**os.environ, **environ}, timeout=60)
    assert child.returncode == -signal.SIGKILL
    (log,) = read.logs(environ)
    assert read.check(log) == read.Checked(log, 9, None, unfinished=("s1",))
    path = Path(log.path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:7]))
    finding = read.check(log).finding
    assert finding is not None
    assert (finding.line, finding.fault) == (8, "truncated")


def test_nothing_follows_the_end(environ: dict[str, str]):
    with Sink("s1", "g", environ=environ) as sink:
        sink.emit(Event("session.end"))
        with pytest.raises(AuditError, match="has ended"):
            sink.emit(REQUEST)
    assert checked(sink).finding is None


def test_a_closed_sink_takes_no_event_and_closes_twice(environ: dict[str, str]):
    sink = Sink("s1", "g", environ=environ)
    sink.close()
    sink.close()
    with pytest.raises(AuditError):
        sink.emit(REQUEST)


def test_a_session_is_logged_once(environ: dict[str, str]):
    Sink("s1", "g", environ=environ).close()
    with pytest.raises(AuditError, match="logged once"):
        Sink("s1", "g", environ=environ)
    assert [log.session for log in read.logs(environ)] == ["s1"]


@pytest.mark.parametrize("session", ["", "../x", "a/b", ".hidden", "a\n", "x" * 65, "ä"])
def test_an_id_that_is_no_plain_file_name_is_refused(session: str, environ: dict[str, str]):
    with pytest.raises(UsageError):
        Sink(session, "g", environ=environ)


def test_a_detail_that_is_not_json_ends_the_session(environ: dict[str, str]):
    with Sink("s1", "g", environ=environ) as sink:
        with pytest.raises(AuditError, match="TypeError"):
            sink.emit(Event("relay.request", {"x": b"bytes"}))  # type: ignore[dict-item]
        with pytest.raises(AuditError):
            sink.emit(REQUEST)


# --- places that do not work ---------------------------------------------------------------------


def test_no_home_is_an_error_and_not_a_directory_below_the_root():
    with pytest.raises(AuditError, match="neither HOME") as raised:
        Sink("s1", "g", environ={})
    assert "--audit" in raised.value.hint


@pytest.mark.parametrize("name", ["s1.jsonl", "s1.head"])
def test_a_link_planted_at_our_files_is_refused_and_its_target_untouched(
    name: str, environ: dict[str, str], tmp_path: Path
):
    Sink("s0", "g", environ=environ).close()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    directory = Path(environ["XDG_STATE_HOME"], "mcp-sandbox", "audit")
    (directory / name).symlink_to(victim)
    with pytest.raises(AuditError):
        Sink("s1", "g", environ=environ)
    assert victim.read_text() == "mine"
    assert not (directory / "s1.jsonl").exists() or name == "s1.jsonl"


def test_a_link_planted_as_our_directory_is_refused(environ: dict[str, str], tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state = Path(environ["XDG_STATE_HOME"], "mcp-sandbox")
    state.mkdir(parents=True)
    (state / "audit").symlink_to(elsewhere)
    with pytest.raises(AuditError):
        Sink("s1", "g", environ=environ)
    assert list(elsewhere.iterdir()) == []


def test_a_directory_that_others_may_write_is_made_private(environ: dict[str, str]):
    directory = Path(environ["XDG_STATE_HOME"], "mcp-sandbox", "audit")
    directory.mkdir(parents=True)
    directory.chmod(0o777)
    directory.parent.chmod(0o777)
    Sink("s1", "g", environ=environ).close()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert directory.parent.stat().st_mode & 0o777 == 0o755


OPEN = """
import os, sys
from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.event import Event
try:
    with Sink("s1", "g", environ=os.environ) as sink:
        for n in range(100000):
            sink.emit(Event("relay.noise", {"n": n, "text": "x" * 200}))
except AuditError as error:
    print(error)
    try:
        sink.emit(Event("relay.noise"))
    except AuditError:
        print("closed to later events")
    except NameError:
        pass
    sys.exit(error.exit_status)
"""


def child(argv: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environ}
    return subprocess.run(
        [*argv, sys.executable, "-c", OPEN], env=env, capture_output=True, text=True, timeout=90
    )


def test_a_read_only_state_directory_is_an_error_with_a_hint(environ: dict[str, str], tmp_path: Path):
    state = Path(environ["XDG_STATE_HOME"])
    state.mkdir()
    if os.geteuid() == 0:
        script = f'mount --bind {state} {state} && mount -o remount,ro,bind {state} && exec "$@"'
        done = child(["unshare", "-m", "sh", "-c", script, "sh"], environ)
    else:
        state.chmod(0o500)
        done = child([], environ)
    assert done.returncode == 125, done.stderr
    assert "audit-not-writable" in done.stdout
    assert "hint: set XDG_STATE_HOME" in done.stdout
    assert list(state.iterdir()) == []


@pytest.mark.threat("S7", proves="a full disk ends the session")
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs; the file size limit proves it for users")
def test_a_full_disk_ends_the_session_and_leaves_a_log_that_verifies(environ: dict[str, str], tmp_path: Path):
    state, kept = Path(environ["XDG_STATE_HOME"]), tmp_path / "kept"
    state.mkdir()
    script = (
        f'mount -t tmpfs -o size=128k none {state} && "$@"; status=$?; cp -r {state} {kept}; exit $status'
    )
    done = child(["unshare", "-m", "sh", "-c", script, "sh"], environ)
    assert done.returncode == 125, done.stderr
    assert "audit-write-failed" in done.stdout
    assert "closed to later events" in done.stdout
    (log,) = read.logs({"XDG_STATE_HOME": str(kept)})
    result = read.check(log)
    assert result.finding is None
    assert result.events > 50


@pytest.mark.threat("S7", proves="a write that fails ends the session")
def test_a_write_cut_short_is_taken_back_and_ends_the_session(environ: dict[str, str]):
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    env = {**os.environ, **environ}
    done = subprocess.run(
        [sys.executable, "-c", OPEN], env=env, capture_output=True, text=True, timeout=60, preexec_fn=limit
    )
    assert done.returncode == 125, done.stderr
    assert "bytes were written" in done.stdout or "File too large" in done.stdout
    assert "closed to later events" in done.stdout
    (log,) = read.logs(environ)
    assert read.check(log).finding is None


def test_an_interrupt_between_the_write_and_the_head_ends_the_session(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    with Sink("s1", "g", environ=environ) as sink:
        sink.emit(REQUEST)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", interrupt)
            with pytest.raises(KeyboardInterrupt):
                sink.emit(REQUEST)
        with pytest.raises(AuditError):
            sink.emit(REQUEST)
    assert len(lines(sink)) == 2
    assert checked(sink).finding is None


def test_a_failed_sync_ends_the_session(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch):
    with Sink("s1", "g", environ=environ) as sink:

        def fail(fd: int) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", fail)
        with pytest.raises(AuditError, match="Input/output error"):
            sink.emit(Event("egress.deny"))
        monkeypatch.undo()
        with pytest.raises(AuditError, match="Input/output error"):
            sink.emit(REQUEST)


def test_importing_the_sink_brings_nothing_heavy():
    code = "import sys; import sandbox.audit.sink; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    heavy = {
        "msgspec",
        "pydantic",
        "rich",
        "datetime",
        "asyncio",
        "subprocess",
        "socket",
        "threading",
        "random",
    }
    assert not heavy & set(done.stdout.split())
