"""What the kernel's log says of processes that a filter ended (audit records of type 1326, seccomp(2))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from errno import EPIPE

from sandbox.records import dataclass

_DEVICE = "/dev/kmsg"
_LONGEST = 8192
# Strings that a process chose come in quotes only where they hold no quote, blank or control character.
_KILLED = re.compile(
    rb";audit: type=1326 .* pid=(\d+) comm=(?:\"([^\"]*)\"|([0-9A-F]+)) .*"
    rb" sig=31 arch=([0-9a-f]+) syscall=(\d+) "
)


@dataclass(frozen=True, slots=True)
class Killed:
    """A thread by its number on the host, the name it gave itself, and its call by AUDIT_ARCH and number."""

    pid: int
    name: str
    arch: int
    number: int


def opened() -> int | None:
    """The log from now on; None where this user may not read it, or there is none."""
    try:
        log = os.open(_DEVICE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(log, 0, os.SEEK_END)
    except OSError:
        return None
    return log


def killed(log: int, most: int) -> Iterator[Killed]:
    """Of the next `most` records those of a process that a filter ended."""
    for _ in range(most):
        try:
            record = os.read(log, _LONGEST)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == EPIPE:  # some were overwritten before they were read: go on with the oldest
                continue
            raise
        if found := parsed(record):
            yield found


def parsed(record: bytes) -> Killed | None:
    """One record of the log."""
    match = _KILLED.search(record)
    if match is None:
        return None
    pid, plain, coded, arch, number = match.groups()
    name = bytes.fromhex(coded.decode()) if plain is None else plain
    return Killed(int(pid), name.decode(errors="backslashreplace"), int(arch, 16), int(number))
