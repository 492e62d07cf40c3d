"""Between the wrapper's pipes and the engine's attach stream: raw bytes in, frames of 8-byte heads out.

The stream's format: Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import os
import re
from _socket import SHUT_WR
from collections.abc import Iterator
from contextlib import suppress
from errno import EACCES, ENOENT, ENOEXEC
from socket import socket
from threading import Thread

from sandbox.backend.docker.pipes import Pipes
from sandbox.plan.container import SHELL

STDOUT, STDERR = 1, 2
_HEAD = 8
_PIECE = 1 << 18


class Frames:
    """The frames of an attach stream, however it was cut; feed(bytes) -> (stream, bytes) pieces."""

    def __init__(self) -> None:
        self._head = b""
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Every piece of content as soon as it is there; a stream that is neither output is an error."""
        view = memoryview(data)
        while view:
            if not self._left:
                view = self._take_head(view)
                continue
            piece = view[: self._left]
            self._left -= len(piece)
            view = view[len(piece) :]
            yield self._stream, bytes(piece)

    def _take_head(self, view: memoryview) -> memoryview:
        missing = _HEAD - len(self._head)
        self._head += bytes(view[:missing])
        if len(self._head) == _HEAD:
            self._stream, self._left = self._head[0], int.from_bytes(self._head[4:], "big")
            if self._stream not in (STDOUT, STDERR) or any(self._head[1:4]):
                raise ValueError(f"no frame of an attach stream: {self._head.hex()}")
            self._head = b""
        return view[missing:]


class Opening:
    """The first words of a container: those of an init that could not execute the server are not its own."""

    def __init__(self) -> None:
        self.not_executed: tuple[int, str] | None = None
        """The error number and its text."""
        self._held = b""
        self._over = False

    def feed(self, stream: int, piece: bytes) -> bytes:
        """What of it is to be passed on; an init writes its line in pieces."""
        if self._over:
            return self.rest() + piece if stream == STDERR else piece
        if stream != STDERR:
            self._over = True  # no init says anything there
            return piece
        self._held += piece
        if len(self._held) < _LONGEST and b"\n" not in self._held and _may_be(self._held):
            return b""
        self._over = True
        found = _NOT_EXECUTED.match(self._held)
        if found is None:
            return self.rest()
        text = found[1].decode(errors="replace")
        self.not_executed = _NUMBERS.get(text, 0), text
        self._held = self._held[found.end() :]
        return self.rest()

    def rest(self) -> bytes:
        """What was held back and is the server's."""
        held, self._held = self._held, b""
        return held


_LONGEST = 4096 + 256
_HEADS = (b"[FATAL tini (", b"ERROR (catatonit:", SHELL.encode() + b": 1: exec: ")
_NOT_EXECUTED = re.compile(
    rb"(?:\[FATAL tini \(\d+\)\] exec .+ failed|ERROR \(catatonit:\d+\): failed to exec pid1"
    rb"|%s: 1: exec: .+): (.+)\n" % SHELL.encode()
)
_NUMBERS = {os.strerror(number): number for number in (ENOENT, EACCES, ENOEXEC)} | {"not found": ENOENT}


def _may_be(held: bytes) -> bool:
    return any(head.startswith(held) or held.startswith(head) for head in _HEADS)


class Output(Thread):
    """Carries what a container says until it says no more; `not_executed` then tells of a failed start."""

    def __init__(self, stream: socket, targets: dict[int, int], beside: Thread | None = None) -> None:
        super().__init__(name="output", daemon=True)
        self._stream = stream
        self._targets = targets
        self._beside = beside
        self._opening = Opening()

    @property
    def not_executed(self) -> tuple[int, str] | None:
        """Why the server could not be executed: the error number and its text; None where it was."""
        return self._opening.not_executed

    def run(self) -> None:
        """Ends with the stream, or with whoever reads it, and with what is carried `beside`."""
        with suppress(OSError, ValueError):
            self._carry()
            _write(self._targets[STDERR], self._opening.rest())
        for fd in self._targets.values():
            os.close(fd)
        if self._beside is not None:
            self._beside.join()

    def _carry(self) -> None:
        frames = Frames()
        while data := self._stream.recv(_PIECE):
            for number, piece in frames.feed(data):
                # Where stdout is a pipe, what a server says through its init's is nobody's.
                if number in self._targets:
                    _write(self._targets[number], self._opening.feed(number, piece))


def start(stream: socket, stdin: int, stdout: int, stderr: int, pipes: Pipes | None = None) -> Output:
    """Carries all three until their ends; the thread returned ends with the server's output.

    Where there are `pipes`, the stream has the server's stderr alone.
    """
    if pipes is None:
        Thread(target=_carry_in, args=(stdin, stream), name="stdin", daemon=True).start()
        outward = Output(stream, {STDOUT: stdout, STDERR: stderr})
    else:
        outward = Output(stream, {STDERR: stderr}, pipes.start(stdin, stdout))
    outward.start()
    return outward


def listen(stream: socket, stderr: int) -> Output:
    """All that a server says whose messages go elsewhere; its stdin stays open, and says nothing."""
    outward = Output(stream, {STDOUT: os.dup(stderr), STDERR: stderr})
    outward.start()
    return outward


def _carry_in(stdin: int, stream: socket) -> None:
    """The client's bytes without a look at them; its end of file becomes the server's."""
    with suppress(OSError):  # the server is gone: closing the pipe tells the wrapper
        while os.splice(stdin, stream.fileno(), _PIECE):
            pass
        stream.shutdown(SHUT_WR)
    os.close(stdin)


def _write(fd: int, piece: bytes) -> None:
    written = 0
    while written < len(piece):
        written += os.write(fd, memoryview(piece)[written:])
