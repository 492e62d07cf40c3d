"""One connection to the server: a request goes out whole, its answer comes in as it is asked for."""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from typing import cast

from sandbox.bridge.reply import Head, Reply
from sandbox.bridge.words import Broken
from sandbox.wire.http_head import Malformed

AHEAD = 1 << 18
"""Bytes that are read before anybody asks for them."""

_INTERNET = frozenset({socket.AF_INET, socket.AF_INET6})


class Connection(asyncio.Protocol):
    """Serves one request at a time; holds at most some `AHEAD` bytes of its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._reply: Reply | None = None
        self._content: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._fault: Broken | None = None
        self._gone = False
        self._begun = False  # a byte of the answer is there
        self._waiter: asyncio.Future[None] | None = None
        self.used = 0
        self.since = 0.0
        """When it was last put back, by the loop's clock."""

    # --- what the loop tells -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        found = transport.get_extra_info("socket")
        self._socket = found if found is not None and found.family in _INTERNET else None

    def data_received(self, data: bytes) -> None:
        if self._reply is None or self._reply.ended:
            self._break("the server has sent what nobody asked for")
            return
        self._begun = True
        try:
            content = self._reply.feed(data)
        except Malformed as why:
            self._break(f"the server's answer is no HTTP that can be read in one way: {why}")
            return
        if content:
            self._content.append(content)
            self._held += len(content)
            if self._held > AHEAD and not self._reply.ended:
                self._pause()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if self._reply is not None and not self._reply.ended and self._fault is None:
            try:
                self._reply.close()
            except Malformed:
                self._fault = Broken(
                    "the server has closed the connection before its answer was whole",
                    unanswered=not self._begun,
                )
        self._wake()

    # --- what is asked of it -------------------------------------------------------------------------

    @property
    def reusable(self) -> bool:
        """Whether the answer is whole, and the connection fit for another request."""
        reply = self._reply
        if self._gone or self._fault is not None or self._transport is None or self._transport.is_closing():
            return False
        if reply is None:
            return True
        return reply.ended and not reply.surplus and reply.head is not None and reply.head.keeps_alive

    @property
    def silent(self) -> bool:
        """Whether nothing has come that the loop has not seen yet: the end of a kept connection, mostly."""
        if self._transport is None:
            return False
        look = select.poll()
        look.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)
        return not look.poll(0)

    async def ask(self, request: bytes) -> Head:
        """Sends a request; its answer's head."""
        if self._transport is None or self._gone:
            raise Broken("the server has closed the connection", unanswered=True)
        # What nobody has read of the last answer is no part of this one.
        self._content.clear()
        self._reply, self._begun, self._held = Reply(), False, 0
        if self._paused:
            self._resume()
        self.used += 1
        self._transport.write(request)
        self._acknowledge_at_once()
        while self._reply.head is None:
            await self._more()
        return self._reply.head

    async def read(self) -> bytes:
        """The next of the answer's content; nothing once it is whole."""
        while not self._content:
            if self._reply is None or self._reply.ended:
                return b""
            await self._more()
        content = self._content.popleft()
        self._held -= len(content)
        if self._paused and self._held <= AHEAD // 2:
            self._resume()
        return content

    @property
    def whole(self) -> bool:
        """Whether all of the answer is there and read."""
        return self._reply is not None and self._reply.ended and not self._content

    def close(self) -> None:
        """Ends it at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def _acknowledge_at_once(self) -> None:
        """A server that sends head and body apart, with Nagle's algorithm on, waits 40 ms for our word."""
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def _more(self) -> None:
        """Returns after something may have changed; raises where nothing can any more."""
        if self._fault is not None:
            raise self._fault
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _break(self, why: str) -> None:
        if self._fault is None:
            self._fault = Broken(why)
        self.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        if self._transport is not None and not self._gone:
            self._transport.resume_reading()
