"""What waits for a client on the answers that are open: in order, bounded, kept for one that comes back.

What nobody has taken holds the server up, once it is `HIGH` bytes: that is all the backpressure there is.
What was taken, or has no reader, is kept up to `KEPT` bytes for `Last-Event-ID`, the oldest goes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from sandbox.serve.words import Reply
from sandbox.wire import sse
from sandbox.wire.jsonrpc import INTERNAL_ERROR, error_frame
from sandbox.wire.salvage import Id

HIGH, LOW = 1 << 20, 1 << 18
KEPT, KEPT_EVENTS = 1 << 20, 1024
SMALL = 1 << 16
PING_S = 15.0
"""A silent stream says this often that it is alive: whoever forwards it may close an idle one."""
STALL_S = 30.0
"""A reader that holds the server up for so long loses its stream."""
_PING = b": \n\n"


class Stream:
    """The messages of one answer; `reader` is who takes them now."""

    def __init__(self, shelf: Shelf, number: int, id: Id) -> None:
        self.shelf = shelf
        self.number = number
        self.id = id
        self.events: deque[tuple[int, bytes]] = deque()
        self.last = 0
        """The number of the newest event; the first is 1."""
        self.sent = 0
        self.entered = 0
        """Up to which event the shelf may let go of them, one entry each."""
        self.ended = False
        self.answered = False
        """Whether the last event is the answer; a stream may also end without one."""
        self.lost_answer = False
        self.reader: object | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, data: bytes, last: bool = False) -> None:
        """Add a message; `last` ends the stream."""
        if self.ended:
            return
        self.ended = self.answered = last
        self.last += 1
        self.events.append((self.last, data))
        self.shelf.added(self, len(data))
        self.wake()

    def end(self) -> None:
        """Nothing more comes."""
        self.ended = True
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def news(self, seconds: float) -> bool:
        """Returns when there is something to take or an end, True, or after that time, False."""
        if self.waiting or self.ended:
            return True
        loop = asyncio.get_running_loop()
        # A future and a timer: `wait_for` would make a task for each message.
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(seconds, self.wake)
        try:
            await waiter
        finally:
            timer.cancel()
            if self._waiter is waiter:  # else another reader has taken over, and waits
                self._waiter = None
        return bool(self.waiting) or self.ended

    @property
    def is_pinned(self) -> bool:
        """Whether its oldest event waits for a reader that is there."""
        return self.reader is not None and self.events[0][0] > self.sent

    @property
    def waiting(self) -> int:
        """How many events nobody has taken."""
        return self.last - self.sent

    @property
    def held(self) -> int:
        """The bytes that nobody has taken."""
        return sum(len(data) for number, data in self.events if number > self.sent)

    def whole(self) -> bytes | None:
        """The answer, where it came first and alone."""
        if self.answered and self.last == 1 and self.sent == 0 and self.events:
            return self.events[0][1]
        return None

    def take(self) -> tuple[bytes, int]:
        """All that waits, as events, and how many bytes of the shelf's that are; empty if nothing does."""
        fresh = [(number, data) for number, data in self.events if number > self.sent] if self.waiting else []
        named = f"{self.number}." if self.shelf.resumable else ""
        parts = [encoded(data, named and f"{named}{number}") for number, data in fresh]
        if fresh:
            self.sent = self.last
            self.shelf.enter(self)
        if self.lost_answer and self.ended and self.id is not None:
            self.lost_answer = False
            parts.append(encoded(_lost(self.id), ""))
        return b"".join(parts), sum(len(data) for _, data in fresh)

    def attach(self, reader: object) -> None:
        """`reader` takes from now on; whoever did before is told to go."""
        if self.reader is None:
            self.shelf.waits(self.held)
        self.reader = reader
        self.wake()

    def detach(self, reader: object | None) -> None:
        """`reader` is gone, if it still is the one; what waits is kept as far as there is room."""
        if reader is not None and reader is self.reader:
            held, self.reader = self.held, None
            self.wake()
            self.shelf.enter(self)
            self.shelf.taken(held)

    def rewind(self, after: int) -> None:
        """All after the event `after` waits again; what of it is not there any more stays lost."""
        held, self.sent = self.held, min(max(after, 0), self.last)
        kept = self.events[0][0] if self.events else self.last + 1
        if self.answered and self.sent < self.last and kept > self.last:
            self.lost_answer = True
        self.sent = max(self.sent, kept - 1)
        if self.reader is not None:
            self.shelf.waits(self.held - held)


def encoded(data: bytes, id: str) -> bytes:
    """One message, which ends in LF, as an event."""
    # A carriage return may stand between two values of JSON, and would end a line of the stream.
    if b"\r" in data:
        return sse.encode(data[:-1], event="message", id=id)
    head = f"event: message\nid: {id}\ndata: " if id else "event: message\ndata: "
    return b"".join((head.encode(), data, b"\n"))


def _lost(id: Id) -> bytes:
    text = "mcp-sandbox: the answer was not taken in time and is not kept any more"
    return error_frame(id, INTERNAL_ERROR, text, {"rule": "replay"})


