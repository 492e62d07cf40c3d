"""The requests of the client's that wait for an answer, and who is told when there will be none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from sandbox.bridge.envelope import Id, Message

CALLS_MAX = 256
"""Requests that wait at once; the next one is not read before one of them is answered."""
BYTES_MAX = 32 << 20
LATE = 2.0
"""Seconds for a stream whose request is answered or cancelled to end by itself."""


class Waiting:
    """One request; `modern`: it was sent under the stateless revision, where a closed stream cancels it."""

    __slots__ = ("answered", "cancelled", "id", "method", "modern", "size", "task")

    def __init__(self, request: Message, *, modern: bool) -> None:
        self.id = request.id
        self.method = request.method
        self.size = len(request.line)
        self.modern = modern
        self.answered = False
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None


class Calls:
    """All that wait, by id; bounded in number and in bytes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Id | None, Waiting] = {}
        self._bytes = 0
        self._changed: asyncio.Future[None] | None = None

    def __iter__(self) -> Iterator[Waiting]:
        return iter(tuple(self._waiting.values()))

    async def room(self, size: int) -> None:
        """Returns once another request of `size` bytes may be sent."""
        while self._waiting and (len(self._waiting) >= CALLS_MAX or self._bytes + size > BYTES_MAX):
            await asyncio.shield(self.changed())

    def add(self, call: Waiting) -> None:
        """From here on somebody waits. A second request of the same id takes the first one's place."""
        if (before := self._waiting.get(call.id)) is not None:
            before.cancelled = True
            self.drop(before)
            self.end_late(before)
        self._waiting[call.id] = call
        self._bytes += call.size

    def get(self, id: Id | None) -> Waiting | None:
        """The request of that id, while it waits."""
        return self._waiting.get(id) if id is not None else None

    def answered(self, id: Id | None, own: Waiting | None) -> None:
        """Its answer has come, on the stream of `own` or on another one."""
        call = self._waiting.get(id)
        if call is None:
            return
        call.answered = True
        self.drop(call)
        if call is not own:
            self.end_late(call)

    def end_late(self, call: Waiting) -> None:
        """Closes the request's own stream, after it had a moment to end by itself."""
        if call.task is not None:
            self._loop.call_later(LATE, call.task.cancel)

    def drop(self, call: Waiting | None) -> None:
        """Nobody waits any more, unless for another request of the same id."""
        if call is None or self._waiting.get(call.id) is not call:
            return
        del self._waiting[call.id]
        self._bytes -= call.size
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    @property
    def due(self) -> bool:
        """Whether somebody waits for an answer that may come soon, unlike that to a subscription."""
        return any(call.method != "subscriptions/listen" for call in self._waiting.values())

    async def none_due(self) -> None:
        """Returns once nobody waits for one that may."""
        while self.due:
            await asyncio.shield(self.changed())

    def changed(self) -> asyncio.Future[None]:
        """Done once one more has its answer, or waits no longer; for all who ask, so nobody cancels it."""
        if self._changed is None or self._changed.done():
            self._changed = self._loop.create_future()
        return self._changed
