"""One connection: reads a request, judges its head before its body, answers, and reads the next.

Nothing of a body is held before its sender is known. While an answer is made or streamed the connection
goes on reading, so that a client that hangs up is noticed; what it sends meanwhile is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

from sandbox.records import dataclass
from sandbox.serve import answers, guard
from sandbox.serve.budget import Budget
from sandbox.serve.crowd import Crowd
from sandbox.serve.guard import Rules
from sandbox.serve.journal import Journal
from sandbox.serve.limits import Limits
from sandbox.serve.reading import Asked, Reader, Wrong
from sandbox.serve.words import Answerer, Authenticator, Headers, Principal, Refused, Reply, Request

_AHEAD_MAX = 1 << 16
"""Bytes that a client may send before its request is answered."""
_DRAINED_MAX = 1 << 18
_SLOW_HEAD = Refused(408, "slow-head", "the request's head did not arrive in time")
_SLOW_BODY = Refused(408, "slow-body", "the request's body did not arrive in time")
_FAULT = Refused(500, "fault", "the request could not be worked on")
_EVICTED = Refused(503, "full", "another client needed the room", (("Retry-After", "1"),))
EVICTED = answers.spelt(answers.refusal(_EVICTED), closes=True)


@dataclass(frozen=True, slots=True)
class Desk:
    """What all connections share."""

    rules: Rules
    limits: Limits
    authenticator: Authenticator
    answerer: Answerer
    journal: Journal
    crowd: Crowd
    budget: Budget


class Connection(asyncio.Protocol):
    """A guest of the crowd from its first moment; whatever happens, it leaves the crowd at its end."""

    def __init__(self, desk: Desk, peer: str, refused: Refused | None = None) -> None:
        """`refused`: why this peer is told nothing else, whatever it asks."""
        self._desk, self._peer, self._refused = desk, peer, refused
        self._reader: Reader | None = None  # made with the first byte: who says nothing costs little
        self._transport: asyncio.Transport | None = None
        self._asked: Asked | None = None
        self._who = ""
        self._ends: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Future[bytes] | None = None  # for the body
        self._held = 0
        self._room: asyncio.Future[None] | None = None  # for what is to be written
        self._is_full = self._drains = self._holds_back = self._is_read = False
        self._drained = 0
        self.opening: asyncio.Task[Any] | None = None
        """What hands us our transport: with TLS that takes as long as the client likes."""
        self.deadline = time.monotonic() + desk.limits.head_s

    # --- the transport's side -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a stream
        if self._refused is not None:
            self._refuse(self._refused)

    def data_received(self, data: bytes) -> None:
        if self._drains:
            return self._discard(len(data))
        self._reader = self._reader or Reader()
        self._reader.feed(data)
        if self._task is None:
            self._next()
        elif self._waiting is not None:
            self._more_of_the_body(len(data))
        elif self._reader.held > _AHEAD_MAX and self._transport is not None:
            self._holds_back = True
            self._transport.pause_reading()

    def _discard(self, size: int) -> None:
        self._drained += size
        if self._drained > _DRAINED_MAX and self._transport is not None:
            self._transport.pause_reading()  # the rest waits in the kernel until the time is over

    def eof_received(self) -> bool:
        return False  # who sends no more reads no more: the transport closes

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self.deadline = inf
        self._desk.crowd.leave(self)
        self._let_go()
        if self._task is not None:
            self._task.cancel()
        if self._room is not None and not self._room.done():
            self._room.cancel()

    def pause_writing(self) -> None:
        self._is_full = True
        if not self._drains and self._transport is not None:
            limits, waiting = self._desk.limits, self._transport.get_write_buffer_size()
            self.deadline = time.monotonic() + limits.write_s + waiting / limits.body_rate

    def resume_writing(self) -> None:
        self._is_full = False
        if not self._drains:
            self.deadline = inf
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    # --- what ends it from outside ------------------------------------------------------------------

    def evict(self) -> None:
        """Makes room at once: what can be said is said, the rest of a head is not waited for."""
        self._desk.journal.refused(_EVICTED, self._peer)
        if self._transport is None or self._drains:
            return self.abort()
        if not self._transport.is_closing():
            self._transport.write(EVICTED)
            self._transport.close()

    def is_late(self, now: float) -> bool:
        return self.deadline <= now

    def expire(self) -> None:
        """The time for what it was about is over."""
        self.deadline = inf
        if self._transport is None or self._drains or self._is_full:
            self.abort()
        elif self._waiting is not None:
            self._refuse(_SLOW_BODY)
        elif self._task is None:
            is_idle = bool(self._who) and not (self._reader and self._reader.held)
            self._transport.close() if is_idle else self._refuse(_SLOW_HEAD)

    def give_way(self) -> bool:
        """Ends it if it rests between two requests: a client of HTTP opens another one when it needs it."""
        if self._task is not None or self._transport is None or (self._reader and self._reader.held):
            return False
        self._transport.close()
        return True

    def finish(self) -> bool:
        """Closes it if nothing is being answered on it; False where something is."""
        if self._task is None and self._transport is not None:
            self._transport.close()
        return self._task is None

    def abort(self) -> None:
        """Closes it whatever is being done on it."""
        if self._transport is not None:
            self._transport.abort()
        elif self.opening is not None:
            self.opening.cancel()

    # --- a request ----------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begins with the next request, once its head is whole."""
        if self._reader is None or not self._reader.held:
            return
        try:
            asked = self._reader.head()
        except Wrong as error:
            return self._refuse(_refusal(error))
        if asked is not None:
            self._asked, self._is_read, self.deadline = asked, asked.size == 0, inf
            self._task = asyncio.get_running_loop().create_task(self._serve(asked))
            self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        """Whatever went wrong in one request is that request's: the connection ends, the others go on."""
        self._task = self._asked = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._desk.journal.fault(error)
            self.abort()
        if self._transport is None or self._drains or self._transport.is_closing():
            return
        limits = self._desk.limits
        self.deadline = time.monotonic() + (limits.idle_s if self._who else limits.head_s)
        if self._holds_back:
            self._holds_back = False
            self._transport.resume_reading()
        self._next()

    async def _serve(self, asked: Asked) -> None:
        answer = await self._answer(asked)
        if isinstance(answer, Refused):
            self._refuse(answer)
        else:
            async with _closing(answer.body):
                await self._write(answer, asked)

    async def _answer(self, asked: Asked) -> Reply | Refused:
        rules = self._desk.rules
        if (wrong := guard.meant(asked, rules)) is not None:
            return wrong
        if (told := guard.preflight(asked, rules)) is not None:
            return Reply(204, told)
        if asked.method == "GET" and (document := await self._desk.authenticator.document(asked.target)):
            return document
        head = guard.head_of(asked, rules)
        if isinstance(head, Refused):
            return head
        principal = await self._desk.authenticator.check(head)
        if isinstance(principal, Refused):
            return principal
        return await self._answer_known(asked, head.route, principal)

    async def _answer_known(self, asked: Asked, route: str, principal: Principal) -> Reply | Refused:
        if (wrong := self._desk.crowd.recognise(self, principal)) is not None:
            return wrong
        self._who, self._ends = principal.name, principal.until
        if (wrong := guard.form(asked, self._desk.rules)) is not None:
            return wrong
        try:
            body = await self._body(asked)
        except (Wrong, _Full) as error:
            return _refusal(error)
        request = Request(asked.method, route, guard.handed_on(asked.headers), body, principal)
        try:
            return await self._desk.answerer.answer(request)
        except Exception as error:  # of one request, which gets an answer all the same
            self._desk.journal.fault(error)
            return _FAULT

    # --- its body -----------------------------------------------------------------------------------

    async def _body(self, asked: Asked) -> bytes:
        reader, transport = self._reader, self._transport
        if reader is None or transport is None:
            raise asyncio.CancelledError
        if asked.waits() and not reader.held:
            transport.write(answers.CONTINUE)
        body = reader.body(asked, self._desk.rules.body_max)
        if body is not None:
            self._is_read = True
            return body
        self._hold(reader.held)
        self._waiting = asyncio.get_running_loop().create_future()
        self.deadline = time.monotonic() + self._desk.limits.body_s
        if self._holds_back:
            self._holds_back = False
            transport.resume_reading()
        try:
            body = await self._waiting
            self._is_read = True
            return body
        finally:
            self._waiting, self.deadline = None, inf
            self._let_go()

    def _more_of_the_body(self, size: int) -> None:
        if self._reader is None or self._asked is None or self._waiting is None or self._waiting.done():
            return
        self.deadline += size / self._desk.limits.body_rate
        try:
            self._hold(size)
            body = self._reader.body(self._asked, self._desk.rules.body_max)
        except (Wrong, _Full) as error:
            return self._waiting.set_exception(error)
        if body is not None:
            self._waiting.set_result(body)

    def _hold(self, size: int) -> None:
        if (full := self._desk.budget.take(self._who, size)) is not None:
            raise _Full(full)
        self._held += size

    def _let_go(self) -> None:
        self._desk.budget.give_back(self._who, self._held)
        self._held = 0

    # --- what is answered ---------------------------------------------------------------------------

    def _shared(self, asked: Asked | None) -> Headers:
        return () if asked is None else guard.shared(asked, self._desk.rules)

    def _refuse(self, refused: Refused) -> None:
        """Says why; only who is known, and has sent all of its request, may send another one here."""
        asked, transport = self._asked, self._transport
        if transport is None or self._drains:
            return
        method, path = (asked.method, asked.target) if asked is not None else ("", "")
        self._desk.journal.refused(refused, self._peer, method, path, self._who)
        reply = answers.refusal(refused)
        reply = Reply(reply.status, (*reply.headers, *self._shared(asked)), reply.body)
        stays = bool(self._who) and self._is_read and asked is not None and asked.keeps_alive()
        transport.write(answers.spelt(reply, closes=not stays, bodiless=method == "HEAD"))
        if not stays:
            self._drain(transport)

    def _drain(self, transport: asyncio.Transport) -> None:
        # A close with bytes unread resets the connection, and the client never sees the answer.
        self._drains, self._reader = True, None
        self.deadline = time.monotonic() + self._desk.limits.drain_s
        if self._waiting is not None and not self._waiting.done():
            self._waiting.cancel()
        try:
            if transport.can_write_eof():
                transport.write_eof()
            elif (
                self._is_read
            ):  # with TLS there is no half of an end; who still sends ends it, or the time does
                transport.close()
        except OSError:  # the client is gone already
            transport.abort()
        if self._holds_back:
            self._holds_back = False
            transport.resume_reading()

    async def _write(self, reply: Reply, asked: Asked) -> None:
        transport = self._transport
        if transport is None:
            return
        # What anybody may ask for is answered without its body, which nobody shall take for a request.
        closes = not (asked.keeps_alive() and self._is_read)
        reply = Reply(reply.status, (*reply.headers, *self._shared(asked)), reply.body)
        if isinstance(reply.body, bytes):
            transport.write(answers.spelt(reply, closes=closes))
        else:
            await self._stream(reply, reply.body, asked)
        if self._is_full:
            await self._until_there_is_room()
        if closes and self._transport is not None:
            self._drain(transport)

    async def _stream(self, reply: Reply, body: AsyncIterator[bytes], asked: Asked) -> None:
        """Writes each piece as it comes, and waits for a client that is slow to read it."""
        is_chunked, closes = asked.version == "1.1", not asked.keeps_alive()
        self._put(answers.head(reply.status, reply.headers, None, closes=closes, is_chunked=is_chunked))
        limit = asyncio.timeout(self._seconds_left(asked))
        try:
            async with limit:
                async for data in body:
                    if data:
                        self._put(answers.chunk(data) if is_chunked else data)
                    if self._is_full:
                        await self._until_there_is_room()
        except TimeoutError:
            if not limit.expired():
                raise
        if is_chunked:
            self._put(answers.LAST_CHUNK)

    def _seconds_left(self, asked: Asked) -> float | None:
        """How long a stream may go on that waits for news; a call's goes on to its answer."""
        if asked.method != "GET" or self._ends is None:
            return None
        return max(0.0, self._ends - time.time())

    def _put(self, data: bytes) -> None:
        if self._transport is None:
            raise asyncio.CancelledError
        self._transport.write(data)

    async def _until_there_is_room(self) -> None:
        self._room = asyncio.get_running_loop().create_future()
        try:
            await self._room
        finally:
            self._room = None


class _Full(Exception):
    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.why)
        self.refused = refused


def _refusal(error: Wrong | _Full) -> Refused:
    return error.refused if isinstance(error, _Full) else Refused(error.status, error.code, error.why)


@asynccontextmanager
async def _closing(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[None]:
    """Tells a stream that nobody reads it any more, however that came about."""
    try:
        yield
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
