"""The two pipes to the relay: lines in, lines out, both held up rather than heaped up."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
from collections import deque

from sandbox.bridge.words import shown

CHUNK, LARGE = 1 << 16, 1 << 20
"""Bytes of one read or write, and of the next one where that was full."""
AHEAD = 1 << 20
"""Bytes of lines that are read before anybody asks for them, and that wait to be written."""
NOTES_MAX = 200
NOTE_MAX = 2000
"""Characters of one, fewer than a pipe that can be written to takes at once."""


class Overlong(Exception):
    """The client's side has sent a line that is longer than any message may be."""


class Inlet:
    """The lines of a pipe; reads on only while few wait."""

    def __init__(self, fd: int, most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._most = most
        self._held = bytearray()  # of a line that has not ended
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._ended = self._overlong = False
        self.ended = self._loop.create_future()
        """Done once all of it has been read from the pipe, though perhaps by nobody from here."""
        self._size = CHUNK
        self._reading = False
        self._waiter: asyncio.Future[None] | None = None
        os.set_blocking(fd, False)
        _widen(fd)
        self._read_on()

    async def line(self) -> bytes | None:
        """The next line with its LF; None after the last one."""
        while not self._lines:
            if self._overlong:
                raise Overlong
            if self._ended:
                return None
            await self._more()
        line = self._lines.popleft()
        self._waiting_bytes -= len(line)
        if not self._reading and not self._ended and self._waiting_bytes < AHEAD:
            self._read_on()
        return line

    def left(self) -> list[bytes]:
        """The lines that have been read and that nobody has asked for."""
        return list(self._lines)

    def close(self) -> None:
        """Reads no more; the descriptor stays its owner's."""
        self._ended = True
        self._stop()

    def _read_on(self) -> None:
        self._loop.add_reader(self._fd, self._readable)
        self._reading = True

    def _stop(self) -> None:
        if self._reading:
            self._loop.remove_reader(self._fd)
            self._reading = False

    async def _more(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _readable(self) -> None:
        try:
            chunk = os.read(self._fd, self._size)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self._size = LARGE if len(chunk) >= CHUNK else CHUNK
            self._take(chunk)
        else:
            self._end()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take(self, chunk: bytes) -> None:
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            line = bytes(self._held) + piece + b"\n" if self._held else piece + b"\n"
            self._held.clear()
            self._lines.append(line)
            self._waiting_bytes += len(line)
        self._held += rest
        if len(self._held) > self._most:
            self._overlong = True
            self._stop()
        elif self._waiting_bytes >= AHEAD:
            self._stop()

    def _end(self) -> None:
        """A last line counts without its LF too."""
        if self._held:
            self._take(b"\n")
        self.close()
        self.ended.set_result(None)


class Outlet:
    """Writes whole lines, in the order of the calls; who writes into a full pipe waits until it is read."""

    def __init__(self, fd: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd = fd
        self._held = bytearray()
        self._room: asyncio.Future[None] | None = None
        self.gone = self._loop.create_future()
        """Done once nobody reads any more."""
        self.first = self._loop.create_future()
        """Done once there was something to write."""
        os.set_blocking(fd, False)
        _widen(fd)

    async def put(self, line: bytes) -> None:
        """Returns as soon as no more than `AHEAD` bytes wait."""
        self.post(line)
        while len(self._held) > AHEAD and not self.gone.done():
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def post(self, line: bytes) -> None:
        """The same without waiting: for the few lines that are of our own making."""
        if self.gone.done():
            return
        if not self.first.done():
            self.first.set_result(None)
        if self._held:
            self._held += line
            return
        written = self._write(line)
        if written < len(line) and not self.gone.done():
            self._held += memoryview(line)[written:]
            self._loop.add_writer(self._fd, self._writable)

    async def flush(self) -> None:
        """Returns once all is written, or nobody reads."""
        while self._held and not self.gone.done():
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self._end()
            return 0

    def _writable(self) -> None:
        # A slice: a copy of all that waits, at every write, would cost its square.
        with memoryview(self._held) as view:
            piece = bytes(view[:LARGE])
        written = self._write(piece)
        del self._held[:written]
        if not self._held:
            self._loop.remove_writer(self._fd)
        if len(self._held) <= AHEAD // 2 or not self._held:
            self._tell()

    def _end(self) -> None:
        self._held.clear()
        self._loop.remove_writer(self._fd)
        if not self.gone.done():
            self.gone.set_result(None)
        self._tell()

    def _tell(self) -> None:
        if self._room is not None:
            self._room.set_result(None)
            self._room = None


def _widen(fd: int) -> None:
    """A large message passes in one go, where the kernel lets a pipe hold it, not 64 KiB at a time."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, LARGE)


class Notes:
    """Lines for a person, as many as somebody may read; they are lost rather than waited for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._left = NOTES_MAX
        # Not made non-blocking: a server may write to the same pipe, and does not expect that.
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def say(self, text: str) -> None:
        """One line; what the server has said in it stays on that line."""
        if self._left == 0:
            return
        self._left -= 1
        try:
            if self._room.poll(0):
                os.write(self._fd, f"bridge: {_plain(text)}\n".encode())
        except OSError:
            self._left = 0


def _plain(text: str) -> str:
    return " ".join(shown(part) for part in text[:NOTE_MAX].split())
