"""One sandbox for all stateless requests of a principal at a route (MCP 2026-07-28, Streamable HTTP)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic, time

from sandbox.serve import renumber, replies
from sandbox.serve.child import Child
from sandbox.serve.heard import Heard
from sandbox.serve.mirrored import Mirrored
from sandbox.serve.renumber import LISTEN, Call
from sandbox.serve.stream import Events, Shelf, Stream, body_of, streamed
from sandbox.serve.words import Principal, Refused, Reply
from sandbox.wire import mcp_headers
from sandbox.wire.jsonrpc import INTERNAL_ERROR, Frame, error_frame
from sandbox.wire.structs import msgspec

SILENT_S = 15.0
DISCOVER = "server/discover"


class Shared:
    """The open requests of a principal's clients; closing the stream of one cancels it."""

    def __init__(
        self, route: str, principal: Principal, most: int, over: Callable[[Shared, str], None]
    ) -> None:
        self.route = route
        self.principal = principal
        self.child: Child | None = None
        self.ended = False
        self.touched = monotonic()
        self._most = most
        self._over = over
        self._calls: dict[int, Call] = {}
        self._ends: dict[int, asyncio.TimerHandle] = {}
        self._answers = self._unknown = self._code = 0
        self._count = 0
        self._shelf = Shelf(self._hold, self._go_on, resumable=False)
        self._mirrored = Mirrored(self._ask)

    @property
    def is_legacy(self) -> bool:
        """Whether the server has said nothing but that it knows no `server/discover`."""
        return self._answers == 0 and self._unknown > 0

    @property
    def knows_no_method(self) -> bool:
        """Whether it said so as servers of the other era do, rather than that no sandbox could be built."""
        return self._code in (replies.METHOD_NOT_FOUND, replies.INVALID_PARAMS)

    @property
    def in_use(self) -> bool:
        """Whether somebody waits for an answer or listens."""
        return bool(self._calls)

    async def post(
        self, frame: Frame, headers: Mapping[str, str], until: float | None = None
    ) -> Reply | Refused:
        """Answers one request; a subscription ends at `until`, when the token does that asked for it."""
        self.touched = monotonic()
        if len(self._calls) >= self._most:
            return replies.busy("too many open requests of this principal", frame.id)
        if self.child is not None and self.child.is_full:
            return replies.busy("the server does not read what it was sent", frame.id)
        if (why := await self._mirrored.differs(headers, frame)) is not None:
            return replies.refused(400, "header-mismatch", why, code=mcp_headers.MISMATCH, id=frame.id)
        number, stream = self._open(frame)
        if until is not None and frame.method == LISTEN:
            wait = max(0.0, until - time())
            self._ends[stream.number] = asyncio.get_running_loop().call_later(wait, self._expire, stream)
        try:
            if self.child is not None:
                await self.child.drain()
            await stream.news(SILENT_S)
        except BaseException:
            self._gone(stream)
            raise
        return self._begun(number, frame, stream)

    def delivered(self, heard: Heard) -> None:
        """A message of the server's finds the request it belongs to; what belongs to none is nobody's."""
        number = renumber.number_of(heard)
        if number is None and heard.kind == "notification":
            number = renumber.likeliest(heard, self._calls)
        if number is None or heard.kind == "request":
            return
        if self._mirrored.answered(number, heard):
            return
        call = self._calls.get(number)
        stream = self._shelf.get(call.stream) if call else None
        if call is not None and stream is not None:
            self._deliver(number, call, stream, heard)

    def _deliver(self, number: int, call: Call, stream: Stream, heard: Heard) -> None:
        if heard.method == "notifications/cancelled":
            # How a server over stdio ends a subscription; over HTTP the stream's end says it.
            if call.method == LISTEN:
                del self._calls[number]
                stream.end()
            # A call does not end like this: whoever waits for it gets an answer.
        elif heard.kind == "response":
            del self._calls[number]
            self.touched = monotonic()
            self._count_answer(call, heard)
            stream.put(renumber.answered(heard, call), last=True)
        else:
            stream.put(renumber.told(heard, call))

    def _count_answer(self, call: Call, heard: Heard) -> None:
        if call.method == DISCOVER and heard.code is not None:
            self._unknown, self._code = self._unknown + 1, heard.code
        else:
            self._answers += 1
        self._mirrored.saw(call.method, heard)

    def ended_with(self, why: str) -> None:
        """Whoever still waits is told."""
        if self.ended:
            return
        self.ended = True
        self._mirrored.lost()
        for call in list(self._calls.values()):
            if (stream := self._shelf.get(call.stream)) is not None:
                data = {"rule": "session-ended"}
                stream.put(error_frame(call.id, INTERNAL_ERROR, f"mcp-sandbox: {why}", data), last=True)
        self._calls.clear()
        self._over(self, why)

    # --- a request ---------------------------------------------------------------------------------------

    def _open(self, frame: Frame) -> tuple[int, Stream]:
        assert frame.id is not None  # noqa: S101 - a request
        stream = self._shelf.open(frame.id)
        stream.attach(frame)
        self._count += 1
        call = self._calls[self._count] = renumber.call_of(frame, frame.id, stream.number)
        self._send(renumber.asked(frame, call, self._count))
        return self._count, stream

    def _begun(self, number: int, frame: Frame, stream: Stream) -> Reply:
        whole = stream.whole()
        if whole is None or frame.method == LISTEN:
            return streamed(Events(stream, gone=self._gone))
        self._shelf.drop(stream)
        return Reply(self._status(frame, whole), replies.JSON, body_of(self._shelf, whole))

    def _status(self, frame: Frame, answer: bytes) -> int:
        status = replies.status_of(Heard(answer).code)
        # A client of both eras asks this first; 400 with no error of this era's means the other era to it.
        return 400 if status == 404 and frame.method == DISCOVER else status

    def _gone(self, stream: Stream) -> None:
        """The client has all, or hung up, which cancels the request."""
        self._shelf.drop(stream)
        if (end := self._ends.pop(stream.number, None)) is not None:
            end.cancel()
        for number, call in list(self._calls.items()):
            if call.stream == stream.number:
                del self._calls[number]
                self._send(_cancelled(number))

    def _expire(self, stream: Stream) -> None:
        """Its token is over: whoever still listens has to come again, with another."""
        stream.end()
        self._gone(stream)

    def _ask(self, fields: Mapping[str, object]) -> int:
        """Send a request of our own."""
        self._count += 1
        self._send(msgspec.json.encode({"jsonrpc": "2.0", "id": self._count, **fields}) + b"\n")
        return self._count

    # --- the child ---------------------------------------------------------------------------------------

    def _send(self, line: bytes) -> None:
        if self.child is not None:
            self.child.send(line)

    def _hold(self) -> None:
        if self.child is not None:
            self.child.hold()

    def _go_on(self) -> None:
        if self.child is not None:
            self.child.go_on()


def _cancelled(number: int) -> bytes:
    params = {"requestId": number, "reason": "the client closed the stream"}
    return (
        msgspec.json.encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}) + b"\n"
    )
