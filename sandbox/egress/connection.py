"""One connection of the server's, from the trap to where it may go: decided, looked at, counted, carried.

Both directions are carried with backpressure and half-closes; nothing is read that cannot be passed on.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from contextlib import suppress

from sandbox.egress.budget import Excess
from sandbox.egress.canary import Sighting
from sandbox.egress.decide import Denied, Target
from sandbox.egress.dial import Way
from sandbox.egress.guard import Guard, Refused
from sandbox.egress.lane import Bytes, Lane
from sandbox.egress.shift import Shift
from sandbox.event import Value

PAUSE_S = 1.0
"""An upload after at least this much silence is a moment of activity of its own."""
_LINGER_NONE = struct.pack("ii", 1, 0)


class Spent(Exception):
    """The bytes at hand would exceed a budget: none of them passes, and the session ends."""

    def __init__(self, excess: Excess) -> None:
        super().__init__(excess.why)
        self.excess = excess


class Leaked(Exception):
    """The bytes at hand hold a decoy: none of them passes, and the session ends."""

    def __init__(self, seen: Sighting) -> None:
        super().__init__(seen.name)
        self.seen = seen


class Connection:
    """Owns `client`, the accepted socket; `run` returns when both sides are closed."""

    def __init__(self, shift: Shift, client: socket.socket, target: Target) -> None:
        self.shift = shift
        self.client = client
        self.target = target
        self.guard = Guard(target)
        self.active = self._began = self._sent_at = shift.now()
        self.up = self.down = 0
        self._peer = ""
        self._canaries = shift.canary_stream()
        self._awaits_answer = False
        self._ends: tuple[socket.socket, ...] = ()

    @property
    def broken(self) -> bool:
        """Whether a side was reset to which nobody listens, since the other one takes nothing."""
        poll = select.poll()
        for one in self._ends:
            poll.register(one, 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))

    async def run(self) -> None:
        """The whole life; a denial resets the server's side, so that it fails at once instead of hanging."""
        end = "fault"
        try:
            end = await self._run()
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
            self._tell_end(end)

    async def _run(self) -> str:
        """How it ended; whatever ends it for a reason of ours is in the log before the server sees it."""
        try:
            await self._carried()
        except Refused as refused:
            await self.shift.denials.tell(refused.denied)
            return "denied"
        except Spent as spent:
            await self.shift.reporter.exceeded(spent.excess)
            return "breach"
        except Leaked as leaked:
            seen = leaked.seen
            what = (seen.name, seen.encoding, self.target.where, "bytes that it sent")
            await self.shift.reporter.canary(*what)
            return "breach"
        return "closed"

    async def _carried(self) -> None:
        if excess := self.shift.budget.connect(self.target.rule):
            raise Spent(excess)
        way = await self.shift.dialer.way(self.target)
        if isinstance(way, Denied):
            raise Refused(way)
        with await self._connected(way) as server:
            try:
                await self._carry(server)
            except BaseException:
                reset(server)
                raise

    async def _connected(self, way: Way) -> socket.socket:
        """Dials while the log is told: no byte passes before both are done."""
        told = self._tell_allowed(way)
        try:
            server = await self.shift.dialer.connect(self.target, way)
        except BaseException:
            await told
            raise
        try:
            for one in (self.client, server):
                with suppress(OSError):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.shift.reporter.look()  # it often came while we dialled
            await told
            self._peer = str(server.getpeername()[0])
        except BaseException:
            server.close()
            raise
        return server

    async def _carry(self, server: socket.socket) -> None:
        loop, room = self.shift.loop, self.shift.room
        self._over = loop.create_future()
        self._upward = Lane(loop, self.client, server, room, self._look_up, self._ended)
        self._downward = Lane(loop, server, self.client, room, self._look_down, self._ended)
        self._ends = (self.client, server)
        try:
            self._downward.settle()
            self._upward.read()  # what the server has said by now needs no turn of the loop
            await self._over
        finally:
            self._ends = ()
            self._upward.close()
            self._downward.close()

    def _ended(self, lane: Lane, error: Exception | None) -> None:
        if self._over.done():
            return
        if error is None and lane is self._upward:
            error = self._unfinished()
        if error is not None:
            self._over.set_exception(error)
        elif self._upward.over and self._downward.over:
            self._over.set_result(None)
        else:
            with suppress(OSError):
                lane.sink.shutdown(socket.SHUT_WR)
        if lane is self._downward:
            self._go_on()  # whoever still waits for an answer to an upgrade gets none

    def _unfinished(self) -> Refused | None:
        """Why what the server had said before its end of file did not leave."""
        try:
            self.guard.finish()
        except Refused as refused:
            return refused
        return None

    # --- what may pass ------------------------------------------------------------------------------

    def _look_up(self, data: memoryview) -> Bytes:
        """What of the server's bytes may leave."""
        self.active = self.shift.now()
        guard = self.guard
        if self._canaries is not None and guard.protocol != "tls":
            seen = self._canaries.feed(bytes(data))
            if seen is not None:
                raise Leaked(seen)
        if not guard.watching:
            return self._counted(data)
        passed = self._counted(guard.feed(bytes(data)))
        if guard.watching and guard.awaiting and not self._awaits_answer:
            self._awaits_answer = True
            self._upward.pause()
        return passed

    def _counted(self, data: Bytes) -> Bytes:
        if not data:
            return b""
        if excess := self.shift.budget.up(self.target.rule, len(data)):
            raise Spent(excess)
        if self.active - self._sent_at >= PAUSE_S:
            self._upward.wait(self.shift.reporter.activity(self.target.where))
        self._sent_at = self.active
        self.up += len(data)
        return data

    def _look_down(self, data: memoryview) -> Bytes:
        """What comes back, all of it; an answer to an upgrade may let the server's own bytes go."""
        self.active = self.shift.now()
        released = self.guard.answer(bytes(data)) if self.guard.observing else b""
        if excess := self.shift.budget.down(self.target.rule, len(data)):
            raise Spent(excess)
        self.down += len(data)
        if released:
            self._upward.send(self._counted(released))
            self._upward.settle()
        if not self.guard.awaiting:
            self._go_on()
        return data

    def _go_on(self) -> None:
        if self._awaits_answer:
            self._awaits_answer = False
            self._upward.resume()

    # --- the log ------------------------------------------------------------------------------------

    def _tell_allowed(self, way: Way) -> asyncio.Future[None]:
        detail: dict[str, Value] = {"host": self.target.named, "port": self.target.port}
        detail |= {"proxy": True} if way.proxy else {"addresses": [*way.addresses[:16]]}
        return self.shift.reporter.say("egress.allow", detail, str(self.target.rule.origin))

    def _tell_end(self, end: str) -> None:
        detail: dict[str, Value] = {"host": self.target.named, "port": self.target.port, "end": end}
        detail |= {"address": self._peer} if self._peer else {}
        detail |= {"protocol": self.guard.protocol or "none", "up": self.up, "down": self.down}
        if self.guard.shown and self.guard.shown != self.target.host:
            detail["shown"] = self.guard.shown[:253]
        detail["seconds"] = round(self.shift.now() - self._began, 3)
        # Nothing waits for it.
        self.shift.reporter.note("egress.close", detail)


def reset(one: socket.socket) -> None:
    """Makes the close that follows a reset (tcp(7), SO_LINGER 0): the other side fails instead of waiting."""
    with suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
