"""What the gateway tells the wrapper: one JSON message a fact, over a socket that keeps messages whole.

The wrapper writes the fact to the log and then answers with `WRITTEN`, in order: whoever awaits `tell` goes
on only when the fact is in the log. `SETTLE` asks for all that has happened so far, and is answered with
`{"settled": true}` after it. The wrapper's end of file is the gateway's end.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable, Mapping

from sandbox.egress.budget import Excess
from sandbox.egress.decide import Denied
from sandbox.egress.words import SETTLED, WRITTEN
from sandbox.event import Value

QUEUE = 512
"""Facts under way: beyond that whoever has one more to tell waits, and so does the server."""


class Reporter:
    """The gateway's end of the channel."""

    def __init__(self, channel: socket.socket, look: Callable[[], None]) -> None:
        """`look` reads what waits in the sockets, so that it is told before the answer to `SETTLE`."""
        self._look = look
        self._channel = channel
        self._channel.setblocking(False)
        self._outgoing: asyncio.Queue[tuple[bytes, asyncio.Future[None] | None]] = asyncio.Queue()
        self._room = asyncio.Semaphore(QUEUE)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closing = False

    async def listen(self) -> None:
        """Takes the wrapper's answers; returns when the wrapper wants no more."""
        loop = asyncio.get_running_loop()
        while answer := await loop.sock_recv(self._channel, 16):
            if answer == WRITTEN:
                _done(self._waiting.popleft())
            else:
                self._look()
                # What `look` found is told by tasks of its own: they get their turn first.
                loop.call_soon(self._settled)
        self._closing = True
        while self._waiting:
            _done(self._waiting.popleft())

    def _settled(self) -> None:
        self._outgoing.put_nowait((SETTLED, None))  # nobody acknowledges it

    async def send(self) -> None:
        """Sends what was told, in order; never returns by itself."""
        loop = asyncio.get_running_loop()
        while True:
            body, written = await self._outgoing.get()
            if written is not None:
                _done(written) if self._closing else self._waiting.append(written)
            await loop.sock_sendall(self._channel, body)
            self._outgoing.task_done()

    async def finish(self, sending: asyncio.Task[None]) -> None:
        """Sends what is left; the wrapper reads until we close."""
        await self._outgoing.join()
        sending.cancel()

    async def tell(self, kind: str, detail: Mapping[str, Value], rule: str = "", **more: Value) -> None:
        """Returns once the event is in the log; `more` goes beside the event, for the wrapper alone."""
        await self._say({"kind": kind, "detail": dict(detail), "rule": rule, **more})

    async def _say(self, said: Mapping[str, Value]) -> None:
        body = json.dumps(said).encode()
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with self._room:
            self._outgoing.put_nowait((body, written))
            await written

    async def deny(self, kind: str, denied: Denied, **detail: Value) -> None:
        """A denial, with the option that would have granted it."""
        found: dict[str, Value] = {
            "host": denied.host,
            "port": denied.port,
            "reason": denied.reason,
            **detail,
        }
        await self.tell(kind, found, denied.rule, where=denied.where, grant=denied.grant)

    async def exceeded(self, excess: Excess) -> None:
        """A budget that is spent: the wrapper ends the sandbox, and us with it."""
        detail: dict[str, Value] = {"host": excess.host, "used": excess.used, "limit": excess.limit}
        await self._say({"breach": excess.quota, "why": excess.why, "detail": detail})

    async def canary(self, name: str, encoding: str, host: str, where: str) -> None:
        """A planted credential on its way out: the wrapper ends the sandbox."""
        why = f"the decoy `{name}` was on its way to `{host}` in {where}"
        detail: dict[str, Value] = {"canary": name, "encoding": encoding, "host": host, "where": where}
        await self.tell("canary.seen", detail, "isolation.decoys", breach="isolation.decoys", why=why)

    async def activity(self, host: str) -> None:
        """An upload after a pause: no event by itself, but the watcher of behaviour counts it."""
        await self._say({"activity": host})


def _done(written: asyncio.Future[None]) -> None:
    # Whoever waited may have been cancelled meanwhile.
    if not written.done():
        written.set_result(None)
