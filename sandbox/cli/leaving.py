"""The end of a process that still has threads."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def leave(status: int) -> int:
    """End at once where threads are left, which wait for either side or search what it said; else `status`.

    The interpreter's own end unwinds such a thread; one that is in C++ (re2) takes that for a fault: SIGABRT.
    """
    import threading

    if all(one is threading.current_thread() for one in threading.enumerate()):
        return status
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed at the start is None
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
