"""What the events say of messages: who, how large and which, and never what is in them."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.event import Event, Value
from sandbox.relay.ledger import Pending, Side
from sandbox.wire.jsonrpc import Fault, Frame
from sandbox.wire.salvage import Id


class Counts:
    """How much a session carried. Each number is written by one thread of the relay: no lock, no loss."""

    __slots__ = ("answered", "bytes_down", "bytes_up", "calls", "expired", "refused", "withheld")

    def __init__(self) -> None:
        self.calls = 0
        """Requests of the client's that were passed on."""
        self.refused = 0
        """Messages of the client's that were not."""
        self.answered = 0
        """Answers of the server's that were passed on."""
        self.withheld = 0
        """Messages of the server's that were not."""
        self.expired = 0
        """Calls that `traffic.timeout` ended."""
        self.bytes_up = 0
        self.bytes_down = 0

    @property
    def denied(self) -> int:
        """Everything that was not passed on, or was ended, either way."""
        return self.refused + self.withheld + self.expired


_NAME_CHARS = 128  # ids, methods and tools are the peer's words: events keep them short
_TO: dict[Side, str] = {"client": "to-server", "server": "to-client"}


def _short(word: Id) -> Value:
    return word[:_NAME_CHARS] if isinstance(word, str) else word


def passed(side: Side, frame: Frame) -> Event:
    return Event(f"relay.{frame.kind}", frame_detail(side, frame))


def frame_detail(side: Side, frame: Frame) -> dict[str, Value]:
    detail: dict[str, Value] = {"direction": _TO[side], "bytes": frame.size, "sha256": frame.digest}
    if frame.kind != "notification":
        detail["id"] = _short(frame.id)
    if frame.method is not None:
        detail["method"] = _short(frame.method)
    if frame.tool is not None:
        detail["tool"] = _short(frame.tool)
    if frame.kind == "response":
        detail["error"] = "error" in frame.message
    return detail


def fault_event(side: Side, fault: Fault) -> Event:
    detail: dict[str, Value] = {
        "direction": _TO[side],
        "bytes": fault.size,
        "sha256": fault.digest,
        "reason": fault.reason,
    }
    if fault.ids:
        detail["id"] = _short(fault.ids[0])
    return Event("relay.dropped", detail, fault.rule)


def failed_call(call: Pending, code: int, data: Mapping[str, Value] | None) -> Event:
    rule = (data or {}).get("rule")
    detail: dict[str, Value] = {"direction": "to-client", "id": _short(call.id), "error": True, "code": code}
    detail |= {"method": _short(call.method), "tool": _short(call.tool), "ours": True}
    return Event("relay.response", detail, str(rule or ""))
