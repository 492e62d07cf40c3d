"""Which process a pid means: pids are used again, and mean nothing on another machine."""

from __future__ import annotations

import os


def start_time(pid: int) -> int:
    """Clock ticks since boot at which `pid` started (proc(5), stat field 22); 0 when there is none.

    One that has ended and whose parent does not look is none either.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return 0 if fields[0] in _ENDED else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0


_ENDED = (b"Z", b"X")


def spelt(pid: int) -> str:
    """`PID~START`: names one process of this machine, for as long as it runs."""
    return f"{pid}~{start_time(pid)}"


def is_gone(named: str) -> bool:
    """Whether the process that `spelt` named here has ended; False for what is no such name."""
    pid, _, started = named.partition("~")
    if not (pid.isdigit() and started.isdigit()):
        return False
    return start_time(int(pid)) != int(started)


def machine() -> str:
    """Where pids mean what they mean here: this boot of this kernel, and this pid namespace."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{boot[:18]}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
