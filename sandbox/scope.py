"""A scope of our own from the service manager: where systemd rules the cgroups, it makes ours.

StartTransientUnit moves one process into a new cgroup with limits, from wherever it is (a terminal's
session too, out of which no ordinary user may move a process), and the manager removes that cgroup when its
last process is gone, whoever of us died before. Spoken over the manager's own socket, as systemctl does.
"""

from __future__ import annotations

import os
import struct
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

from sandbox.records import dataclass
from sandbox.wire import dbus
from sandbox.wire.dbus import Property

DEADLINE_S = 3.0
"""For everything: a manager that is asked by nobody else answers in milliseconds."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.01
_HELLO, _START = 1, 2
_RECEIVE = 1 << 13


@dataclass(frozen=True, slots=True)
class Wanted:
    """A scope: its name without `.scope`, what is limited, and None where a thing is not."""

    name: str
    memory: int | None = None
    pids: int | None = None
    cpus: float | None = None


def unit(name: str) -> str:
    """The unit's name, and its cgroup's."""
    return f"{name}.scope"


def sockets(uid: int) -> list[tuple[str, bool]]:
    """Where the manager of `uid` listens, and whether a bus is in between; never as an environment says."""
    if uid == 0:
        return [("/run/systemd/private", False), ("/run/dbus/system_bus_socket", True)]
    return [(f"/run/user/{uid}/systemd/private", False), (f"/run/user/{uid}/bus", True)]


def slice_of(uid: int) -> str:
    """The slice in which applications of this user belong (systemd.special(7))."""
    return "app.slice" if uid else "system.slice"


def place(pid: int, wanted: Wanted) -> str:
    """Moves the process `pid` into a new scope with these limits; its path from the hierarchy's root.

    OSError when no manager did it. Whether every limit is set is for the caller to read in the cgroup.
    """
    uid, problems = os.geteuid(), []
    for path, bus in sockets(uid):
        try:
            _ask(
                path, uid, bus, dbus.start_transient_unit(unit(wanted.name), _properties(pid, wanted), _START)
            )
            return _arrival(pid, wanted)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            problems.append(f"nobody listens at {path}")
    raise OSError(111, f"no service manager for uid {uid}: {', '.join(problems)}")


def _properties(pid: int, wanted: Wanted) -> list[Property]:
    slice_name = slice_of(os.geteuid())
    found = [
        Property("Description", "s", "a sandbox of mcp-sandbox"),
        Property("Slice", "s", slice_name),
        # Delegated: the manager leaves what we write in there alone, and an OOM kill to us.
        Property("Delegate", "b", True),
        Property("CollectMode", "s", "inactive-or-failed"),
        Property("PIDs", "au", (pid,)),
    ]
    if wanted.memory is not None:
        found += [Property("MemoryMax", "t", wanted.memory), Property("MemorySwapMax", "t", 0)]
    if wanted.pids is not None:
        found.append(Property("TasksMax", "t", wanted.pids))
    if wanted.cpus is not None:
        found.append(Property("CPUQuotaPerSecUSec", "t", int(wanted.cpus * 1_000_000)))
    return found


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
            raise PermissionError(1, f"{path} belongs to uid {owner}")
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
            raise OSError(71, f"the service manager's answer is not D-Bus: {error}") from error
        if not data:
            raise OSError(104, "the service manager closed the connection")
        for answer in answers:
            if answer.error:
                raise OSError(1, f"the service manager refused: {answer.text or answer.error}")
            if answer.serial == _START:
                return


def _arrival(pid: int, wanted: Wanted) -> str:
    """The manager answers when its job is queued: done it is when the process is there."""
    end, pause = time.monotonic() + DEADLINE_S, _FIRST_PAUSE_S
    while True:
        where = unified(pid)
        if where.endswith(f"/{unit(wanted.name)}"):
            return where
        if time.monotonic() > end:
            raise TimeoutError(110, f"the service manager did not move process {pid} within {DEADLINE_S:g} s")
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_S)


def unified(pid: int) -> str:
    """The cgroup of a process in the unified hierarchy (cgroups(7)); empty where there is none."""
    with open(f"/proc/{pid}/cgroup") as lines:
        return next((line[3:].rstrip("\n") for line in lines if line.startswith("0::")), "")
