"""The control socket: who may ask, what a hostile peer gets, and that nothing of it stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from _socket import AF_UNIX, SOCK_SEQPACKET, socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sandbox import control, leases
from sandbox.control import Control
from tests.conftest import ROOT

Environ = dict[str, str]
SAID = {"state": "running", "numbers": [1, 2]}
ASK = """
import json, sys
from sandbox import control
print(json.dumps(control.ask(["s-1"], "status", {"XDG_STATE_HOME": sys.argv[1], "HOME": "/"})))
"""
KNOCK = """
import sys
from _socket import AF_UNIX, SOCK_SEQPACKET, socket
one = socket(AF_UNIX, SOCK_SEQPACKET)
try:
    one.connect(sys.argv[1])
    one.send(b'{"ask": "status"}')
    print(one.recv(1 << 16).decode() or "nothing")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def environ(tmp_path: Path) -> Environ:
    return {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}


@pytest.fixture
def answering(environ: Environ) -> Iterator[Control]:
    """A socket that answers `status`, and fails at `fault`."""

    def fault() -> dict[str, Any]:
        raise RuntimeError("of the session")

    made = Control("s-1", environ)
    made.open({"status": lambda: SAID, "fault": fault, "large": lambda: {"x": "x" * control.ANSWER_MAX}})
    yield made
    made.close()


def status(environ: Environ, word: str = "status") -> dict[str, Any] | None:
    return control.ask(["s-1"], word, environ).get("s-1")


def peer(environ: Environ, stack: ExitStack) -> socket:
    one = socket(AF_UNIX, SOCK_SEQPACKET)
    stack.callback(one.close)
    one.connect(leases.socket_path("s-1", environ))  # blocking: it waits where many wait already
    one.settimeout(5.0)
    return one


def test_a_question_and_its_answer(environ: Environ, answering: Control) -> None:
    assert status(environ) == {"schema": 1, **SAID}


def test_a_question_with_what_is_given(environ: Environ) -> None:
    control_ = Control("s-1", environ)
    control_.open({"echo": lambda given: {"heard": given}, "status": lambda: SAID})
    for given, heard in (({"a": [1, True]}, {"a": [1, True]}), ({}, {})):
        told = control.ask(["s-1"], "echo", environ, given=given)
        assert told == {"s-1": {"schema": 1, "heard": heard}}
    # What is given to a word that takes nothing, or not given to one that does, is no answer.
    assert control.ask(["s-1"], "echo", environ) == {}
    assert control.ask(["s-1"], "status", environ, given={"a": 1}) == {}
    assert control.ask(["s-1"], "status", environ) == {"s-1": {"schema": 1, **SAID}}
    control_.close()


def test_nobody_else_may_enter(environ: Environ, answering: Control) -> None:
    path = Path(leases.socket_path("s-1", environ))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_was_open_is_closed(environ: Environ) -> None:
    folder = Path(leases.socket_path("", environ))
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    made = Control("s-1", environ)
    made.open({})
    assert folder.stat().st_mode & 0o777 == 0o700
    made.close()


def test_a_state_directory_with_a_long_path(tmp_path: Path) -> None:
    long = {"XDG_STATE_HOME": str(tmp_path / ("x" * 120) / ("y" * 120)), "HOME": "/"}
    made = Control("s-1", long)
    made.open({"status": lambda: SAID})
    assert status(long) == {"schema": 1, **SAID}
    made.close()


@pytest.mark.parametrize("word", ["nothing", "fault", "large", "__class__"])
def test_what_cannot_be_answered_is_no_answer(word: str, environ: Environ, answering: Control) -> None:
    assert status(environ, word) is None
    assert status(environ) == {"schema": 1, **SAID}


@pytest.mark.parametrize(
    "said",
    [b"", b"\xff\xfe", b"[" * 1000, b"[]", b'{"ask": ["status"]}', b'{"ask": {}}', b"x" * 100_000, b"null"],
)
def test_a_peer_that_says_nonsense(said: bytes, environ: Environ, answering: Control) -> None:
    with ExitStack() as stack:
        one = peer(environ, stack)
        one.send(said)
        assert json.loads(one.recv(1 << 16) or b"{}").get("error", "") in ("", "unknown-request")
    assert status(environ) == {"schema": 1, **SAID}


def test_silent_peers_hold_nobody_up_and_are_sent_away(environ: Environ, answering: Control) -> None:
    with ExitStack() as stack:
        silent = [peer(environ, stack) for _ in range(control.WAITING_MAX - 1)]
        assert status(environ) == {"schema": 1, **SAID}
        assert [one.recv(1) for one in silent] == [b""] * len(silent)


