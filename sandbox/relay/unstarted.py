"""What a client is told where no server started: an error in answer to its first request.

Clients show the error of `initialize` to a person; of a process that ended they show "connection closed".
"""

from __future__ import annotations

import os
import select
import time

from sandbox.errors import SandboxError
from sandbox.wire.jsonrpc import INTERNAL_ERROR, Fault, Frame, FrameReader, error_frame
from sandbox.wire.salvage import Id

PATIENCE_S = 2.0
"""SDKs write their first request as soon as they have started us; a shell's open pipe never does."""
WRITE_S = 1.0
_READ = 1 << 16
_LARGEST = 1 << 20
_MOST_CHARS = 2000


def answer(error: SandboxError, *, stdin: int = 0, stdout: int = 1, seconds: float = PATIENCE_S) -> int:
    """Answers with `error` whatever is asked until something was; how many answers there were.

    Waits until a request comes, stdin ends or `seconds` are over, and never at a terminal.
    """
    if not error.answerable or os.isatty(stdin):
        return 0
    ids = _asked(stdin, time.monotonic() + seconds)
    until = time.monotonic() + WRITE_S
    return sum(_write(stdout, error_frame(id, INTERNAL_ERROR, *_told(error)), until) for id in ids)


def _told(error: SandboxError) -> tuple[str, dict[str, object]]:
    """The message, which is all that most clients show, and the same in parts."""
    parts = {"code": error.code, "what": error.what, "rule": error.rule, "hint": error.hint}
    data = {name: _plain(text) for name, text in parts.items() if text}
    told = {"mcp-sandbox/not-started": {**data, "status": error.exit_status}}
    return _plain(f"mcp-sandbox: {error.line()}"), told


def _plain(text: str) -> str:
    """Messages quote what packages and projects chose, and clients print them: no control characters."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text[:_MOST_CHARS])


def _asked(stdin: int, until: float) -> list[Id]:
    """The ids of the first requests that come, all that came together."""
    reader, size = FrameReader(_LARGEST), 0
    while size <= _LARGEST and _ready(stdin, select.POLLIN, until):
        try:
            chunk = os.read(stdin, _READ)
        except BlockingIOError:
            continue
        except OSError:
            chunk = b""
        size += len(chunk)
        if ids := [id for one in (reader.feed(chunk) if chunk else reader.close()) for id in _ids(one)]:
            return ids
        if not chunk:
            break
    return []


def _ids(one: Frame | Fault) -> list[Id]:
    """Whose answer it waits for: a message that breaks the protocol's rules waits as well."""
    if one.kind not in ("request", None):
        return []
    return [one.id] if isinstance(one, Frame) else [*one.ids]


def _write(stdout: int, line: bytes, until: float) -> bool:
    """The whole line, unless nobody takes it in time."""
    left = memoryview(line)
    while left:
        if not _ready(stdout, select.POLLOUT, until):
            return False
        try:
            # POSIX: a pipe that polls writable takes this many bytes without blocking.
            left = left[os.write(stdout, left[: select.PIPE_BUF]) :]
        except BlockingIOError:
            continue
        except OSError:
            return False
    return True


def _ready(fd: int, event: int, until: float) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
