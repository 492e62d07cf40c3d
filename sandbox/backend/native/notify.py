"""The listener of the server's filter: what was called, by whom, and the answer (seccomp_unotify(2)).

A call that the filter does not make is never let through (SECCOMP_USER_NOTIF_FLAG_CONTINUE): what stands in
the caller's memory may change between the look and the call. Only one that the filter would have made anyway,
and of which somebody wants to know, goes on. One that gets no answer waits until its process is ended.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from errno import ENOENT

from sandbox.records import dataclass

_RECEIVE, _ANSWER, _VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTICE = struct.Struct("=QIIIIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_MACHINES = {0xC000003E: "x86_64", 0xC00000B7: "aarch64", 0x40000003: "i386", 0x40000028: "arm"}
_X32 = 0x40000000
_CONTINUE = 1
_SET_FLAGS, _SYNC_WAKE_UP = 0x40082104, 1
_PATH_MAX, _PAGE = 4096, 4096
_AT_FDCWD = -100
_FOLDER = os.path.join(os.path.dirname(__file__), "filters")
_STATUS_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Notice:
    """One call that waits; `machine` and `name` are those of the table of numbers that it was made by."""

    id: int
    thread: int
    machine: str
    number: int
    name: str
    args: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Caller:
    """A process by its number inside the sandbox, and the name it gave itself: hostile text."""

    pid: int
    name: str


def receive(listener: int) -> Notice | None:
    """The next call; None where its caller is gone. Only for a listener that poll(2) says is ready."""
    buffer = bytearray(_NOTICE.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno == ENOENT:
            return None
        raise
    ident, thread, _, number, arch, _, *args = _NOTICE.unpack(buffer)
    machine, number, name = called(arch, number)
    return Notice(ident, thread, machine, number, name, tuple(args))


def refuse(listener: int, notice: Notice, error: int) -> None:
    """The call fails with `error`; a caller that is gone meanwhile needs no answer."""
    with suppress(FileNotFoundError):
        fcntl.ioctl(listener, _ANSWER, _RESPONSE.pack(notice.id, 0, -error, 0))


def stay_near(listener: int) -> None:
    """Caller and listener take turns on one processor: half the time of a call (Linux 6.6, else nothing)."""
    with suppress(OSError):
        fcntl.ioctl(listener, _SET_FLAGS, _SYNC_WAKE_UP)


def go_on(listener: int, notice: Notice) -> None:
    """The call is made, as it would have been without us: nothing is granted by it."""
    with suppress(FileNotFoundError):
        fcntl.ioctl(listener, _ANSWER, _RESPONSE.pack(notice.id, 0, 0, _CONTINUE))


def path(listener: int, notice: Notice, address: int, directory: int) -> str | None:
    """The path at `address` of the caller's memory, absolute; None where it cannot be read.

    What the caller does by it may be something else by then: it is told of, and decides nothing.
    """
    try:
        raw = _text(notice.thread, address)
        if not raw.startswith(b"/"):
            raw = os.path.join(_directory(notice.thread, directory), raw)
        fcntl.ioctl(listener, _VALID, struct.pack("=Q", notice.id))
    except (OSError, ValueError, OverflowError):
        return None
    return raw.decode(errors="backslashreplace") if raw.startswith(b"/") else None


def _text(thread: int, address: int) -> bytes:
    """Up to the end of the string, page by page: the next page may not be there."""
    found = b""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        while len(found) < _PATH_MAX:
            at = address + len(found)
            more = os.pread(memory.fileno(), _PAGE - at % _PAGE, at)
            if not more:
                break  # the caller has ended: of its memory nothing is left, and no error says so
            found += more
            if (end := found.find(b"\0")) >= 0:
                return found[:end]
    raise ValueError("no end")


def _directory(thread: int, descriptor: int) -> bytes:
    link = "cwd" if descriptor == _AT_FDCWD else f"fd/{descriptor}"
    return os.readlink(f"/proc/{thread}/{link}".encode())


def caller(listener: int, notice: Notice) -> Caller | None:
    """Who waits for the answer; None where it is gone, and its number may be another's."""
    try:
        fields = _status(notice.thread)
        leader = _status(int(fields["Tgid"]))
        fcntl.ioctl(listener, _VALID, struct.pack("=Q", notice.id))
    except (OSError, KeyError, ValueError):
        return None
    return Caller(int(fields["NStgid"].split()[-1]), leader["Name"])


def _status(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status", "rb") as file:
        text = file.read(_STATUS_BYTES).decode(errors="backslashreplace")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.split("\n"))}


def called(arch: int, number: int) -> tuple[str, int, str]:
    """Machine, number and name of a call as the kernel tells of it: AUDIT_ARCH and the number there."""
    machine = _MACHINES.get(arch, f"architecture {arch:#x}")
    if machine == "x86_64" and number & _X32:
        machine, number = "x32", number & ~_X32
    return machine, number, _named(machine, number)


_names: dict[str, dict[int, str]] = {}


def _named(machine: str, number: int) -> str:
    if machine not in _names:
        _names[machine] = _read_names(machine)
    return _names[machine].get(number, f"number {number}")


def numbers(machine: str) -> dict[str, int]:
    """The calls of `machine` by name."""
    return {name: number for number, name in _read_names(machine).items()}


def _read_names(machine: str) -> dict[int, str]:
    if machine.startswith("architecture"):
        return {}
    with open(os.path.join(_FOLDER, f"{machine}.numbers")) as file:
        return {int(number): name for number, name in (line.split() for line in file)}
