"""Lines for stderr that nobody waits for: whoever does not read them loses them, and nothing stands still."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType

from sandbox.cli.output import harmless

LINES_MAX = 1000
LINE_MAX = 1 << 12
LAST_S = 0.2
"""At the end, for what has not been written yet."""


class Aside:
    """Called with a line, from one thread; a context manager, at whose end most of them are written."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._lines: deque[bytes] = deque()
        self._lost = 0
        self._news = threading.Condition()
        self._ends = False
        self._thread = threading.Thread(target=self._write, name="aside", daemon=True)

    def __enter__(self) -> Aside:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            self._ends = True
            self._news.notify()
        self._thread.join(LAST_S)  # it may stand in a write for ever: it goes with the process

    def __call__(self, text: str) -> None:
        line = harmless(text[:LINE_MAX]).replace("\n", " ").encode(errors="backslashreplace") + b"\n"
        with self._news:
            if len(self._lines) >= LINES_MAX:
                self._lost += 1
            else:
                self._lines.append(line)
                self._news.notify()

    def _write(self) -> None:
        while (line := self._next()) is not None:
            # Not by `sys.stderr`: its lock would be held by this thread when the interpreter wants it last.
            with suppress(OSError):
                os.write(self._fd, line)

    def _next(self) -> bytes | None:
        with self._news:
            while not (self._lines or self._lost or self._ends):
                self._news.wait()
            if self._lines:
                return self._lines.popleft()
            lost, self._lost = self._lost, 0
        return b"mcp-sandbox: %d lines were lost here, since nobody read them\n" % lost if lost else None
