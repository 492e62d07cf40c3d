"""Ids of several clients on one connection: what each calls `1` goes under a number of ours, and back (P).

Of the stateless era (MCP 2026-07-28): a request's id, its progress token, and the id of a subscription.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.records import dataclass
from sandbox.serve.heard import Heard, Key
from sandbox.serve.routing import progress_token
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import Edit, splice
from sandbox.wire.structs import msgspec

LISTEN = "subscriptions/listen"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_LARGE = 1 << 16
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
    return _changed(bytes(frame.data), edits)


def answered(heard: Heard, call: Call) -> bytes:
    """The response as the client expects it."""
    edits = [Edit(("id",), call.id)]
    if call.method == LISTEN and heard.subscription is not None:
        edits.append(Edit(("result", "_meta", _SUBSCRIPTION), call.id))
    return _changed(heard.data, edits)


def told(heard: Heard, call: Call) -> bytes:
    """A notification of the call as the client expects it."""
    edits = []
    if heard.token is not None and call.token is not None:
        edits.append(Edit(("params", "progressToken"), call.token))
    if heard.subscription is not None:
        edits.append(Edit(("params", "_meta", _SUBSCRIPTION), call.id))
    return _changed(heard.data, edits) if edits else heard.data


def _changed(data: bytes, edits: Sequence[Edit]) -> bytes:
    """As it was spelt but for the edits; a large message that is changed deep inside is spelt anew."""
    if len(data) <= _LARGE or all(len(edit.place) == 1 for edit in edits):
        return splice(data, edits)
    message = msgspec.json.decode(data)
    for edit in edits:
        at = message
        for step in edit.place[:-1]:
            at = at[step]
        at[edit.place[-1]] = edit.value
    return msgspec.json.encode(message) + b"\n"


def number_of(heard: Heard) -> int | None:
    """Our number in a message of the server's: whose answer, progress or subscription it is."""
    if heard.kind == "response":
        return _number(heard.id)
    if heard.method == "notifications/progress":
        return _number(heard.token)
    if heard.method == "notifications/cancelled":
        return _number(heard.request)
    return _number(heard.subscription)


def likeliest(heard: Heard, calls: Mapping[int, Call]) -> int | None:
    """Whose a notification is that names nobody: only where there is no doubt, else nobody's."""
    if heard.method in ("notifications/progress", "notifications/cancelled"):
        return None
    is_log = heard.method == "notifications/message"
    fit = [number for number, call in calls.items() if call.method != LISTEN and (call.logs or not is_log)]
    return fit[0] if len(fit) == 1 else None


def _number(value: Key | None) -> int | None:
    return value if isinstance(value, int) else None


def _meta(part: Any) -> dict[str, Any]:
    meta = part.get("_meta") if isinstance(part, dict) else None
    return meta if isinstance(meta, dict) else {}
