"""A scope of our own from the service manager: where systemd rules the cgroups, it hands us one.

StartTransientUnit moves the keeper into a new, delegated cgroup, from wherever it is (a terminal's session
too, out of which no ordinary user may move a process). The keeper goes into a leaf of that and the sandbox
into another, with the limits: so nobody removes the sandbox's cgroup before the keeper has read in it what
the kernel did. When the keeper is gone as well the manager removes everything, whoever of us died before.
Spoken over the manager's own socket, as systemctl does.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

from sandbox import kernel_files
from sandbox.wire import dbus
from sandbox.wire.dbus import Property

CONTROLLERS = ("memory", "pids", "cpu")
KEEPER = "keeper"
"""The leaf for ourselves: a cgroup that hands controllers to its children holds no process itself."""
DEADLINE_S = 10.0
"""For an answer, and for the move: milliseconds, but a manager may be busy with a whole login."""
STOP_US = 2_000_000
"""A manager that stops the scope (at a logout, or asked to) waits so long before it kills."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.01
_HELLO, _START = 1, 2
_RECEIVE = 1 << 13
_NOBODY = (errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED, errno.EACCES)


def unit(name: str) -> str:
    """The name of the unit, and of its cgroup."""
    return f"{name}.scope"


def sockets(uid: int) -> tuple[tuple[str, bool], ...]:
    """Where the manager of `uid` listens, and whether a bus is in between; never as an environment says."""
    if uid == 0:
        return (("/run/systemd/private", False), ("/run/dbus/system_bus_socket", True))
    return ((f"/run/user/{uid}/systemd/private", False), (f"/run/user/{uid}/bus", True))


def enter(name: str) -> str:
    """Moves this process into a new scope; its path from the hierarchy's root. OSError when nobody did it."""
    uid = os.geteuid()
    call = dbus.start_transient_unit(unit(name), _properties(uid, os.getpid()), _START)
    for path, bus in sockets(uid):
        try:
            _ask(path, uid, bus, call)
        except OSError as error:
            if error.errno not in _NOBODY:
                raise
        else:
            return _arrival(f"/{unit(name)}")
    raise FileNotFoundError(errno.ENOENT, f"no service manager of uid {uid} listens")


def settle(directory: str) -> tuple[str, ...]:
    """Makes room below the scope at `directory`: ourselves into a leaf; the controllers its children get."""
    os.mkdir(f"{directory}/{KEEPER}")
    kernel_files.write(f"{directory}/{KEEPER}/cgroup.procs", str(os.getpid()))
    with open(f"{directory}/cgroup.controllers") as names:
        handed = names.read().split()
    found = tuple(name for name in CONTROLLERS if name in handed)
    kernel_files.write(f"{directory}/cgroup.subtree_control", " ".join(f"+{name}" for name in found))
    return found


def _properties(uid: int, pid: int) -> tuple[Property, ...]:
    return (
        Property("Description", "s", "a sandbox of mcp-sandbox"),
        # Where a user's applications belong (systemd.special(7)).
        Property("Slice", "s", "app.slice" if uid else "system.slice"),
        Property("Delegate", "b", True),
        Property("CollectMode", "s", "inactive-or-failed"),
        Property("TimeoutStopUSec", "t", STOP_US),
        Property("PIDs", "au", (pid,)),
    )


def _ask(path: str, uid: int, bus: bool, call: bytes) -> None:
    """One call to the manager at `path`; returns when it has agreed."""
    end = time.monotonic() + DEADLINE_S
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        connection.settimeout(DEADLINE_S)
        connection.connect(path)
        _, owner, _ = struct.unpack("3i", connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))
        # The system's bus is a user of its own; what it routes to is the manager all the same.
        if owner not in (uid, 0) and not (bus and uid == 0):
            raise PermissionError(errno.EPERM, f"{path} belongs to uid {owner}")
        connection.sendall(dbus.greeting(uid) + (dbus.hello(_HELLO) if bus else b"") + call)
        _await_answer(connection, end)
    finally:
        connection.close()


def _await_answer(connection: socket, end: float) -> None:
    reader = dbus.Reader()
    while True:
        connection.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = connection.recv(_RECEIVE)
            answers = reader.feed(data)
        except dbus.Malformed as error:
            raise OSError(errno.EPROTO, f"the service manager's answer is not D-Bus: {error}") from error
        if not data:
            raise OSError(errno.ECONNRESET, "the service manager closed the connection")
        for answer in answers:
            if answer.error:
                raise OSError(errno.EPERM, f"the service manager refused: {answer.text or answer.error}")
            if answer.serial == _START:
                return


def _arrival(end_of_path: str) -> str:
    """The manager answers when its job is queued; done it is when we are there."""
    end, pause = time.monotonic() + DEADLINE_S, _FIRST_PAUSE_S
    while not (where := unified()).endswith(end_of_path):
        if time.monotonic() > end:
            raise TimeoutError(errno.ETIMEDOUT, f"the service manager moved nothing within {DEADLINE_S:g} s")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)
    return where


def unified() -> str:
    """Our cgroup in the unified hierarchy (cgroups(7)); empty where there is none."""
    with open("/proc/self/cgroup") as lines:
        return next((line[3:].rstrip("\n") for line in lines if line.startswith("0::")), "")
