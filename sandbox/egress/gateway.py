"""The egress gateway: holds the trap's sockets outside the sandbox and carries what the policy allows.

It is a process of its own: it reads what a hostile program sends, so it holds nothing of the wrapper's but
the policy. A fault in any part of it ends it, and with it the session.
"""

from __future__ import annotations

import asyncio
import socket
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
from sandbox.event import Value
from sandbox.trap import DNS, Trapped
from sandbox.wire import packet

MOST_CONNECTIONS = 1024
"""At one time; each costs two descriptors and at most two chunks."""
IDLE_S = 1800.0
OPENING_S = 30.0
"""A connection that holds back half an opening or half a request ends after this."""
SWEEP_S = 5.0
SUMS_S = 1.0
_STRAYS = 64
_REST_S = 0.1


class Gateway:
    """All listeners of one trap."""

    def __init__(self, charge: Charge, traps: Sequence[Trapped], channel: socket.socket) -> None:
        self.reporter = Reporter(channel, self._look)
        self.shift = Shift(charge, self.reporter)
        self._sockets = [(one, socket.socket(fileno=one.fd)) for one in traps]
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: dict[Connection, asyncio.Task[None]] = {}
        needles = self.shift.needles
        ipv6 = any(one.family == socket.AF_INET6 for _, one in self._sockets)
        self.resolver = Resolver(
            charge.network, self.shift.names, self.reporter,
            NameStream(needles) if needles is not None else None, self._spawn, ipv6,
        )  # fmt: skip

    async def run(self) -> None:
        """Serves until the wrapper closes the channel, then tells how every connection ended."""
        self.shift.loop.set_exception_handler(self._on_fault)
        serving = [asyncio.create_task(one) for one in (self._sweep(), self._sums())]
        self.reporter.start()
        self._listen()
        await asyncio.wait([*serving, self.reporter.over], return_when=asyncio.FIRST_COMPLETED)
        if not self.reporter.over.done():
            raise RuntimeError("a part of the gateway ended")
        self.reporter.over.result()
        for task in (*serving, *self._tasks):
            task.cancel()
        await asyncio.gather(*serving, *self._tasks, return_exceptions=True)
        await self._tell_sums()
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
                self.shift.loop.add_reader(one, self._on_strays, one)

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

    async def _serve(self, client: socket.socket, port: int) -> None:
        address = client.getsockname()[0]
        if port == DNS:
            await self._serve_dns(client)
            return
        packed = socket.inet_pton(client.family, address)
        target = decide.route(self.shift.rules, address, port, self.shift.names.name(packed))
        if isinstance(target, decide.Target) and len(self._live) >= MOST_CONNECTIONS:
            why = f"more than {MOST_CONNECTIONS} connections at one time"
            target = Denied(target.host, target.port, why, "bounded")
        if isinstance(target, Denied):
            await self.shift.deny(target, address=address, protocol="tcp")
            reset(client)
            client.close()
            return
        await self._live_through(Connection(self.shift, client, target))

    async def _live_through(self, connection: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - every coroutine here runs in one
        self._live[connection] = task
        try:
            await connection.run()
        finally:
            del self._live[connection]

    async def _serve_dns(self, client: socket.socket) -> None:
        with client:
            try:
                await self.resolver.serve_tcp(client)
            except OSError:
                return

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self.shift.now()
            for connection, task in [*self._live.items()]:
                patience = OPENING_S if connection.guard.undecided else IDLE_S
                if now - connection.active > patience:
                    task.cancel("idle")

    # --- attempts that found no listener ------------------------------------------------------------

    def _look(self) -> None:
        for trapped, one in self._sockets:
            if trapped.kind == "observer":
                self._on_strays(one)

    def _on_strays(self, observer: socket.socket) -> None:
        for _ in range(_STRAYS):
            try:
                raw, _ = observer.recvfrom(256)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # the namespace's end
            seen = packet.parse(raw)
            if seen is not None:
                self._stray(seen)
        # A flood: the kernel drops the rest meanwhile.
        self._rest(observer, self._on_strays, observer)

    def _stray(self, seen: packet.Stray) -> None:
        address = ip_address(seen.address).compressed
        denied = decide.stray(seen.protocol, address, seen.port, self.shift.names.name(seen.address))
        if self.shift.tally.first((denied.host, denied.port, denied.reason, seen.protocol)):
            detail = {"address": address, "protocol": seen.protocol}
            self._spawn(self.reporter.deny("egress.deny", denied, **detail))

    # --- sums ---------------------------------------------------------------------------------------

    async def _sums(self) -> None:
        while True:
            await asyncio.sleep(SUMS_S)
            await self._tell_sums()

    async def _tell_sums(self) -> None:
        for kind, tally in (("dns.deny", self.resolver.tally), ("egress.deny", self.shift.tally)):
            repeated, further = tally.take()
            if repeated or further:
                sums: dict[str, Value] = {"repeated": repeated, "further": further}
                await self.reporter.tell(kind, sums, decide.DEFAULT_DENY)
