"""A log that the user names: several sessions may share it."""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest

from sandbox.audit import read
from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.event import Event

REQUEST = Event("relay.request", {"method": "tools/call", "id": 1})


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def lines(sink: Sink) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(sink.path).read_bytes().splitlines()]


def checked(sink: Sink) -> read.Checked:
    return read.check(read.Log(sink.path, sink.session))


def test_sessions_may_share_a_log_at_the_same_time(environ: dict[str, str], tmp_path: Path):
    path = str(tmp_path / "all.jsonl")
    with (
        Sink("s1", "one", environ=environ, path=path) as one,
        Sink("s2", "two", environ=environ, path=path) as two,
    ):
        for _ in range(5):
            one.emit(REQUEST)
            two.emit(REQUEST)
        one.emit(Event("session.end"))
        assert read.running(read.Log(path)) == {"s1", "s2"}
    with Sink("s3", "three", environ=environ, path=path) as three:
        three.emit(REQUEST)
    assert read.check(read.Log(path)) == read.Checked(read.Log(path), 12, None)
    assert not Path(environ["XDG_STATE_HOME"]).exists()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda path: path.symlink_to("/dev/null"), "audit-not-writable", id="a link"),
        pytest.param(
            lambda path: (path.parent / "x").touch() or path.symlink_to("x"),
            "audit-not-writable",
            id="a link to a log",
        ),
        pytest.param(lambda path: os.mkfifo(path), "audit-not-writable", id="a FIFO nobody reads"),
        pytest.param(lambda path: path.mkdir(), "audit-not-writable", id="a directory"),
        pytest.param(
            lambda path: path.touch() or path.chmod(0o666), "audit-not-writable", id="writable by all"
        ),
        pytest.param(
            lambda path: path.write_text("cut"), "audit-damaged", id="a file without a last newline"
        ),
        pytest.param(lambda path: shutil.rmtree(path.parent), "audit-not-writable", id="no such directory"),
    ],
)
def test_a_named_log_that_cannot_be_ours_is_refused(make, code: str, environ: dict[str, str], tmp_path: Path):
    path = tmp_path / "logs" / "all.jsonl"
    path.parent.mkdir()
    make(path)
    with pytest.raises(AuditError) as raised:
        Sink("s1", "g", environ=environ, path=str(path))
    assert raised.value.code == code
    assert not list(tmp_path.glob("logs/*.head"))


@pytest.mark.parametrize("named", [False, True])
def test_a_sink_that_cannot_be_opened_leaves_no_file(
    named: bool, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(AuditError, match="No space left"):
        Sink("s1", "g", environ=environ, path=str(tmp_path / "all.jsonl") if named else None)
    assert not list(tmp_path.rglob("*.head"))
    assert not list(tmp_path.rglob("s1*"))
    assert not [fd for fd in os.listdir("/proc/self/fd") if str(tmp_path) in _target(fd)]


def test_whoever_keeps_a_shared_log_locked_ends_the_session_and_does_not_hang_it(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sandbox.audit.sink._LOCK_WAIT", 0.05)
    path = tmp_path / "all.jsonl"
    with Sink("s1", "g", environ=environ, path=str(path)) as sink, path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(AuditError, match="locked elsewhere"):
            sink.emit(REQUEST)
