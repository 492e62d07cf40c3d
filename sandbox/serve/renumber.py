"""Ids of several clients on one connection: what each calls `1` goes under a number of ours, and back (P).

Of the stateless era (MCP 2026-07-28): a request's id, its progress token, and the id of a subscription.
"""

from __future__ import annotations

from typing import Any

from sandbox.records import dataclass
from sandbox.serve.routing import Key, progress_token
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Edit, Place, splice

LISTEN = "subscriptions/listen"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_LOG_LEVEL = "io.modelcontextprotocol/logLevel"


@dataclass(frozen=True, slots=True)
class Call:
    """An open request as its client knows it, and the stream that answers it."""

    id: Key
    token: Key | None
    method: str
    logs: bool
    """Whether it asked for log messages."""
    stream: int


def call_of(frame: Frame, id: Key, stream: int) -> Call:
    """What has to be known of a request until its answer has gone."""
    logs = _LOG_LEVEL in _meta(frame.message.get("params"))
    return Call(id, progress_token(frame.message), frame.method or "", logs, stream)


def asked(frame: Frame, call: Call, number: int) -> bytes:
    """The request under our number, which is its progress token too."""
    edits = [Edit(("id",), number)]
    if call.token is not None:
        edits.append(Edit(("params", "_meta", "progressToken"), number))
    return splice(frame.data, edits)


def answered(frame: Frame, call: Call) -> bytes:
    """The response as the client expects it."""
    edits = [Edit(("id",), call.id)]
    if _SUBSCRIPTION in _meta(frame.message.get("result")):
        edits.append(Edit(("result", "_meta", _SUBSCRIPTION), call.id))
    return splice(frame.data, edits)


def told(frame: Frame, call: Call) -> bytes:
    """A notification of the call as the client expects it."""
    edits = [Edit(place, value) for place, value in _names(frame, call) if value is not None]
    return splice(frame.data, edits) if edits else bytes(frame.data)


def _names(frame: Frame, call: Call) -> list[tuple[Place, Key | None]]:
    params = frame.message.get("params")
    found: list[tuple[Place, Key | None]] = []
    if isinstance(params, dict) and "progressToken" in params:
        found.append((("params", "progressToken"), call.token))
    if _SUBSCRIPTION in _meta(params):
        found.append((("params", "_meta", _SUBSCRIPTION), call.id))
    return found


def number_of(frame: Frame) -> int | None:
    """Our number in a message of the server's: whose answer, progress or subscription it is."""
    if frame.kind == "response":
        return _number(frame.id)
    params = frame.message.get("params")
    if not isinstance(params, dict):
        return None
    if frame.method == "notifications/progress":
        return _number(params.get("progressToken"))
    if frame.method == "notifications/cancelled":
        return _number(params.get("requestId"))
    return _number(_meta(params).get(_SUBSCRIPTION))


def likeliest(frame: Frame, calls: dict[int, Call]) -> int | None:
    """Whose a notification is that names nobody: only where there is no doubt, else nobody's."""
    if frame.method in ("notifications/progress", "notifications/cancelled"):
        return None
    is_log = frame.method == "notifications/message"
    fit = [number for number, call in calls.items() if call.method != LISTEN and (call.logs or not is_log)]
    return fit[0] if len(fit) == 1 else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _meta(part: Any) -> dict[str, Any]:
    meta = part.get("_meta") if isinstance(part, dict) else None
    return meta if isinstance(meta, dict) else {}
