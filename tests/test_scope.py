"""The service manager's scope: what is asked, and that only its word and our own move are believed."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import scope
from sandbox.backend.native.cgroup import Cgroup, places
from sandbox.plan.spec import Limits
from sandbox.wire import dbus

OK = b"OK 0123456789abcdef\r\n"


def reply(kind: int, text: str) -> bytes:
    """An answer to the call: a job's path, or an error with a text."""
    fields = struct.pack("<BB1sBI", 5, 1, b"u", 0, scope._START) + struct.pack(
        "<BB1sBB1sB", 8, 1, b"g", 0, 1, b"s", 0
    )
    body = struct.pack("<I", len(text)) + text.encode() + b"\0"
    head = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 1, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


@contextmanager
def manager(place: Path, says: bytes, moves: Callable[[], None] = lambda: None) -> Iterator[list[bytes]]:
    """Somebody who listens at `place`, answers one caller and does what it was asked."""
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()

        def serve() -> None:
            caller, _ = listener.accept()
            with caller:
                heard.append(caller.recv(1 << 16))
                moves()
                caller.sendall(says)
                caller.recv(1)  # until it is gone

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield heard
        thread.join(5)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the manager is looked for."""
    monkeypatch.setattr(
        scope, "sockets", lambda uid: ((str(tmp_path / "absent"), False), (str(tmp_path / "s"), False))
    )
    monkeypatch.setattr(scope, "DEADLINE_S", 0.3)
    return tmp_path / "s"


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called when the manager moves us."""
    where = ["/user.slice/session-1.scope"]
    monkeypatch.setattr(scope, "unified", lambda: where[0])

    def move() -> None:
        where[0] = "/user.slice/app.slice/box.scope"

    return move


def test_a_scope_is_asked_for_with_our_pid_and_entered(place: Path, moved: Callable[[], None]) -> None:
    with manager(place, OK + reply(dbus.RETURN, "/job/1"), moved) as heard:
        assert scope.enter("box") == "/user.slice/app.slice/box.scope"

    asked = heard[0]
    assert asked.startswith(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
    assert b"box.scope\0" in asked
    assert b"PIDs\0\x02au\0" in asked
    assert struct.pack("<II", 4, os.getpid()) in asked


def test_a_refusal_is_told_in_the_managers_words(place: Path, moved: Callable[[], None]) -> None:
    with (
        manager(place, OK + reply(dbus.ERROR, "no such slice")),
        pytest.raises(OSError, match="no such slice"),
    ):
        scope.enter("box")


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(OK + reply(dbus.RETURN, "/job/1"), id="a yes, and nobody is moved"),
        pytest.param(OK, id="no answer"),
        pytest.param(b"", id="no word"),
    ],
)
def test_a_manager_that_does_nothing_costs_a_bounded_time(
    place: Path, says: bytes, moved: Callable[[], None]
) -> None:
    with manager(place, says), pytest.raises(TimeoutError):
        scope.enter("box")


def test_what_is_no_dbus_is_no_manager(place: Path, moved: Callable[[], None]) -> None:
    with (
        manager(place, OK + b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        pytest.raises(OSError, match="not D-Bus") as raised,
    ):
        scope.enter("box")
    assert raised.value.errno == errno.EPROTO


def test_where_nobody_listens_there_is_no_scope(place: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no service manager"):
        scope.enter("box")


@pytest.mark.root
def test_somebody_elses_manager_is_not_asked(place: Path, moved: Callable[[], None]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        os.seteuid(4242)  # unix(7): a listener's credentials are those of the moment it listened
        try:
            listener.listen()
        finally:
            os.seteuid(0)
        with pytest.raises(PermissionError, match="uid 4242"):
            scope.enter("box")


def test_an_environment_does_not_say_where_the_manager_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/tmp/evil")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp/evil")

    assert {os.path.dirname(path) for path, _ in scope.sockets(1000)} == {
        "/run/user/1000",
        "/run/user/1000/systemd",
    }


def test_we_move_into_a_leaf_and_hand_down_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset io memory pids\n")
    (tmp_path / "cgroup.subtree_control").touch()
    leaf = tmp_path / scope.KEEPER

    # A directory is no cgroup: what the kernel makes of itself is missing in the leaf.
    with pytest.raises(FileNotFoundError, match=r"cgroup\.procs"):
        scope.settle(str(tmp_path))
    leaf.rmdir()


LIMITS = Limits(memory=1 << 26, mechanism="cgroup-v2", cgroups=(("scope", "/sys/fs/cgroup/a/app.slice"),))


def test_a_session_has_its_cgroup_in_a_scope_of_its_own() -> None:
    assert places(LIMITS, "s1") == {
        "unified": "/sys/fs/cgroup/a/app.slice/mcp-sandbox-s1.scope/mcp-sandbox-s1"
    }


def test_without_the_manager_the_sandbox_is_not_built(place: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no service manager"):
        Cgroup(LIMITS, "s1").create()
