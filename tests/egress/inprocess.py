"""A gateway inside the test's own event loop: the test is the server, the host and the wrapper at once.

Each port that a rule names has a listener of the loopback in the trap's place; what connects to it is taken
for a connection to that port of the host's own.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from sandbox.egress.charge import Charge
from sandbox.egress.gateway import Gateway
from sandbox.policy.hosts import parse
from sandbox.policy.model import Network
from sandbox.trap import DNS, Trapped

SECONDS = 10.0
TURNS = 50
"""Turns of the loop after which whatever could happen without anybody's doing has happened."""

Fact = dict[str, Any]


def run(work: Callable[[], Awaitable[None]]) -> None:
    """A test is one coroutine, and takes no longer than it may."""
    asyncio.run(asyncio.wait_for(work(), SECONDS))


async def turns(count: int = TURNS) -> None:
    """Lets everything happen that waits for nothing."""
    for _ in range(count):
        await asyncio.sleep(0)


class Wrapper:
    """The wrapper's end of the channel: takes facts, and answers them at once or when the test says so."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.facts: list[Fact] = []
        """All that was said, `{"settled": true}` included, in order."""
        self.ended = False
        self.holds = False
        self._unanswered = 0
        self._news = asyncio.Event()
        channel.setblocking(False)

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while data := await loop.sock_recv(self.channel, 1 << 16):
                self._take(json.loads(data))
        self.ended = True
        self._news.set()

    def _take(self, said: Fact) -> None:
        self.facts.append(said)
        if "settled" not in said and "quiet" not in said:
            self._unanswered += 1
            if not self.holds:
                self.answer(1)
        self._news.set()

    def answer(self, count: int = 0) -> None:
        """Says that so many facts, or all, are in the log."""
        for _ in range(count or self._unanswered):
            self._unanswered -= 1
            with suppress(BrokenPipeError):  # nobody waits any more
                self.channel.send(b"+")

    def settle(self) -> None:
        self.channel.send(b"?")

    def hang_up(self) -> None:
        self.channel.shutdown(socket.SHUT_WR)

    def kinds(self, *kinds: str) -> list[Fact]:
        """The facts of these kinds so far."""
        return [fact for fact in self.facts if fact.get("kind") in kinds]

    async def until(self, what: Callable[[], Any]) -> Any:
        """What `what` gives, once it is true; asked again after each fact."""
        while not (found := what()):
            assert not self.ended, f"the gateway ended: {self.facts}"
            self._news.clear()
            await self._news.wait()
        return found

    async def fact(self, kind: str, count: int = 1) -> Fact:
        """The last of `count` facts of that kind."""
        found = await self.until(lambda: self.kinds(kind)[count - 1 : count])
        fact: Fact = found[0]
        return fact


class Running:
    """A gateway that serves; `ports` says where the trap's listener of each port is."""

    def __init__(self, gateway: Gateway, wrapper: Wrapper, ports: Mapping[int, int]) -> None:
        self.gateway = gateway
        self.wrapper = wrapper
        self.ports = ports
        self.dns: tuple[str, int] = ("127.0.0.1", 0)
        self.strays: socket.socket
        self.task: asyncio.Task[None]
        self.peers: list[Peer] = []

    async def connect(self, port: int) -> Peer:
        """A connection of the server's to that port; closed with the gateway."""
        self.peers.append(await Peer.connect(self.ports[port]))
        return self.peers[-1]

    def asker(self) -> Peer:
        """A socket of the server's that asks our DNS."""
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.connect(self.dns)
        self.peers.append(Peer(one))
        return self.peers[-1]

    async def over(self) -> None:
        """Hangs up and waits for the gateway's last words."""
        self.wrapper.hang_up()
        await self.task


