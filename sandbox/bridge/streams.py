"""Streams of events, which carry messages: read to their end, and taken up again where they broke off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sandbox.bridge import envelope
from sandbox.bridge.dialling import Unreachable
from sandbox.bridge.envelope import Message
from sandbox.bridge.http import Http, Response
from sandbox.bridge.session import Session
from sandbox.bridge.words import Broken, Dead, Failed
from sandbox.wire import sse

PAUSE, PAUSE_MIN, PAUSE_MAX = 1.0, 0.05, 60.0
"""Seconds before a stream is taken up again: where the server names none, and within what bounds it may."""
ATTEMPTS_MAX = 5
"""Attempts in a row that bring nothing, before a request's stream is given up."""
_FOR_GOOD = range(400, 500)
# 409: a server that allows one stream, and has not noticed yet that its last connection broke.
_BUSY = frozenset({408, 409, 425, 429})


class Refused(Failed):
    """The server has no such stream."""


class _Busy(Failed):
    """It may have one later."""


_BLANK = (b"\n\n", b"\r\n\r\n", b"\r\r")
Deliver = Callable[[Message], Awaitable[None]]


class Cursor:
    """How far a stream was read, over all the connections that carried it."""

    def __init__(self) -> None:
        self.last_id = ""
        self._retry: int | None = None
        self._failures = 0

    def moved(self, decoder: sse.Decoder) -> None:
        """Another part of it has come."""
        self.last_id = decoder.last_id or self.last_id
        if decoder.retry is not None:
            self._retry = decoder.retry
        self._failures = 0

    def failed(self) -> int:
        """An attempt has brought nothing; the how manieth in a row."""
        self._failures = min(self._failures + 1, 10)
        return self._failures

    @property
    def pause(self) -> float:
        """Seconds until the next attempt: what the server asks for, doubled with every failure."""
        wanted = PAUSE if self._retry is None else self._retry / 1000
        return max(min(wanted * (1 << max(self._failures - 1, 0)), PAUSE_MAX), PAUSE_MIN)


def _behind_blank(chunk: bytes, held: int) -> int:
    """The bytes behind the last blank line, where an event ends; all that is held where there is none."""
    ends = [at + len(blank) for blank in _BLANK if (at := chunk.rfind(blank)) >= 0]
    return len(chunk) - max(ends) if ends else held


class Streams:
    """Reads streams for the bridge."""

    def __init__(self, http: Http, session: Session, most: int) -> None:
        self._http = http
        self._session = session
        self._most = most

    async def read(
        self, response: Response, cursor: Cursor, deliver: Deliver, enough: Callable[[], bool]
    ) -> None:
        """Delivers what comes, until the stream has ended, or `enough` says so, or it breaks (`Broken`)."""
        decoder, unfinished, held = sse.Decoder(self._most), self._http.unfinished, 0
        try:
            while not enough() and (chunk := await response.read()):
                unfinished.add(len(chunk))
                held += len(chunk)
                events = self._events(decoder, chunk)
                done = held if events else held - _behind_blank(chunk, held)
                unfinished.drop(done)
                held -= done
                cursor.moved(decoder)
                for event in events:
                    await self._deliver(event, deliver)
        finally:
            unfinished.drop(held)

    def _events(self, decoder: sse.Decoder, chunk: bytes) -> list[sse.Event]:
        try:
            return decoder.feed(chunk)
        except sse.Malformed as why:
            raise Failed(f"the server's stream cannot be read: {why}") from None

    async def resume(self, cursor: Cursor) -> Response:
        """The stream's next connection, from behind the last event; raises where there will be none."""
        while True:
            await asyncio.sleep(cursor.pause)
            try:
                return await self.open(cursor)
            except (Broken, Unreachable, _Busy) as why:
                if cursor.failed() >= ATTEMPTS_MAX:
                    raise Failed(f"{why.why}; the stream was given up") from None

    async def open(self, cursor: Cursor) -> Response:
        """One attempt; raises `Refused` where the server has no such stream."""
        response = await self._http.ask("GET", self._session.stream_headers(cursor.last_id))
        status = response.head.status
        if status == 200 and response.head.kind == "text/event-stream":
            return response
        async with response:
            # A 404 too: that is what many say who have no stream at all. A POST learns of a lost session.
            if status in _FOR_GOOD and status not in _BUSY:
                raise Refused(f"the server has no stream to take up ({status})")
            raise _Busy(f"the server's stream cannot be taken up ({status} `{response.head.kind}`)")

    async def follow_own(self, deliver: Deliver, say: Callable[[str], None]) -> None:
        """The stream for what belongs to no request, for as long as the session lasts, if the server has one.

        Nobody waits for an answer in it: what breaks off or cannot be read is taken up again, but ever later.
        """
        cursor = Cursor()
        while True:
            cursor.failed()  # until something comes
            try:
                async with await self.open(cursor) as response:
                    await self.read(response, cursor, deliver, lambda: False)
            except (Refused, Dead):
                raise
            except (Broken, Unreachable, _Busy):
                pass
            except Failed as why:
                say(why.why)
            await asyncio.sleep(cursor.pause)

    async def _deliver(self, event: sse.Event, deliver: Deliver) -> None:
        # An event without data only names a place to go on from (MCP 2025-11-25, Transports).
        if event.event != "message" or not event.data:
            return
        try:
            messages = envelope.read(event.data)
        except envelope.Malformed as why:
            raise Failed(f"an event of the server's is no message: {why}") from None
        for message in messages:
            await deliver(message)