class Shelf:
    """The streams of one session; `hold` and `go_on` stop and resume what fills them."""

    def __init__(self, hold: Callable[[], None], go_on: Callable[[], None], resumable: bool = True) -> None:
        self.resumable = resumable
        self._hold = hold
        self._go_on = go_on
        self._streams: dict[int, Stream] = {}
        self._order: deque[Stream] = deque()
        """One entry for each event that was taken or has no reader, oldest first."""
        self._bytes = 0
        self._unread = 0
        self._stalled: asyncio.TimerHandle | None = None
        self._count = 0

    def open(self, id: Id = None) -> Stream:
        """A stream with the next number; the first is 0."""
        stream = self._streams[self._count] = Stream(self, self._count, id)
        self._count += 1
        return stream

    def get(self, number: int | None) -> Stream | None:
        """The stream of that number, as long as anything of it is kept."""
        return None if number is None else self._streams.get(number)

    def drop(self, stream: Stream) -> None:
        """Nobody will come back to it."""
        self._forget(stream)
        self._streams.pop(stream.number, None)

    def added(self, stream: Stream, size: int) -> None:
        """`stream` has one more event, of that size."""
        self._bytes += size
        if stream.reader is not None:
            self.waits(size)
        else:
            self.enter(stream)
            self._trim()

    def enter(self, stream: Stream) -> None:
        """All events of `stream` may go when there is no room."""
        self._order.extend([stream] * (stream.last - stream.entered))
        stream.entered = stream.last

    def waits(self, size: int) -> None:
        """So much more waits for a reader that is there."""
        self._unread += size
        self._check()

    def taken(self, size: int) -> None:
        """Somebody has taken so much, or never will."""
        self._unread -= size
        if self._stalled is not None and self._unread <= LOW:
            self._stalled.cancel()
            self._stalled = None
            self._go_on()
        self._trim()

    def _trim(self) -> None:
        """Let go of the oldest; what a reader still has to take comes on top of what is kept."""
        spared = 0
        while self._is_full() and spared < len(self._order):
            stream = self._order.popleft()
            if stream.is_pinned:
                self._order.append(stream)
                spared += 1
            else:
                self._evict(stream)

    def _is_full(self) -> bool:
        return self._bytes - self._unread > KEPT or len(self._order) > KEPT_EVENTS

    def _evict(self, stream: Stream) -> None:
        number, data = stream.events.popleft()
        self._bytes -= len(data)
        if number > stream.sent:
            stream.sent = number
            stream.lost_answer = stream.answered and number == stream.last
        if stream.ended and not stream.events and not stream.lost_answer and stream.reader is None:
            self._streams.pop(stream.number, None)

    def _forget(self, stream: Stream) -> None:
        if stream.reader is not None:
            self._unread -= stream.held
            stream.reader = None
        self._bytes -= sum(len(data) for _, data in stream.events)
        for _ in [number for number, _ in stream.events if number <= stream.entered]:
            # Mostly it was the last that came; the others are looked for.
            if self._order[-1] is stream:
                self._order.pop()
            else:
                self._order.remove(stream)
        stream.events.clear()
        self.taken(0)

    def _check(self) -> None:
        if self._stalled is None and self._unread > HIGH:
            self._hold()
            self._stalled = asyncio.get_running_loop().call_later(STALL_S, self._cut)

    def _cut(self) -> None:
        """The reader that takes least loses its stream, so that the others go on."""
        self._stalled = None
        slow = max(self._streams.values(), key=lambda one: one.held if one.reader is not None else 0)
        if slow.held:
            slow.detach(slow.reader)
        if self._unread > HIGH:
            self._check()
        else:
            self._go_on()


class Events:
    """A stream as the body of an answer; `gone` is told once that nobody reads it any more."""

    def __init__(
        self, stream: Stream, first: bytes = b"", gone: Callable[[Stream], None] | None = None
    ) -> None:
        self._stream = stream
        self._shelf = stream.shelf
        self._first = first
        self._gone = gone
        self._lent = 0
        """What was handed out last: until the next is asked for it lies in a buffer of the connection's."""
        stream.attach(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """What came since, in one piece; a comment where nothing does for long."""
        first, self._first = self._first, b""
        self._give_back()
        while self._stream.reader is self:
            data, self._lent = self._stream.take()
            if data or first:
                return first + data if first else data
            if self._stream.ended:
                break
            if not await self._stream.news(PING_S) and self._stream.reader is self:
                return _PING
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The client is gone, or has all."""
        self._give_back()
        self._stream.detach(self)
        gone, self._gone = self._gone, None
        if gone is not None:
            gone(self._stream)

    def _give_back(self) -> None:
        lent, self._lent = self._lent, 0
        if lent:
            self._shelf.taken(lent)


class Whole:
    """A large answer in one piece, which counts as waiting until its client has it."""

    def __init__(self, shelf: Shelf, data: bytes) -> None:
        self._shelf = shelf
        self._data = data
        self._size = len(data)
        shelf.waits(self._size)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """All of it, once."""
        data, self._data = self._data, b""
        if data:
            return data
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The client is gone, or has it."""
        size, self._size = self._size, 0
        if size:
            self._shelf.taken(size)


EVENT_STREAM = (
    ("Content-Type", "text/event-stream"),
    ("X-Accel-Buffering", "no"),
)


def body_of(shelf: Shelf, whole: bytes) -> bytes | Whole:
    """An answer as a body; a small one is handed over and forgotten."""
    return whole if len(whole) <= SMALL else Whole(shelf, whole)


def streamed(events: Events, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """The answer whose body is `events`."""
    return Reply(200, (*EVENT_STREAM, *headers), events)
