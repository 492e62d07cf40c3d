"""A session of the eras with `initialize`: one client, one sandbox, one `Mcp-Session-Id` (MCP 2025-11-25)."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic

from sandbox.serve import replies
from sandbox.serve.child import Child
from sandbox.serve.heard import Heard
from sandbox.serve.routing import GENERAL, Routing
from sandbox.serve.stream import Events, Shelf, Stream, body_of, streamed
from sandbox.serve.words import Headers, Principal, Refused, Reply
from sandbox.wire import sse
from sandbox.wire.jsonrpc import INTERNAL_ERROR, Frame, error_frame

CANCELLED = -32800
PRIMED_SINCE = "2025-11-25"
"""Older clients do not expect an event without data."""
SILENT_S, BEGIN_S = 0.1, 10.0
"""A request without any message for so long is answered by a stream, which can be resumed and kept alive; a
sandbox that starts has longer, since the answer to `initialize` says whether there is a session at all."""
RETRY_MS = 1000
OLDEST = "2025-03-26"
"""What a client speaks that sends no `MCP-Protocol-Version` (MCP 2025-11-25, Transports)."""
_EVENT_ID = re.compile(r"([0-9]{1,12})\.([0-9]{1,12})")


class Session:
    """What one client says and hears; `over` is called once, with the reason."""

    def __init__(
        self, id: str, route: str, principal: Principal, most: int, over: Callable[[Session, str], None]
    ) -> None:
        self.id = id
        self.route = route
        self.principal = principal
        self.child: Child | None = None
        self.ended = False
        self.touched = monotonic()
        self._most = most
        self._over = over
        self._routing = Routing()
        self._shelf = Shelf(self._hold, self._go_on)
        self._general = self._shelf.open()
        self._initialize: object = None
        self._version = ""
        self._headers: Headers = (("Mcp-Session-Id", id),)

    @property
    def agreed(self) -> bool:
        """Whether `initialize` had a result."""
        return bool(self._version)

    @property
    def in_use(self) -> bool:
        """Whether somebody listens; an open request whose client is gone keeps nothing up."""
        return self._listens(GENERAL) or any(map(self._listens, self._routing.open.values()))

    async def post(self, frame: Frame, version: str = OLDEST) -> Reply | Refused:
        """Answers one message of the client's; `version` is what its header says, or the lack of one."""
        self.touched = monotonic()
        if self.child is not None and self.child.is_full:
            return replies.busy("the server does not read what it was sent", frame.id)
        if frame.kind == "request":
            return await self._request(frame, version)
        self._send(frame)
        if frame.method == "notifications/cancelled":
            self._withdraw(frame)
        await self._drain()
        return Reply(202, self._headers)

    def listen(self, after: str | None, version: str = OLDEST) -> Reply | Refused:
        """The stream of a GET: what belongs to no request, or the rest of a stream that broke off."""
        self.touched = monotonic()
        if after is not None:
            return self._resume(after, version)
        if self._general.reader is not None:
            return replies.refused(409, "second-stream", "this session has a GET stream already")
        return self._streamed(self._general, version)

    def delivered(self, heard: Heard) -> None:
        """A message of the server's finds its stream."""
        stream = self._shelf.get(self._routing.route(heard, self._listens))
        is_answer = heard.kind == "response" and heard.id is not None
        if is_answer and heard.id == self._initialize and not self.agreed:
            self._agree(heard)
        if stream is not None:
            stream.put(heard.data, last=is_answer)
        if is_answer and heard.id is not None:
            self._routing.settle(heard.id)
            self.touched = monotonic()
            if heard.id == self._initialize and not self.agreed:
                self.ended_with("the session did not begin")

    def ended_with(self, why: str) -> None:
        """Whoever still waits is told; the streams end."""
        if self.ended:
            return
        self.ended = True
        for id, number in list(self._routing.open.items()):
            if (stream := self._shelf.get(number)) is not None:
                data = {"rule": "session-ended"}
                stream.put(error_frame(id, INTERNAL_ERROR, f"mcp-sandbox: {why}", data), last=True)
            self._routing.settle(id)
        self._general.end()
        self._over(self, why)

    # --- a request ---------------------------------------------------------------------------------------

    async def _request(self, frame: Frame, version: str) -> Reply | Refused:
        if frame.id in self._routing.open:
            return replies.refused(400, "open-id", "a request with this id is still open", id=frame.id)
        if len(self._routing.open) >= self._most:
            return replies.busy("too many open requests in this session", frame.id)
        stream = self._shelf.open(frame.id)
        stream.attach(frame)
        self._routing.ask(frame, stream.number)
        if frame.method == "initialize":
            self._initialize = frame.id
        self._send(frame)
        try:
            await self._drain()
            await stream.news(BEGIN_S if frame.id == self._initialize else SILENT_S)
        except BaseException:
            # Hanging up is no cancellation in this era, and without an event's id nobody can come back.
            self._shelf.drop(stream)
            self.touched = monotonic()
            raise
        return self._begun(stream, version)

    def _begun(self, stream: Stream, version: str) -> Reply:
        """JSON where the answer came first and alone, else a stream."""
        whole = stream.whole()
        if whole is not None:
            self._shelf.drop(stream)
            return Reply(200, (*replies.JSON, *self._headers), body_of(self._shelf, whole))
        return self._streamed(stream, version)

    def _streamed(self, stream: Stream, version: str) -> Reply:
        return streamed(Events(stream, _primer(stream, version), self._left), self._headers)

    def _left(self, _stream: Stream) -> None:
        self.touched = monotonic()

    def _resume(self, after: str, version: str) -> Reply | Refused:
        found = _EVENT_ID.fullmatch(after)
        stream = self._shelf.get(int(found[1])) if found else None
        if found is None or stream is None:
            return replies.refused(400, "no-replay", "nothing is kept of the stream in `Last-Event-ID`")
        stream.rewind(int(found[2]))
        return self._streamed(stream, version)

    def _agree(self, heard: Heard) -> None:
        version = (heard.result or {}).get("protocolVersion")
        self._version = version if isinstance(version, str) else ""

    def _withdraw(self, frame: Frame) -> None:
        """A cancelled request gets no answer from its server: its stream ends with one of ours."""
        params = frame.message.get("params")
        id = params.get("requestId") if isinstance(params, dict) else None
        if not isinstance(id, int | str) or isinstance(id, bool) or id not in self._routing.open:
            return
        if (stream := self._shelf.get(self._routing.open[id])) is not None:
            stream.put(error_frame(id, CANCELLED, "mcp-sandbox: the request was cancelled"), last=True)
        self._routing.settle(id)

    # --- the child ---------------------------------------------------------------------------------------

    def _send(self, frame: Frame) -> None:
        if self.child is not None:
            self.child.send(frame.data)

    async def _drain(self) -> None:
        if self.child is not None:
            await self.child.drain()

    def _hold(self) -> None:
        if self.child is not None:
            self.child.hold()

    def _go_on(self) -> None:
        if self.child is not None:
            self.child.go_on()

    def _listens(self, number: int) -> bool:
        stream = self._shelf.get(number)
        return stream is not None and stream.reader is not None


def _primer(stream: Stream, version: str) -> bytes:
    """An event without data, whose id is where a client resumes that saw nothing else."""
    if version < PRIMED_SINCE:
        return b""
    return sse.encode(b"", id=f"{stream.number}.{stream.sent}", retry=RETRY_MS)
