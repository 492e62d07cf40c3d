"""HTTP+SSE of MCP 2024-11-05: one stream for all that the server says, and a path of its own to post to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sandbox.bridge import envelope
from sandbox.bridge.envelope import Message
from sandbox.bridge.http import Http, Response
from sandbox.bridge.session import STREAM
from sandbox.bridge.waiting import Calls, Waiting
from sandbox.bridge.words import Dead, Failed
from sandbox.wire import sse

OPEN_WITHIN = 10.0
"""Seconds within which the stream has to name the path."""
TAKEN_WITHIN = 30.0
ACCEPTED_MAX = 1 << 16

Deliver = Callable[[Message, Waiting | None], Awaitable[None]]


class OldServer:
    """A server that speaks the deprecated transport."""

    def __init__(self, http: Http, calls: Calls, deliver: Deliver, most: int) -> None:
        self._http = http
        self._calls = calls
        self._deliver = deliver
        self._decoder = sse.Decoder(most)
        self._path: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Opens the stream and learns where to post; raises where the server does not speak like this."""
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                response = await self._http.ask("GET", (STREAM,))
                if response.head.status != 200 or response.head.kind != "text/event-stream":
                    async with response:
                        raise Failed("it does not speak the deprecated HTTP+SSE either")
                self._reading = asyncio.get_running_loop().create_task(self._read(response))
                named: set[asyncio.Future[Any]] = {self._path, self._reading}
                await asyncio.wait(named, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Failed(f"its stream names no endpoint within {OPEN_WITHIN:g} s") from None
        if not self._path.done():
            await self._stream

    async def request(self, call: Waiting, message: Message) -> None:
        """Sends a request; returns once its answer has come on the stream."""
        await self.send(message)
        while not call.answered:
            told: set[asyncio.Future[Any]] = {self._calls.changed(), self._stream}
            await asyncio.wait(told, return_when=asyncio.FIRST_COMPLETED)
            if self._stream.done() and not call.answered:
                await self._stream

    async def send(self, message: Message) -> None:
        """Posts one message; what answers it comes on the stream, and nothing else counts."""
        path = await self._path
        try:
            async with asyncio.timeout(TAKEN_WITHIN):
                response = await self._http.ask("POST", (), message.line[:-1], path, twice=False)
                async with response:
                    await response.body(ACCEPTED_MAX)
        except TimeoutError:
            raise Failed(f"the server has not taken a message within {TAKEN_WITHIN:g} s") from None
        if response.head.status == 401:
            raise self._http.wants_login()
        if not 200 <= response.head.status < 300:
            raise Failed(f"the server refuses a message ({response.head.status})")

    async def follow(self) -> None:
        """Goes on as long as the stream does; raises at its end, which is the session's."""
        await asyncio.shield(self._stream)

    def close(self) -> None:
        """Reads no more."""
        if self._reading is not None:
            self._reading.cancel()

    @property
    def _stream(self) -> asyncio.Task[None]:
        if self._reading is None:
            raise Failed("the stream was never opened")
        return self._reading

    async def _read(self, response: Response) -> None:
        try:
            async with response:
                while chunk := await response.read():
                    for event in self._decoder.feed(chunk):
                        await self._take(event)
        except sse.Malformed as why:
            raise Dead(f"the server's stream cannot be read: {why}") from None
        except Failed as why:
            raise Dead(f"the server's stream has ended: {why.why}") from None
        raise Dead("the server has ended its stream, and the session with it")

    async def _take(self, event: sse.Event) -> None:
        if event.event == "endpoint":
            self._learn(event.data)
        elif event.event == "message" and event.data:
            try:
                messages = envelope.read(event.data)
            except envelope.Malformed as why:
                raise Failed(f"an event is no message: {why}") from None
            for message in messages:
                await self._deliver(message, self._calls.get(message.id))

    def _learn(self, data: bytes) -> None:
        """Only a path of the same origin: what is posted there may hold a secret."""
        path = self._http.within(data.decode("latin-1").strip())
        if path is None:
            raise Failed("the endpoint that it names is of another origin")
        if not self._path.done():
            self._path.set_result(path)
