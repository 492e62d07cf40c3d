"""Who waits for which answer, both ways: decides whether a frame may pass (no I/O, one lock).

Ids are kept with their type: `"1"` never answers `1`. In the legacy era (`initialize`) servers may ask
too; in the modern one (MCP 2026-07-28) servers never send requests and clients never send responses.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

from sandbox.event import Value
from sandbox.records import dataclass
from sandbox.wire.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, Frame
from sandbox.wire.salvage import Id
from sandbox.wire.structs import msgspec

Era = Literal["unknown", "legacy", "modern"]
Side = Literal["client", "server"]
Key = int | str

MAX_OPEN = 4096  # requests in flight per direction
MAX_CANCELLED = 1024  # cancelled requests whose late answer is still let through
MAX_EXPIRED = 1024  # requests whose time was over and whose late answer is dropped under that name
MAX_DENIED = 8  # denials told of one call in full; the others are counted
MANY_OPEN = 256  # with more calls open than that, one denial each: all of them together stay small

_VERSION = "io.modelcontextprotocol/protocolVersion"
_INFO = "io.modelcontextprotocol/clientInfo"
_INFO_CHARS = 64
_LISTEN = "subscriptions/listen"
_NO_WORK = frozenset({_LISTEN, "ping"})
_OPENING = frozenset({"initialize", "server/discover"})
_NONE: dict[str, object] = {}


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A client's request that has no answer yet; `since` is monotonic seconds.

    `denied` is what the sandbox was denied since then, and `more` counts what found no room there.
    """

    id: Key
    method: str
    tool: str | None
    since: float
    denied: tuple[str, ...] = ()
    more: int = 0

    @property
    def told(self) -> tuple[str, ...]:
        """What the client is told of the denials."""
        return (*self.denied, f"… and {self.more} more") if self.more else self.denied

    def with_denial(self, text: str, most: int) -> Pending:
        """The same request after one more denial, of which `most` are kept."""
        if text in self.denied:
            return self
        if len(self.denied) < most:
            return Pending(self.id, self.method, self.tool, self.since, (*self.denied, text), self.more)
        return Pending(self.id, self.method, self.tool, self.since, self.denied, self.more + 1)


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that must not pass: the rule, and who is told with which id (`to` None: nobody)."""

    rule: str
    reason: str
    code: int = INVALID_REQUEST
    to: Side | None = None
    id: Id = None
    data: Mapping[str, Value] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """Why no request will be answered any more."""

    code: int
    message: str
    data: Mapping[str, Value]


class Open:
    """The open requests of one side, at most `MAX_OPEN`, and the cancelled ones that may yet be answered."""

    def __init__(self) -> None:
        self.waiting: dict[Key, Pending] = {}
        self.cancelled: OrderedDict[Key, Pending] = OrderedDict()
        self._expired: OrderedDict[Key, None] = OrderedDict()

    def __contains__(self, id: object) -> bool:
        return id in self.waiting or id in self.cancelled

    def answer(self, id: Id) -> Pending | None:
        """The request `id` if it was open or cancelled; it is neither afterwards."""
        if id is None:
            return None
        return self.waiting.pop(id, None) or self.cancelled.pop(id, None)

    def cancel(self, id: object) -> None:
        """Nobody waits for `id` any more, though its answer may be on the way."""
        call = self.waiting.pop(id, None) if isinstance(id, int | str) else None
        if call is not None:
            # Without its denials: who gave up is told nothing.
            self.cancelled[call.id] = Pending(call.id, call.method, call.tool, call.since)
            if len(self.cancelled) > MAX_CANCELLED:
                self.cancelled.popitem(last=False)

    def ask(self, call: Pending) -> None:
        """`call` is open."""
        self._expired.pop(call.id, None)
        self.waiting[call.id] = call

    def expire(self, before: float) -> list[Pending]:
        """Close what was asked before that moment, but for what stays open as long as a session."""
        late = []
        for call in self.waiting.values():  # oldest first
            if call.since >= before:
                break
            if call.method != _LISTEN:
                late.append(call)
        for call in late:
            del self.waiting[call.id]
            self._expired[call.id] = None
        while len(self._expired) > MAX_EXPIRED:
            self._expired.popitem(last=False)
        return late

    def too_late(self, id: Key) -> bool:
        """Whether `id` was closed by `expire`; asked once, for its late answer."""
        return self._expired.pop(id, self) is None

    def oldest(self) -> float | None:
        """Since when the oldest request that `expire` would close is open."""
        return next((call.since for call in self.waiting.values() if call.method != _LISTEN), None)

    def working(self) -> list[Pending]:
        """The open requests that make the other side do something for the asker."""
        return [call for call in self.waiting.values() if call.method not in _NO_WORK]

    def explain(self, text: str) -> int:
        """Keep a denial with each of `working`; how many they are."""
        calls = self.working()
        most = MAX_DENIED if len(self.waiting) <= MANY_OPEN else 1
        for call in calls:
            self.waiting[call.id] = call.with_denial(text, most)
        return len(calls)


class Ledger:
    """Decides, for every frame of either side, if it passes; remembers ids, methods, tools and denials."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client = Open()
        self._server = Open()
        self._ended: Ended | None = None
        self.era: Era = "unknown"
        self.client: tuple[str, str] = ("", "")
        """The name and version that the client gave itself."""

    def from_client(self, frame: Frame, now: float) -> Refused | None:
        """Why a frame of the client's must not reach the server, or None; a passed request is open."""
        with self._lock:
            if frame.kind == "request":
                return self._client_asks(frame, now)
            if frame.kind == "response":
                return self._client_answers(frame)
            if frame.method == "notifications/cancelled":
                self._client.cancel(_cancelled_id(frame))
            return None

    def from_server(self, frame: Frame, now: float) -> Refused | Pending | None:
        """Why a frame of the server's must not reach the client, or None; an answered request is closed.

        The request itself says that its answer may pass.
        """
        with self._lock:
            if frame.kind == "request":
                return self._server_asks(frame, now)
            if frame.kind == "response":
                return self._server_answers(frame)
            if frame.method == "notifications/cancelled":
                self._server_cancels(_cancelled_id(frame))
            return None

    def settle(self, side: Side, id: Id) -> Pending | None:
        """Close the open request `id` of `side` as answered by the relay; None when it is not open."""
        with self._lock:
            return None if id is None else self._of(side).waiting.pop(id, None)

    def knows(self, side: Side, id: Id) -> bool:
        """Whether an answer with `id` would be taken for the answer to a request of `side`."""
        with self._lock:
            return id in self._of(side)

    def is_open(self, id: Id) -> bool:
        """Whether the client waits for the answer to `id`."""
        with self._lock:
            return id in self._client.waiting

    def explain(self, text: str) -> int:
        """Keep a denial with every call of the client's that is open now; how many they are."""
        with self._lock:
            return self._client.explain(text)

    def open_calls(self) -> int:
        """How many requests of the client's the server is at work on."""
        with self._lock:
            return len(self._client.working())

    def at_once(self) -> int:
        """How many requests of the client's are open, subscriptions not counted."""
        with self._lock:
            return sum(call.method != _LISTEN for call in self._client.waiting.values())

    def expire(self, before: float) -> tuple[list[Pending], float | None]:
        """Close the client's requests from before that moment; since when the oldest of the rest is open."""
        with self._lock:
            return self._client.expire(before), self._client.oldest()

    def pending(self) -> tuple[Pending, ...]:
        """The client's open requests, oldest first."""
        with self._lock:
            return tuple(self._client.waiting.values())

    def end(self, ended: Ended) -> tuple[Pending, ...]:
        """Take every open request of the client's; each later one is refused in the same words."""
        with self._lock:
            self._ended = self._ended or ended
            taken = tuple(self._client.waiting.values())
            self._client.waiting.clear()
            return taken

    def _of(self, side: Side) -> Open:
        return self._client if side == "client" else self._server

    def _client_asks(self, frame: Frame, now: float) -> Refused | None:
        id, method, client = frame.id, frame.method, self._client
        if method in _OPENING or "_meta" in frame.message.get("params", _NONE):
            self._learn_era(frame)
        if id in client.waiting or id in client.cancelled:
            # Not with its own id: that would answer the request that is still open.
            return Refused("duplicate-id", "the id belongs to a request still open", to="client")
        if self._ended:
            ended = self._ended
            return Refused("ended", ended.message, ended.code, "client", frame.id, ended.data)
        if len(client.waiting) >= MAX_OPEN:
            reason = f"more than {MAX_OPEN} requests are open"
            return Refused("too-many-open", reason, INTERNAL_ERROR, "client", id)
        if id is not None and method is not None:
            client.ask(Pending(id, method, frame.tool, now))
        return None

    def _learn_era(self, frame: Frame) -> None:
        """The last word counts: clients that speak both eras probe one and fall back to the other."""
        if frame.method == "initialize":
            self.era = "legacy"
            self.client = _introduced(frame.message.get("params", {}).get("clientInfo"))
        elif frame.method == "server/discover" or _VERSION in _meta(frame):
            self.era = "modern"
            if not self.client[0]:
                self.client = _introduced(_meta(frame).get(_INFO))

    def _client_answers(self, frame: Frame) -> Refused | None:
        if self.era == "modern":
            return Refused("response-from-client", "clients send no responses in this revision")
        if frame.id is None or self._server.answer(frame.id):
            return None
        return Refused("unasked-response", "an answer to a request that the server never sent")

    def _server_asks(self, frame: Frame, now: float) -> Refused | None:
        if self.era != "legacy":
            return Refused("request-from-server", "servers send no requests in this revision")
        if frame.id in self._server:
            return Refused("duplicate-id", "the id belongs to a request still open", to="server")
        if len(self._server.waiting) >= MAX_OPEN:
            reason = f"more than {MAX_OPEN} requests are open"
            return Refused("too-many-open", reason, INTERNAL_ERROR, "server", frame.id)
        if frame.id is not None and frame.method is not None:
            self._server.ask(Pending(frame.id, frame.method, frame.tool, now))
        return None

    def _server_answers(self, frame: Frame) -> Refused | Pending | None:
        if frame.id is None:
            return None
        call = self._client.answer(frame.id)
        if call is None:
            if self._client.too_late(frame.id):
                return Refused("traffic.timeout", "an answer that came after the time of its request")
            return Refused("unasked-response", "an answer to a request that the client never sent")
        return call

    def _server_cancels(self, id: object) -> None:
        """A server withdraws its own request, or ends the stream of a client's subscription."""
        self._server.cancel(id)
        open_request = self._client.waiting.get(id) if isinstance(id, int | str) else None
        if open_request is not None and open_request.method == _LISTEN:
            self._client.cancel(id)


def _cancelled_id(frame: Frame) -> object:
    id = frame.message.get("params", {}).get("requestId")
    # True == 1 in Python; it is not an id in JSON-RPC.
    return None if isinstance(id, bool) else id


def _introduced(info: object) -> tuple[str, str]:
    named = info if type(info) is dict else {}
    name, version = (named.get(key) for key in ("name", "version"))
    return (
        name[:_INFO_CHARS] if isinstance(name, str) else "",
        version[:_INFO_CHARS] if isinstance(version, str) else "",
    )


def _meta(frame: Frame) -> Mapping[str, object]:
    meta = frame.message.get("params", {}).get("_meta")
    return meta if type(meta) is dict else {}
