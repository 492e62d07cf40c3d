"""What is said of a message that breaks a limit of the profile: to the client, to the server, to the log (P).

A refused tool call is answered with a result that is marked as an error, where any other refused request
gets a JSON-RPC error: clients show such a result to the model, which can do something else than call
again, while many of them treat an error as a failure of the connection, retry it, or end the run.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.relay.facts import failed_call, frame_detail
from sandbox.relay.ledger import Pending
from sandbox.wire.jsonrpc import INTERNAL_ERROR, Frame, error_frame
from sandbox.wire.salvage import Id
from sandbox.wire.structs import msgspec

_TOLD = "mcp-sandbox/refused"
_encode = msgspec.json.encode

Told = Mapping[str, Value]


def said(excess: Excess, told: Told) -> str:
    """The refusal in words: rule, numbers, and where the limit was written."""
    return f"refused by mcp-sandbox: rule `{excess.key}`, {excess.why} [{told['profile']}]"


def refusal(frame: Frame, excess: Excess, told: Told, *, modern: bool) -> bytes:
    """The answer to a request that was not passed on."""
    if not excess.key.startswith("tools."):
        return error_frame(frame.id, INTERNAL_ERROR, said(excess, told), dict(told))
    return failed_result(frame.id, said(excess, told), told, modern=modern)


def failed_result(id: Id, text: str, told: Told, *, modern: bool) -> bytes:
    """A tool's result of our own that is marked as an error."""
    result: dict[str, object] = {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {_TOLD: told},
    }
    if modern:
        result["resultType"] = "complete"
    return _encode({"jsonrpc": "2.0", "id": id, "result": result}) + b"\n"


def over_limit(frame: Frame, excess: Excess, told: Told) -> Event:
    """The event of a message of the client's that was not passed on."""
    kind = "tool.deny" if excess.key.startswith("tools.") else "relay.dropped"
    return Event(kind, {**frame_detail("client", frame), "reason": excess.why, **_numbers(told)}, excess.key)


def held(excess: Excess) -> Event:
    """The event of a server that is read no faster than it may speak."""
    detail: dict[str, Value] = {"reason": excess.why, "measured": excess.measured, "limit": excess.limit}
    return Event("relay.held", {"direction": "to-client", **detail}, excess.key)


def overdue(waited: float, seconds: float) -> Excess:
    """A call that has been open for too long."""
    why = f"no answer within {waited:.1f} s, the limit is {seconds:g} s"
    return Excess("traffic.timeout", why, round(waited, 3), seconds)


def expired(call: Pending, excess: Excess, told: Told) -> Event:
    """The event of a call that the relay answered because its time was over."""
    event = failed_call(call, INTERNAL_ERROR, told)
    return Event(event.kind, {**event.detail, "reason": excess.why, **_numbers(told)}, excess.key)


def cancel_frame(id: Id, reason: str) -> bytes:
    """What tells a server that nobody waits for the answer to `id` (MCP, Cancellation; in both eras)."""
    params = {"requestId": id, "reason": reason}
    return _encode({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}) + b"\n"


def _numbers(told: Told) -> dict[str, Value]:
    return {key: value for key, value in told.items() if key != "rule"}
