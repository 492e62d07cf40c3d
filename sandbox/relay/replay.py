"""What a client and a server have settled, told again to the next server after a crash (P).

In the legacy era that is the handshake (`initialize`, `notifications/initialized`), the log level and the
resource subscriptions; in the modern one, which is stateless, what `server/discover` said and the live
`subscriptions/listen`. The client sees none of it. Nothing that the client asked for is asked twice: a
call that was open is answered with an error, since nobody knows how far it came.
"""

from __future__ import annotations

import json
from typing import Any, cast

from sandbox.wire.jsonrpc import INTERNAL_ERROR, Frame, error_frame

HELD_S = 2.0
"""The end of a live subscription is kept from the client this long: a crash may follow, and a new start."""
MOST = 1024
"""Subscriptions that are remembered."""
DEAD = 1 << 14
"""Ids of what dead servers had asked and nobody answered."""
LARGEST = 1 << 16
"""Bytes of one subscription that is remembered."""

Key = int | str
Message = dict[str, Any]
_OPENINGS = frozenset({"initialize", "server/discover"})
_LISTEN = "subscriptions/listen"
_REMEMBERED = _OPENINGS | {_LISTEN, "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}
_CANCELLED = "notifications/cancelled"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_META = "io.modelcontextprotocol/"
_SAME = ("protocolVersion", "supportedVersions", "capabilities", "serverInfo")


class Replay:
    """Sees every message of one client and of one server after the other; `prefix` begins ids of our own."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._ids = 0
        # What was settled.
        self._opening: Message | None = None
        self._facts: Message = {}
        self._initialized = b""
        self._level: Message | None = None
        self._subscribed: dict[str, Message] = {}
        self._live: dict[Key, bytes] = {}
        # What is open with the server there is now.
        self._open: dict[Key, Message | None] = {}
        self._asked: dict[Key, Key] = {}
        self._held: dict[Key, tuple[bytes, float]] = {}
        self._renamed: dict[Key, Key] = {}
        self._dead: dict[Key, None] = {}
        # What is under way of the replay itself.
        self._awaited: dict[Key, str] = {}
        self._again: set[Key] = set()
        self.for_server: list[bytes] = []
        """Lines for the server before anything else of the client's; the caller empties it."""
        self.different = ""
        """Why the new server cannot go on where the other ended."""
        self.perhaps_crashed = False
        """Whether that was an error, which its own crash may have been the cause of: then it ends soon."""
        self.refused: list[str] = []
        """Methods whose replay the new server answered with an error, without which it can go on."""

    @property
    def settled(self) -> bool:
        """Whether the server may be told what the client says now."""
        return not self._awaited and not self.different

    def begin(self) -> None:
        """A new server is there: what it must know first is in `for_server`."""
        if self._opening is None:
            self._follow()
        else:
            self._ask(cast(str, self._opening["method"]), self._opening.get("params"))

    # --- the client's messages ----------------------------------------------------------------------

    def from_client(self, frame: Frame) -> bytes | None:
        """The line as the server gets it; None where the server that it was meant for is gone."""
        if frame.kind == "response":
            return self._client_answers(frame)
        if frame.kind == "request":
            kept = frame.message if frame.method in _REMEMBERED else None
            self._open.setdefault(cast(Key, frame.id), kept)
        elif frame.method == "notifications/initialized":
            self._initialized = bytes(frame.data)
        elif frame.method == _CANCELLED:
            id = _named(frame)
            self._open.pop(id, None)
            self._live.pop(id, None)
        return bytes(frame.data)

    def answers(self, frame: Frame) -> bool:
        """Whether a message of the client's answers what this server asked: it may pass at any time."""
        return frame.kind == "response" and frame.id in self._asked

    def _client_answers(self, frame: Frame) -> bytes | None:
        id = cast(Key, frame.id)
        if id in self._dead:
            del self._dead[id]
            return None
        theirs = self._asked.pop(id, id)
        self._renamed.pop(theirs, None)
        return bytes(frame.data) if theirs == id else _encoded({**frame.message, "id": theirs})

    # --- the server's messages ----------------------------------------------------------------------

    def from_server(self, frame: Frame, now: float) -> bytes | None:
        """The line as the client gets it; None for what is between us and the server."""
        if frame.kind == "request":
            return self._server_asks(frame)
        if frame.kind == "response":
            return self._server_answers(frame, now)
        if frame.method == _ACKNOWLEDGED:
            return self._acknowledged(frame)
        if frame.method == _CANCELLED:
            return self._server_cancels(frame)
        return bytes(frame.data)

    def due(self, now: float) -> list[bytes]:
        """The ends of subscriptions that no crash followed."""
        ripe = [id for id, (_, until) in self._held.items() if until <= now]
        for id in ripe:
            self._live.pop(id, None)
        return [self._held.pop(id)[0] for id in ripe]

    def next_due(self) -> float | None:
        """When `due` has something."""
        return min((until for _, until in self._held.values()), default=None)

    def _server_asks(self, frame: Frame) -> bytes:
        """A client may still answer what a dead server asked under this id: then it gets another one."""
        id = ours = cast(Key, frame.id)
        if id in self._dead:
            ours = self._renamed[id] = self._fresh()
        self._asked[ours] = id
        return bytes(frame.data) if ours == id else _encoded({**frame.message, "id": ours})

    def _server_answers(self, frame: Frame, now: float) -> bytes | None:
        id = cast(Key, frame.id)
        if id in self._awaited:
            self._replayed(self._awaited.pop(id), frame.message)
            return None
        asked = self._open.pop(id, None)
        if id in self._live:
            if "error" in frame.message:
                self._held[id] = (bytes(frame.data), now + HELD_S)
                return None
            del self._live[id]
        elif asked is not None and "result" in frame.message:
            self._learn(asked, frame.message["result"])
        return bytes(frame.data)

    def _learn(self, asked: Message, result: Message) -> None:
        method, params = asked["method"], asked.get("params") or {}
        if method in _OPENINGS:
            self._opening, self._facts = asked, _facts(result)
        elif method == "logging/setLevel":
            self._level = params
        elif method.startswith("resources/") and type(uri := params.get("uri")) is str:
            if method == "resources/unsubscribe":
                self._subscribed.pop(uri, None)
            elif len(self._subscribed) < MOST and len(uri) < LARGEST:
                self._subscribed[uri] = params

    def _acknowledged(self, frame: Frame) -> bytes | None:
        id = _subscription(frame)
        if id in self._again:
            self._again.discard(id)
            return None
        asked = self._open.get(id)
        if asked is not None and asked["method"] == _LISTEN and len(self._live) < MOST:
            line = _encoded(asked)
            if len(line) < LARGEST:
                self._live[id] = line
        return bytes(frame.data)

    def _server_cancels(self, frame: Frame) -> bytes:
        id = _named(frame)
        self._live.pop(id, None)
        ours = self._renamed.pop(id, id)
        self._asked.pop(ours, None)
        if ours == id:
            return bytes(frame.data)
        return _encoded({**frame.message, "params": {**frame.message["params"], "requestId": ours}})

    # --- the replay ---------------------------------------------------------------------------------

    def _replayed(self, method: str, answer: Message) -> None:
        if method not in _OPENINGS:
            if "error" in answer:
                self.refused.append(method)
            return
        if "error" in answer:
            self.different = f"it answered `{method}` with an error"
            self.perhaps_crashed = True
            return
        found = _facts(answer["result"])
        changed = [name for name in _SAME if found.get(name) != self._facts.get(name)]
        if changed:
            self.different = f"it answered `{method}` with another `{changed[0]}`"
        else:
            self._follow()

    def _follow(self) -> None:
        """What comes after the handshake."""
        if self._opening is not None and self._opening["method"] == "initialize" and self._initialized:
            self.for_server.append(self._initialized)
        if self._level is not None:
            self._ask("logging/setLevel", self._level)
        for params in self._subscribed.values():
            self._ask("resources/subscribe", params)
        for id, line in self._live.items():
            # Under its own id: the client knows what arrives by it.
            self._again.add(id)
            self._open[id] = None
            self.for_server.append(line)

    def _ask(self, method: str, params: Any) -> None:
        id = self._fresh()
        self._awaited[id] = method
        asked = {"jsonrpc": "2.0", "id": id, "method": method}
        self.for_server.append(_encoded(asked if params is None else {**asked, "params": params}))

    def _fresh(self) -> str:
        self._ids += 1
        return f"{self._prefix}-{self._ids}"

    # --- the end of a server ------------------------------------------------------------------------

    def crashed(self, reason: str) -> list[bytes]:
        """Another server follows: what the client is told, of its calls and of what the dead one asked."""
        self._held.clear()
        told = [_withdrawn(ours, reason) for ours in self._asked]
        for ours in self._asked:
            self._dead[ours] = None
        while len(self._dead) > DEAD:
            del self._dead[next(iter(self._dead))]
        return [*self._unanswered(reason), *told]

    def ended(self, reason: str) -> list[bytes]:
        """No other server follows: what the client has not heard yet."""
        told = [line for line, _ in self._held.values()]
        self._held.clear()
        self._live.clear()
        return [*told, *self._unanswered(reason)]

    def _unanswered(self, reason: str) -> list[bytes]:
        """The session itself answers what it has read; this is of what it had not, and of no subscription."""
        ids = [id for id in self._open if id not in self._live]
        for once in (self._open, self._asked, self._renamed, self._awaited, self._again):
            once.clear()
        self.for_server.clear()
        self.refused.clear()
        self.different, self.perhaps_crashed = "", False
        return [error_frame(id, INTERNAL_ERROR, reason) for id in ids]


def _facts(result: Message) -> Message:
    """What a client relies on; the modern era says who the server is in `_meta`."""
    meta = result.get("_meta")
    info = meta.get(f"{_META}serverInfo") if type(meta) is dict else None
    return {"serverInfo": info, **{name: result[name] for name in _SAME if name in result}}


def _named(frame: Frame) -> Key:
    """The request that a cancellation names; `""`, which no SDK uses, where it names none."""
    return _key(frame.message.get("params", {}).get("requestId"))


def _subscription(frame: Frame) -> Key:
    meta = frame.message.get("params", {}).get("_meta")
    return _key(meta.get(f"{_META}subscriptionId") if type(meta) is dict else None)


def _key(id: object) -> Key:
    return id if type(id) is int or type(id) is str else ""


def _withdrawn(id: Key, reason: str) -> bytes:
    params = {"requestId": id, "reason": reason}
    return _encoded({"jsonrpc": "2.0", "method": _CANCELLED, "params": params})


def _encoded(message: Message) -> bytes:
    # The standard library's: msgspec encodes no integer beyond 64 bits, which a message may hold.
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
