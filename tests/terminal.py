"""A program at a terminal, and the person there who types an answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Mapping, Sequence

SECONDS = 30.0


def at_terminal(
    argv: Sequence[str], environ: Mapping[str, str], typed: str, until: str = "type `yes`: ", cwd: str = "/"
) -> tuple[int, str]:
    """The exit status, and all that the terminal showed; `typed` once it has shown `until`."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*argv], env=dict(environ), cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
    finally:
        os.close(theirs)
    shown = b""
    deadline = time.monotonic() + SECONDS
    try:
        while chunk := _read(ours, deadline):
            shown += chunk
            if typed and until.encode() in shown:
                os.write(ours, typed.encode() + b"\n")
                typed = ""
        return process.wait(SECONDS), shown.decode().replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read(fd: int, deadline: float) -> bytes:
    """What the terminal shows next; nothing once the program has ended."""
    if not select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise TimeoutError("the program at the terminal says nothing more")
    try:
        return os.read(fd, 1 << 16)
    except OSError:
        return b""  # EIO: nobody holds the other end any more
