"""One connection of the server's, from the trap to where it may go: decided, looked at, counted, carried.

Both directions are carried with backpressure and half-closes; nothing is read that cannot be passed on.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress

from sandbox.egress.decide import Denied, Target
from sandbox.egress.dial import Way
from sandbox.egress.guard import Guard, Refused
from sandbox.egress.shift import Shift
from sandbox.event import Value

CHUNK = 1 << 17
PAUSE_S = 1.0
"""An upload after at least this much silence is a moment of activity of its own."""
_LINGER_NONE = struct.pack("ii", 1, 0)


class Stopped(Exception):
    """The session is ending for a breach: nothing more passes."""


class Connection:
    """Owns `client`, the accepted socket; `run` returns when both sides are closed."""

    def __init__(self, shift: Shift, client: socket.socket, target: Target) -> None:
        self.shift = shift
        self.client = client
        self.target = target
        self.guard = Guard(target)
        self.active = shift.now()
        self.up = self.down = 0
        self._began = shift.now()
        self._sent_at = self._began
        self._answered = asyncio.Event()
        self._canaries = shift.canary_stream()

    async def run(self) -> None:
        """The whole life; a denial resets the server's side, so that it fails at once instead of hanging."""
        end = "fault"
        try:
            end = await self._run()
        except Refused as refused:
            end = "denied"
            await self.shift.deny(refused.denied)
        except Stopped:
            end = "breach"
        except OSError as error:
            end = str(error)[:200] or type(error).__name__
        except Exception as error:  # a fault of ours ends this connection, and is told
            end = f"fault: {type(error).__name__}: {error}"[:200]
        except asyncio.CancelledError as why:
            # By our own sweep, or at the session's end: how it ended is told all the same.
            end = str(why) or "session"
        finally:
            if end != "closed":
                reset(self.client)
            self.client.close()
        if self.up or self.down or end not in ("denied", "breach"):
            await self._tell_end(end)

    async def _run(self) -> str:
        if excess := self.shift.budget.connect(self.target.rule):
            await self.shift.reporter.exceeded(excess)
            return "breach"
        way = await self.shift.dialer.way(self.target)
        if isinstance(way, Denied):
            raise Refused(way)
        server = await self._connected(way)
        with server:
            for one in (self.client, server):
                with suppress(OSError):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await self._carry(server)
            except BaseException:
                reset(server)
                raise
        return "closed"

    async def _connected(self, way: Way) -> socket.socket:
        """Dials while the log is told: no byte passes before both are done."""
        told = asyncio.ensure_future(self._tell_allowed(way))
        try:
            server = await self.shift.dialer.connect(self.target, way)
        except BaseException:
            await told
            raise
        try:
            await told
        except BaseException:
            server.close()
            raise
        self._peer = str(server.getpeername()[0])
        return server

    async def _carry(self, server: socket.socket) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._upward(server))
                both.create_task(self._downward(server))
        except BaseExceptionGroup as group:
            raise _first(group) from None

    # --- from the server outward --------------------------------------------------------------------

    async def _upward(self, server: socket.socket) -> None:
        loop, guard = self.shift.loop, self.guard
        while data := await loop.sock_recv(self.client, CHUNK):
            self.active = self.shift.now()
            if self._canaries is not None and self.guard.protocol != "tls":
                await self._scan(data)
            await self._send(server, guard.feed(data) if guard.watching else data)
            if guard.watching and guard.awaiting:
                await self._answered.wait()
                self._answered.clear()
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    async def _send(self, server: socket.socket, data: bytes) -> None:
        if not data:
            return
        if excess := self.shift.budget.up(self.target.rule, len(data)):
            await self.shift.reporter.exceeded(excess)
            raise Stopped
        if self.active - self._sent_at >= PAUSE_S:
            await self.shift.reporter.activity(self.target.where)
        self._sent_at = self.active
        self.up += len(data)
        await self.shift.loop.sock_sendall(server, data)

    async def _scan(self, data: bytes) -> None:
        seen = self._canaries.feed(data) if self._canaries is not None else None
        if seen is not None:
            where = "bytes that it sent"
            await self.shift.reporter.canary(seen.name, seen.encoding, self.target.where, where)
            raise Stopped

    # --- back to the server -------------------------------------------------------------------------

    async def _downward(self, server: socket.socket) -> None:
        loop, guard = self.shift.loop, self.guard
        while data := await loop.sock_recv(server, CHUNK):
            self.active = self.shift.now()
            released = b""
            if guard.observing:
                released = guard.answer(data)
            if excess := self.shift.budget.down(self.target.rule, len(data)):
                await self.shift.reporter.exceeded(excess)
                raise Stopped
            self.down += len(data)
            await loop.sock_sendall(self.client, data)
            await self._send(server, released)
            if not guard.awaiting:
                self._answered.set()
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)
        # Whoever still waits for an answer to an upgrade gets none.
        self._answered.set()

    # --- the log ------------------------------------------------------------------------------------

    async def _tell_allowed(self, way: Way) -> None:
        detail: dict[str, Value] = {"host": self.target.named, "port": self.target.port}
        detail |= {"proxy": True} if way.proxy else {"addresses": [*way.addresses[:16]]}
        await self.shift.reporter.tell("egress.allow", detail, str(self.target.rule.origin))

    async def _tell_end(self, end: str) -> None:
        detail: dict[str, Value] = {"host": self.target.named, "port": self.target.port, "end": end}
        detail |= {"address": self._peer} if self._peer else {}
        detail |= {"protocol": self.guard.protocol or "none", "up": self.up, "down": self.down}
        if self.guard.shown and self.guard.shown != self.target.host:
            detail["shown"] = self.guard.shown[:253]
        detail["seconds"] = round(self.shift.now() - self._began, 3)
        await self.shift.reporter.tell("egress.close", detail)

    _peer = ""


def reset(one: socket.socket) -> None:
    """Makes the close that follows a reset (tcp(7), SO_LINGER 0): the other side fails instead of waiting."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception that says most: a denial, then a breach, then a broken connection."""
    found: list[BaseException] = []
    left: list[BaseException] = [group]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
        else:
            found.append(one)
    order = {Refused: 0, Stopped: 1}
    return min(found, key=lambda one: order.get(type(one), 2))
