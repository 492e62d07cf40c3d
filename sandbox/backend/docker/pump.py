"""Between the wrapper's pipes and the engine's attach stream: raw bytes in, frames of 8-byte heads out.

The stream's format: Docker Engine API, "Attach to a container", stream format.
"""

from __future__ import annotations

import os
from _socket import SHUT_WR
from collections.abc import Iterator
from contextlib import suppress
from socket import socket
from threading import Thread

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


def start(stream: socket, stdin: int, stdout: int, stderr: int) -> Thread:
    """Carries all three until their ends; the thread returned ends with the server's output."""
    Thread(target=_carry_in, args=(stdin, stream), name="stdin", daemon=True).start()
    outward = Thread(target=_carry_out, args=(stream, stdout, stderr), name="stdout", daemon=True)
    outward.start()
    return outward


def _carry_in(stdin: int, stream: socket) -> None:
    """The client's bytes without a look at them; its end of file becomes the server's."""
    with suppress(OSError):  # the server is gone: closing the pipe tells the wrapper
        while os.splice(stdin, stream.fileno(), _PIECE):
            pass
        stream.shutdown(SHUT_WR)
    os.close(stdin)


def _carry_out(stream: socket, stdout: int, stderr: int) -> None:
    frames = Frames()
    targets = {STDOUT: stdout, STDERR: stderr}
    with suppress(OSError, ValueError):
        while data := stream.recv(_PIECE):
            for number, piece in frames.feed(data):
                _write(targets[number], piece)
    os.close(stdout)
    os.close(stderr)


def _write(fd: int, piece: bytes) -> None:
    written = os.write(fd, piece)
    while written < len(piece):
        written += os.write(fd, memoryview(piece)[written:])
