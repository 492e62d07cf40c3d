"""A temporary directory of a demo's that no signal leaves behind."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def made(stack: ExitStack, prefix: str, place: str | None = None) -> str:
    """Its path; it goes with `stack`, and is there only once `stack` knows of it."""
    with _held():
        return stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix, dir=place))


@contextmanager
def _held() -> Iterator[None]:
    """What would end us waits: between a directory and its owner there is no moment to end in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
