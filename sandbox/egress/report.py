"""What the gateway tells the wrapper: one JSON message a fact, over a socket that keeps messages whole.

The wrapper writes the fact to the log and then answers with `WRITTEN`, in order: whoever awaits `say` goes
on only when the fact is in the log. A fact with `quiet` is not answered. `SETTLE` asks for all that has
happened so far, and is answered with `{"settled": true}` after it. The wrapper's end of file is the
gateway's end: what is not answered by then never is, and whoever waits for it is cancelled.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from json import JSONEncoder

from sandbox.egress.budget import Excess
from sandbox.egress.decide import Denied
from sandbox.egress.words import SETTLED, WRITTEN
from sandbox.event import Value

_json = JSONEncoder(check_circular=False).encode


class Reporter:
    """The gateway's end of the channel."""

    def __init__(self, channel: socket.socket, look: Callable[[], None]) -> None:
        """`look` reads what waits in the sockets, so that it is told before the answer to `SETTLE`."""
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when the wrapper wants no more; raises what broke the channel."""
        self._look = look
        self._channel = channel
        self._channel.setblocking(False)
        self._unsent: deque[bytes] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def start(self) -> None:
        """Begins to take the wrapper's answers."""
        self._loop.add_reader(self._channel, self._on_answer)

    def fail(self, error: BaseException) -> None:
        """Ends the gateway for a fault of its own."""
        if not self.over.done():
            self.over.set_exception(error)

    def finish(self) -> None:
        """Sends what is left, and then no more; the wrapper reads until we close."""
        self._loop.remove_writer(self._channel)
        self._channel.setblocking(True)
        while self._unsent:
            self._channel.send(self._unsent.popleft())

    def look(self) -> None:
        """Takes an answer that is here already."""
        if self._waiting and not self.over.done():
            self._on_answer()

    def _on_answer(self) -> None:
        try:
            answer = self._channel.recv(16)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._loop.remove_reader(self._channel)
            self.fail(error)
            return
        if answer == WRITTEN:
            _done(self._waiting.popleft())
        elif answer:
            self._look()
            # Whoever has something to tell by now gets his turn first.
            self._loop.call_soon(self._send, SETTLED)
        else:
            self._end()

    def _end(self) -> None:
        self._loop.remove_reader(self._channel)
        if not self.over.done():
            self.over.set_result(None)
        while self._waiting:
            self._waiting.popleft().cancel("session")

    def _send(self, body: bytes) -> None:
        if not self._unsent:
            try:
                self._channel.send(body)
                return
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._channel, self._on_room)
            except OSError as error:
                self.fail(error)
                return
        self._unsent.append(body)

    def _on_room(self) -> None:
        waiting, self._unsent = self._unsent, deque()
        self._loop.remove_writer(self._channel)
        for body in waiting:
            self._send(body)

    # --- facts --------------------------------------------------------------------------------------

    def say(
        self, kind: str, detail: Mapping[str, Value], rule: str = "", **more: Value
    ) -> asyncio.Future[None]:
        """Done once the event is in the log; `more` goes beside the event, for the wrapper alone."""
        return self._ask({"kind": kind, "detail": dict(detail), "rule": rule, **more})

    def note(self, kind: str, detail: Mapping[str, Value], rule: str = "") -> None:
        """An event that nobody waits for."""
        self._send(_json({"kind": kind, "detail": dict(detail), "rule": rule, "quiet": True}).encode())

    def _ask(self, said: Mapping[str, Value]) -> asyncio.Future[None]:
        written: asyncio.Future[None] = self._loop.create_future()
        if self.over.done():
            written.cancel("session")  # nothing is answered any more
        else:
            self._waiting.append(written)
        self._send(_json(said).encode())
        return written

    def deny(self, kind: str, denied: Denied, **detail: Value) -> asyncio.Future[None]:
        """A denial, with the option that would have granted it."""
        found: dict[str, Value] = {
            "host": denied.host,
            "port": denied.port,
            "reason": denied.reason,
            **detail,
        }
        return self.say(kind, found, denied.rule, where=denied.where, grant=denied.grant)

    def again(self, denied: Denied, **detail: Value) -> None:
        """A denial that the log has already, for the calls that are open now; nobody waits for it."""
        found: dict[str, Value] = {"reason": denied.reason, **detail}
        said = {"where": denied.where, "grant": denied.grant, "rule": denied.rule, "detail": found}
        self._send(_json({**said, "quiet": True}).encode())

    def exceeded(self, excess: Excess) -> asyncio.Future[None]:
        """A budget that is spent: the wrapper ends the sandbox, and us with it."""
        detail: dict[str, Value] = {"host": excess.host, "used": excess.used, "limit": excess.limit}
        return self._ask({"breach": excess.quota, "why": excess.why, "detail": detail})

    def canary(self, name: str, encoding: str, host: str, where: str) -> asyncio.Future[None]:
        """A planted credential on its way out: the wrapper ends the sandbox."""
        why = f"the decoy `{name}` was on its way to `{host}` in {where}"
        detail: dict[str, Value] = {"canary": name, "encoding": encoding, "host": host, "where": where}
        return self.say("canary.seen", detail, "isolation.decoys", breach="isolation.decoys", why=why)

    def activity(self, host: str) -> asyncio.Future[None]:
        """An upload after a pause: no event by itself, but the watcher of behaviour counts it."""
        return self._ask({"activity": host})


def _done(written: asyncio.Future[None]) -> None:
    # Whoever waited may have been cancelled meanwhile.
    if not written.done():
        written.set_result(None)
