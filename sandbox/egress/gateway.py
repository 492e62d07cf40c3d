"""The egress gateway: holds the trap's sockets outside the sandbox and carries what the policy allows.

It is a process of its own, because it reads what a hostile program sends. A fault in any part of it ends it,
and with it the session.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from ipaddress import ip_address
from typing import Any

from sandbox.egress import decide
from sandbox.egress.canary import NameStream
from sandbox.egress.charge import Charge
from sandbox.egress.connection import Connection, reset
from sandbox.egress.decide import Denied
from sandbox.egress.report import Reporter
from sandbox.egress.resolver import Resolver
from sandbox.egress.shift import Shift
from sandbox.trap import DNS, Trapped
from sandbox.wire import packet

MOST_CONNECTIONS = 1024
"""At one time; each costs two descriptors and at most two chunks."""
MOST_ASKERS = 64
"""Connections to our DNS at one time."""
MOST_TASKS = MOST_CONNECTIONS + 512
"""Those, and connections that wait to be refused; until some have ended, no more are accepted."""
IDLE_S = 1800.0
OPENING_S = 30.0
"""A connection that holds back half an opening or half a request ends after this."""
SWEEP_S = 5.0
SUMS_S = 1.0
_STRAYS, _LOOKS = 512, 16
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_REST_S = 0.1


class Gateway:
    """All listeners of one trap."""

    def __init__(self, charge: Charge, traps: Sequence[Trapped], channel: socket.socket) -> None:
        self.reporter = Reporter(channel, self._look)
        self.shift = Shift(charge, self.reporter)
        self._sockets = [(one, socket.socket(fileno=one.fd)) for one in traps]
        self._observer = next(one for trapped, one in self._sockets if trapped.kind == "observer")
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: dict[Connection, asyncio.Task[None]] = {}
        self._asking = 0
        needles = self.shift.needles
        ipv6 = any(one.family == socket.AF_INET6 for _, one in self._sockets)
        self.resolver = Resolver(
            charge.network, self.shift.names, self.reporter,
            NameStream(needles) if needles is not None else None, ipv6,
        )  # fmt: skip

    async def run(self) -> None:
        """Serves until the wrapper closes the channel, then tells how every connection ended."""
        self.shift.loop.set_exception_handler(self._on_fault)
        for work in (self._sweep(), self._sums()):
            self._spawn(work)
        self.reporter.start()
        self._listen()
        await self.reporter.over
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tell_sums()
        self.reporter.finish()

    def _on_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback that raised: what it served would go on half."""
        if "handle" in context:
            self.reporter.fail(context["exception"])

    def _listen(self) -> None:
        for trapped, one in self._sockets:
            one.setblocking(False)
            if trapped.kind == "tcp":
                self.shift.loop.add_reader(one, self._on_connection, one, trapped.port)
            elif trapped.kind == "udp":
                self.shift.loop.add_reader(one, self.resolver.on_datagrams, one)
            else:
                self.shift.loop.add_reader(one, self._on_strays)

    def _rest(self, one: socket.socket, callback: Callable[..., None], *args: object) -> None:
        """Listens to `one` no more for a moment: connections get their turn."""
        self.shift.loop.remove_reader(one)
        self.shift.loop.call_later(_REST_S, self.shift.loop.add_reader, one, callback, *args)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.shift.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.reporter.fail(error)

    # --- connections --------------------------------------------------------------------------------

    def _on_connection(self, listener: socket.socket, port: int) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:  # out of descriptors for a moment
            self._rest(listener, self._on_connection, listener, port)
            return
        client.setblocking(False)
        self._spawn(self._serve(client, port))
        if len(self._tasks) > MOST_TASKS:
            self._rest(listener, self._on_connection, listener, port)

    async def _serve(self, client: socket.socket, port: int) -> None:
        with client:
            address = client.getsockname()[0]
            if port == DNS:
                await self._serve_dns(client, address)
                return
            target = self._route(client.family, address, port)
            if isinstance(target, Denied):
                await self._refuse(client, target, address)
                return
            await self._live_through(Connection(self.shift, client, target))

    def _route(self, family: int, address: str, port: int) -> decide.Target | Denied:
        # A link-local address of IPv6 comes with its interface, and is no name's.
        packed = socket.inet_pton(family, address.partition("%")[0])
        target = decide.route(self.shift.rules, address, port, self.shift.names.name(packed))
        if isinstance(target, decide.Target) and len(self._live) >= MOST_CONNECTIONS:
            return _too_many(target.host, port, MOST_CONNECTIONS)
        return target

    async def _refuse(self, client: socket.socket, denied: Denied, address: str) -> None:
        await self.shift.denials.tell(denied, address=address, protocol="tcp")
        reset(client)

    async def _live_through(self, connection: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - every coroutine here runs in one
        self._live[connection] = task
        try:
            await connection.run()
        finally:
            del self._live[connection]

    async def _serve_dns(self, client: socket.socket, address: str) -> None:
        if self._asking >= MOST_ASKERS:
            await self._refuse(client, _too_many(address, DNS, MOST_ASKERS), address)
            return
        self._asking += 1
        try:
            # Two answers may follow each other at once.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self.resolver.serve_tcp(client)
        except OSError:
            return
        finally:
            self._asking -= 1

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            for connection, task in [*self._live.items()]:
                patience = OPENING_S if connection.guard.undecided else IDLE_S
                if self.shift.now() - connection.active > patience:
                    task.cancel("idle")
                elif connection.broken:
                    task.cancel("reset")

    # --- attempts that found no listener ------------------------------------------------------------

    def _look(self) -> None:
        """All that waits now: a flood beyond that is counted by what the kernel dropped."""
        for _ in range(_LOOKS):
            if not self._strays():
                return

    def _on_strays(self) -> None:
        if self._strays():
            # A flood: the kernel drops the rest meanwhile, and says how much that was.
            self._rest(self._observer, self._on_strays)

    def _strays(self) -> bool:
        """Takes some; True where more may wait."""
        for _ in range(_STRAYS):
            try:
                raw, _ = self._observer.recvfrom(256)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                continue  # the namespace's end
            seen = packet.parse(raw)
            if seen is not None:
                self._stray(seen)
        return True

    def _stray(self, seen: packet.Stray) -> None:
        address = ip_address(seen.address).compressed
        denied = decide.stray(seen.protocol, address, seen.port, self.shift.names.name(seen.address))
        self.shift.denials.note(denied, address=address, protocol=seen.protocol)

    def _dropped(self) -> int:
        """Packets since the last time that the observer had no room for (packet(7), PACKET_STATISTICS)."""
        raw = self._observer.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        dropped: int = struct.unpack("=II", raw)[1]
        return dropped

    # --- sums ---------------------------------------------------------------------------------------

    async def _sums(self) -> None:
        while True:
            await asyncio.sleep(SUMS_S)
            self._tell_sums()

    def _tell_sums(self) -> None:
        self.shift.denials.add(self._dropped())
        self.resolver.denials.tell_sums()
        self.shift.denials.tell_sums()


def _too_many(host: str, port: int, most: int) -> Denied:
    return Denied(host, port, f"more than {most} connections at one time", "bounded")
