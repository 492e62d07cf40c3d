"""A server's stdin and stdout as named pipes in the session's folder: no call passes through the engine.

The engine's own streams take four copies each way, in three processes of its own.
"""

from __future__ import annotations

import fcntl
import os
import select
from contextlib import suppress
from threading import Thread

from sandbox.backend.pipes import PIPE_BYTES
from sandbox.plan.container import STDIN, STDOUT


class Pipes:
    """Made before the server is; `start` carries what flows through them once it has opened them."""

    def __init__(self, folder: str) -> None:
        self._stdin, self._stdout = f"{folder}/{STDIN}", f"{folder}/{STDOUT}"
        for path in (self._stdin, self._stdout):
            os.mkfifo(path)
            # For whoever the container's user is on this machine: no one else enters the caller's folder.
            os.chmod(path, 0o666)  # noqa: S103 - as said

    def start(self, stdin: int, stdout: int) -> Thread:
        """Carries both ways; the thread returned ends with the server's output."""
        # Open before the server opens it, which otherwise waits.
        source = os.open(self._stdout, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        Thread(target=_carry_in, args=(stdin, self._stdin), name="stdin", daemon=True).start()
        outward = Thread(target=_carry_out, args=(source, stdout), name="stdout", daemon=True)
        outward.start()
        return outward


def _carry_in(source: int, path: str) -> None:
    # Not before the server reads: of a pipe that everybody has closed, the content is gone.
    target = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    _carry(source, target, wide=target)


def _carry_out(source: int, target: int) -> None:
    # Without a writer a pipe is at its end; until the first one comes it says nothing of that to poll(2).
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.poll()
    os.set_blocking(source, True)
    _carry(source, target, wide=source)


def _carry(source: int, target: int, wide: int) -> None:
    """Bytes without a look at them; the source's end of file becomes the target's."""
    with suppress(OSError):  # the user's pipe quota is spent: smaller pipes are slower, not weaker
        fcntl.fcntl(wide, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    with suppress(OSError):  # whoever reads is gone: closing the source tells who writes
        while os.splice(source, target, PIPE_BYTES):
            pass
    os.close(source)
    os.close(target)
