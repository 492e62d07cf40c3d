"""On which processor a process runs: a hint to the kernel, which moves it as it likes afterwards."""

from __future__ import annotations

import os
from contextlib import suppress

_PROCESSOR = 36
"""Among the fields of stat behind the name, the one it ran on last (proc_pid_stat(5), field 39)."""


def current() -> int:
    """The processor that this process runs on; -1 where /proc does not say."""
    try:
        with open("/proc/self/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[_PROCESSOR])
    except (OSError, ValueError, IndexError):
        return -1


def leave(processor: int) -> None:
    """Go on at once on any other one that this process may use, where there is one.

    A child begins behind its parent, on the parent's processor, and may stay there for milliseconds while
    another is idle: the kernel waits for the next time that it looks for work.
    """
    with suppress(OSError):
        allowed = os.sched_getaffinity(0)
        if len(others := allowed - {processor}) in (0, len(allowed)):
            return
        os.sched_setaffinity(0, others)
        os.sched_setaffinity(0, allowed)
