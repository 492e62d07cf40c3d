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
LINGER_S = 1.0
"""A client of both eras whose `server/discover` fails asks again, with `initialize`."""
LONGEST_S = 5.0
WRITE_S = 1.0
_READ = 1 << 16
_LARGEST = 1 << 20
_MOST_CHARS = 2000


def answer(error: SandboxError, *, stdin: int = 0, stdout: int = 1, seconds: float = PATIENCE_S) -> int:
    """Answers with `error` whatever is asked until `initialize` was; how many answers there were.

    Waits until a request comes, stdin ends or `seconds` are over, and never at a terminal.
    """
    if not error.answerable or os.isatty(stdin):
        return 0
    answers, client = 0, _Client(stdin, seconds)
    while asked := client.asks():
        for id, method in asked:
            if not _write(stdout, error_frame(id, INTERNAL_ERROR, *_told(error)), time.monotonic() + WRITE_S):
                return answers
            answers += 1
            if method == "initialize":
                return answers  # no client asks more of a server that refused this
        client.wait(LINGER_S)
    return answers


def _told(error: SandboxError) -> tuple[str, dict[str, object]]:
    """The message, which is all that most clients show, and the same in parts."""
    parts = {"code": error.code, "what": error.what, "rule": error.rule, "hint": error.hint}
    data = {name: _plain(text) for name, text in parts.items() if text}
    told: dict[str, object] = {"mcp-sandbox/not-started": {**data, "status": error.exit_status}}
    return _plain(f"mcp-sandbox: {error.line()}"), told


def _plain(text: str) -> str:
    """Messages quote what packages and projects chose, and clients print them: no control characters."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text[:_MOST_CHARS])


class _Client:
    """Who asks on `stdin`, and how long is waited for that."""

    def __init__(self, stdin: int, seconds: float) -> None:
        self._stdin = stdin
        self._reader = FrameReader(_LARGEST)
        self._left = _LARGEST
        self._until = time.monotonic() + seconds
        self._latest = self._until + LONGEST_S

    def wait(self, seconds: float) -> None:
        """From now on."""
        self._until = min(time.monotonic() + seconds, self._latest)

    def asks(self) -> list[tuple[Id, str | None]]:
        """Id and method of the next requests, all that came together; none where no more will come."""
        while self._left > 0 and _ready(self._stdin, select.POLLIN, self._until):
            try:
                chunk = os.read(self._stdin, _READ)
            except BlockingIOError:
                continue
            except OSError:
                chunk = b""
            self._left = self._left - len(chunk) if chunk else 0
            found = self._reader.feed(chunk) if chunk else self._reader.close()
            if asked := [request for one in found for request in _requests(one)]:
                return asked
        return []


def _requests(one: Frame | Fault) -> list[tuple[Id, str | None]]:
    """What waits for an answer: a message that breaks the protocol's rules waits as well."""
    if isinstance(one, Frame):
        return [(one.id, one.method)] if one.kind == "request" else []
    return [(id, None) for id in one.ids] if one.kind in ("request", None) else []


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