def test_more_peers_than_there_is_room_for(environ: Environ, answering: Control) -> None:
    with ExitStack() as stack:
        for _ in range(control.WAITING_MAX):
            peer(environ, stack)
        until = time.monotonic() + 10
        while status(environ) is None:
            assert time.monotonic() < until, "the first ones are sent away, and there is room again"
    assert status(environ) == {"schema": 1, **SAID}


def test_peers_that_come_and_go_leave_no_descriptor(environ: Environ, answering: Control) -> None:
    status(environ)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with ExitStack() as stack:
            peer(environ, stack)
    until = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < until


def test_no_answer_from_one_that_is_not_there(environ: Environ, answering: Control) -> None:
    started = time.monotonic()
    assert control.ask(["s-0", "s-1"], "status", environ) == {"s-1": {"schema": 1, **SAID}}
    assert time.monotonic() - started < control.ASK_S


def test_one_that_does_not_answer_costs_half_a_second(environ: Environ, answering: Control) -> None:
    mute = socket(AF_UNIX, SOCK_SEQPACKET)
    mute.bind(leases.socket_path("s-0", environ))
    mute.listen(1)
    started = time.monotonic()
    assert control.ask(["s-0", "s-1"], "status", environ, 0.2) == {"s-1": {"schema": 1, **SAID}}
    assert 0.2 <= time.monotonic() - started < 5
    mute.close()


def test_its_end_takes_the_name_away_and_the_thread_ends(environ: Environ) -> None:
    import threading

    made = Control("s-1", environ)
    made.open({"status": lambda: SAID})
    thread = next(one for one in threading.enumerate() if one.name == "control")
    made.close()
    assert os.listdir(leases.socket_path("", environ)) == []
    assert status(environ) is None
    thread.join(10)
    assert not thread.is_alive()
    made.close()


def test_a_lease_that_is_reaped_takes_its_socket_along(environ: Environ, answering: Control) -> None:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        started = leases.start_time(process.pid)
    leases.take(leases.Lease("s-1", "x", process.pid, started), environ)
    assert leases.reap(environ) == ["s-1"]
    assert os.listdir(leases.socket_path("", environ)) == []


def test_only_sockets_without_a_lease_are_swept(environ: Environ, answering: Control) -> None:
    own = os.getpid()
    leases.take(leases.Lease("s-1", "x", own, leases.start_time(own)), environ)
    lost = leases.socket_path("s-0", environ)
    Path(lost).touch()
    assert control.sweep(environ) == [lost]
    assert os.listdir(leases.socket_path("", environ)) == ["s-1"]


def knock(environ: Environ, *prefix: str) -> str:
    """What another process gets that connects by the path alone."""
    argv = [*prefix, sys.executable, "-c", KNOCK, leases.socket_path("s-1", environ)]
    return subprocess.check_output(argv, cwd="/", text=True, timeout=20).strip()


@pytest.mark.root
def test_another_user_gets_nothing(
    environ: Environ, answering: Control, as_user: Callable[[list[str]], list[str]], tmp_path: Path
) -> None:
    prefix = as_user([])
    assert knock(environ, *prefix) == "PermissionError"
    # The control: where the way is open, it is the question who asks that keeps the answer.
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path.stat().st_mode & 0o777 == 0o700:
            path.chmod(0o711)
    Path(leases.socket_path("", environ)).chmod(0o777)
    Path(leases.socket_path("s-1", environ)).chmod(0o777)
    assert knock(environ, *prefix) in ("nothing", "ConnectionResetError", "BrokenPipeError")
    assert json.loads(knock(environ))["state"] == "running"


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["--user", "--map-current-user"], id="another user namespace"),
        pytest.param(["--pid", "--fork", "--kill-child"], marks=pytest.mark.root, id="another pid namespace"),
    ],
)
def test_a_process_of_a_sandbox_gets_nothing(kinds: list[str], environ: Environ, answering: Control) -> None:
    """The same uid as outside, which is what a server is that was granted too much."""
    inside = knock(environ, "unshare", *kinds)
    assert inside in ("nothing", "ConnectionResetError", "BrokenPipeError")
    assert json.loads(knock(environ))["state"] == "running", "the control: the same without a namespace"


def test_who_answers_must_be_the_same_user(
    environ: Environ, answering: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(environ) is not None
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert status(environ) is None


def test_another_process_of_the_user_is_answered(environ: Environ, answering: Control) -> None:
    argv = [sys.executable, "-c", ASK, environ["XDG_STATE_HOME"]]
    said = subprocess.check_output(argv, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, text=True, timeout=20)
    assert json.loads(said) == {"s-1": {"schema": 1, **SAID}}