class Peer:
    """One end of a connection, read and written piece by piece."""

    def __init__(self, one: socket.socket) -> None:
        self.socket = one
        self._loop = asyncio.get_running_loop()
        one.setblocking(False)

    @classmethod
    async def connect(cls, port: int, address: str = "127.0.0.1") -> Peer:
        one = socket.socket()
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, (address, port))
        return cls(one)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def read(self, size: int) -> bytes:
        """Exactly so many bytes, fewer only at the end."""
        heard = b""
        while len(heard) < size and (data := await self._loop.sock_recv(self.socket, size - len(heard))):
            heard += data
        return heard

    async def rest(self) -> bytes:
        """All up to the end of file."""
        heard = b""
        while data := await self._loop.sock_recv(self.socket, 1 << 16):
            heard += data
        return heard

    async def last(self) -> tuple[bytes, str]:
        """All that still comes, and how it ends: `closed` or `reset`."""
        heard = b""
        try:
            while data := await self._loop.sock_recv(self.socket, 1 << 16):
                heard += data
        except ConnectionError:
            return heard, "reset"
        return heard, "closed"

    async def end(self) -> str:
        """How it ends, once all is read."""
        return (await self.last())[1]

    def now(self) -> bytes | None:
        """What can be read without waiting; None where nothing can."""
        try:
            return self.socket.recv(1 << 16)
        except BlockingIOError:
            return None

    def fill(self, most: int = 1 << 30) -> int:
        """Sends until nothing more is taken; how much was."""
        taken = 0
        with suppress(BlockingIOError):
            while taken < most:
                taken += self.socket.send(b"x" * min(1 << 16, most - taken))
        return taken

    def push(self, data: bytes) -> bytes:
        """Sends what is taken of `data` without waiting; the rest."""
        try:
            return data[self.socket.send(data) :]
        except BlockingIOError:
            return data

    def shut(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Targets:
    """A listener of the host's, whose connections the test takes one by one."""

    def __init__(self, address: str = "127.0.0.1", backlog: int = 128) -> None:
        self._listener = socket.create_server((address, 0), backlog=backlog)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._taken: list[Peer] = []

    def __enter__(self) -> Targets:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        for one in self._taken:
            one.close()

    async def accept(self) -> Peer:
        """The next connection that came."""
        one, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._taken.append(Peer(one))
        return self._taken[-1]

    def waiting(self) -> Peer | None:
        """A connection that is there already."""
        try:
            one, _ = self._listener.accept()
        except BlockingIOError:
            return None
        self._taken.append(Peer(one))
        return self._taken[-1]


def network(*ports: int, **more: Any) -> Network:
    """A policy that allows these ports of the host's own."""
    return Network(tuple(parse(f"localhost:{port}") for port in ports), **more)


@asynccontextmanager
async def serving(
    policy: Network, listens: Sequence[int] = (), charge: Mapping[str, Any] | None = None
) -> AsyncIterator[Running]:
    """A gateway with that policy, which also listens on ports that no rule names (`listens`)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    strays, observer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    traps, ports = [Trapped("observer", 0, observer.detach())], {}
    for port in (*{rule.port for rule in policy.allow}, *listens, DNS):
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        ports[port] = listener.getsockname()[1]
        traps.append(Trapped("tcp", port, listener.detach()))
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.bind(("127.0.0.1", 0))
    where = datagrams.getsockname()
    traps.append(Trapped("udp", DNS, datagrams.detach()))
    wrapper = Wrapper(ours)
    gateway = Gateway(Charge(policy, **(charge or {})), traps, theirs)
    gateway._dropped = lambda: 0  # type: ignore[method-assign]  # no packet socket stands for the observer here
    running = Running(gateway, wrapper, ports)
    running.dns, running.strays = where, strays
    listening = asyncio.create_task(wrapper.listen())
    running.task = asyncio.create_task(gateway.run())
    try:
        yield running
    finally:
        wrapper.answer()
        if not running.task.done():
            wrapper.hang_up()
        await asyncio.gather(running.task, return_exceptions=True)
        theirs.close()
        await listening
        for peer in running.peers:
            peer.close()
        for one in (ours, strays, *(one for _, one in gateway._sockets)):
            one.close()
