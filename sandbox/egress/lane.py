"""One direction of a connection: what comes in at one socket goes out at the other, as its owner lets it.

Nothing is read that cannot be passed on: while the other side does not take what is held, or the owner wants
a pause, nobody listens at the source. Callbacks, no task: bytes that need no wait cost no turn of the loop.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

CHUNK, LEAST = 1 << 19, 1 << 16
PLENTY = 1 << 25
"""Held back in all: from then on every lane reads little, so that slow readers cannot fill our memory."""

Bytes = bytes | memoryview
Look = Callable[[memoryview], Bytes]
"""What of new bytes may pass now; raises where the connection must end. The view is valid during the call."""


class Room:
    """Where all lanes of a session read to, each before the next; `held` is what they hold back in all."""

    def __init__(self) -> None:
        # Large, for fewer turns of the three processes that bulk takes; its pages exist once they are used.
        self._block = memoryview(bytearray(CHUNK))
        self.held = 0

    def block(self) -> memoryview:
        """Valid until another lane reads."""
        return self._block if self.held < PLENTY else self._block[:LEAST]


class Lane:
    """`ended` is called once: with None after the source's end of file, or with what broke it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: socket.socket, sink: socket.socket, room: Room,
        look: Look, ended: Callable[[Lane, Exception | None], None],
    ) -> None:  # fmt: skip
        self.sink = sink
        self.over = False
        """Whether all that the source had to say was taken."""
        self._loop = loop
        self._source = source
        self._room = room
        self._look = look
        self._ended = ended
        self._in, self._out = source.fileno(), sink.fileno()
        self._kept, self._held = 0, memoryview(b"")
        self._gate: asyncio.Future[None] | None = None
        self._pauses = 0
        self._eof = self._closed = self._reads = self._writes = False

    def read(self) -> None:
        """Passes on what is there, if anything is."""
        try:
            block = self._room.block()
            count = self._source.recv_into(block)
            if count:
                self.send(self._look(block[:count]))
            else:
                self._eof = True
        except (BlockingIOError, InterruptedError):
            pass
        except Exception as error:
            self._fail(error)
        self.settle()

    def send(self, data: Bytes) -> None:
        """Passes `data` on, behind all that is held."""
        if not data or self._closed:
            return
        if self._held or self._gate is not None:
            self._hold(bytes(self._held) + bytes(data))
        elif (sent := self._taken(data)) < len(data):
            self._hold(bytes(data[sent:]))

    def pause(self) -> None:
        """Reads nothing until `resume` was called as often."""
        self._pauses += 1

    def resume(self) -> None:
        """Ends one pause."""
        self._pauses -= 1
        self.settle()

    def wait(self, until: asyncio.Future[None]) -> None:
        """Passes nothing on before `until` is done."""
        self._gate = until
        until.add_done_callback(self._open)

    def close(self) -> None:
        """Listens no more; the sockets stay their owner's."""
        self._closed = True
        self._hold(b"")
        self.settle()

    def settle(self) -> None:
        """Listens for what it can use now, and for nothing else."""
        free = not (self._closed or self._gate is not None)
        reads = free and not (self._held or self._eof or self._pauses)
        if reads is not self._reads:
            self._reads = reads
            self._loop.add_reader(self._in, self.read) if reads else self._loop.remove_reader(self._in)
        writes = free and bool(self._held)
        if writes is not self._writes:
            self._writes = writes
            self._loop.add_writer(self._out, self._flush) if writes else self._loop.remove_writer(self._out)
        if self._eof and free and not self._held and not self.over:
            self.over = True
            self._ended(self, None)

    def _taken(self, data: Bytes) -> int:
        """How much of `data` the sink took at once."""
        try:
            return self.sink.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._fail(error)
            return len(data)

    def _hold(self, data: bytes) -> None:
        self._room.held += len(data) - self._kept
        self._kept, self._held = len(data), memoryview(data)

    def _flush(self) -> None:
        self._held = self._held[self._taken(self._held) :]
        if not self._held:
            self._hold(b"")  # a view keeps the whole of what it was cut from
        self.settle()

    def _open(self, gate: asyncio.Future[None]) -> None:
        if gate is not self._gate:
            return  # another one was put up since
        if gate.cancelled():
            return  # nothing is answered any more, so nothing passes
        self._gate = None
        if self._held and not self._closed:
            self._flush()
        self.settle()

    def _fail(self, error: Exception) -> None:
        self.close()
        self._ended(self, error)
