"""What the processes of a sandbox tell the wrapper: one line of text a fact, over one pipe.

`pid N` (the sandbox's init as the host sees it), `ready` (the server was executed), `frozen` and `thawed` (in
answer to a command), `ended status N` or `ended signal N`, `oom N PEAK` (kills by the memory limit, and bytes
in use then), `error STEP ERRNO TEXT`; of a container also `container ID`, `refused JSON` (code, what, rule,
hint of an error of ours), `stats JSON` (of one that only its engine sees), `lost TEXT` (the engine is away),
`unable` (to freeze or to thaw). An `error execute` after `ready` is an init's that found no server to start.
"""

from __future__ import annotations

import os
import select

from sandbox.errors import SandboxError

PIPE_BUF = 4096
MOST_WORDS = 600
"""Characters of each part of an error: in JSON's escapes all four fit into one line."""


def tell(fd: int, *words: object) -> None:
    """Writes one line; a wrapper that is gone is no error of the writer's."""
    line = " ".join(str(word) for word in words).replace("\n", " ")
    try:
        os.write(fd, line.encode(errors="backslashreplace")[: PIPE_BUF - 1] + b"\n")
    except OSError:
        return


def tell_error(fd: int, step: str, error: BaseException) -> None:
    """Writes the one line that says which step failed, and how."""
    code = error.errno if isinstance(error, OSError) and error.errno else 0
    text = str(error.args[-1]) if isinstance(error, OSError) and error.args else repr(error)
    tell(fd, "error", step.replace(" ", "-"), code, text)


def tell_refusal(fd: int, error: SandboxError) -> None:
    """Writes an error that already says everything."""
    import json

    told = [error.code, error.what[:MOST_WORDS], error.rule[:MOST_WORDS], error.hint[:MOST_WORDS]]
    tell(fd, "refused", json.dumps(told))


class Reader:
    """The wrapper's end of the pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = b""
        self._closed = False

    def ready(self, within: float) -> bool:
        """Whether a line, or the end, is there within so many seconds."""
        return b"\n" in self._buffer or bool(select.select([self.fd], [], [], max(0.0, within))[0])

    def line(self) -> list[str] | None:
        """The next line's words; None when every writer is gone."""
        while b"\n" not in self._buffer:
            data = os.read(self.fd, PIPE_BUF)
            if not data:
                return None
            self._buffer += data
        first, _, self._buffer = self._buffer.partition(b"\n")
        return first.decode().split(" ")
