"""What a person is asked, what the client is sent for it, and which of its answers is a yes (P)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from sandbox.inspect.excerpt import excerpt
from sandbox.inspect.judged import Finding
from sandbox.records import dataclass
from sandbox.relay.ledger import Side
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.salvage import Id
from sandbox.wire.splice import DROP, Edit
from sandbox.wire.structs import msgspec

KEY: Final = "mcp-sandbox"
"""Of our own request among the `inputRequests`."""
SHOWN: Final = 2000
LEAST_SHOWN: Final = 60
MOST_SHOWN: Final = 40
"""Characters of all values, of each at least, and members."""
_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
# No default and no yes in it by omission: a form that is accepted as it comes is a no.
_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "answer": {"type": "string", "title": "Your answer", "enum": ["refuse", "allow"]},
    },
    "required": ["answer"],
}
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question; `retry` is the client's call under its new id, in the modern era."""

    yes: bool
    why: str
    by: str
    waited: float
    retry: Frame | None = None


def wording(
    frame: Frame, asked: tuple[str | None, str | None], finding: Finding, server: str, at: str
) -> str:
    """The question in words: what is to happen, with what, and which rule asks."""
    method, tool = asked
    said = frame.message.get("params", {}) if frame.method else frame.message.get("result", {})
    if frame.method == "tools/call":
        what = f"may `{excerpt(tool or '', 100)}` of `{server}` be called?"
        shown = said.get("arguments", {})
    elif frame.method is not None:
        what = f"may `{server}` send you `{excerpt(frame.method, 100)}`?"
        shown = said
    else:
        what = f"`{server}` answers `{excerpt(tool or method or '', 100)}` with a wish: may you be sent it?"
        shown = said.get("inputRequests", {})
    told = "\n".join(_members(shown))
    return f"mcp-sandbox asks: {what}\n{told}\nrule: {finding.rule}, {finding.reason} [{at}]"


def _members(shown: Any) -> Iterator[str]:
    """A line for each member, whose value has its share of the room: no long one hides those after it."""
    if type(shown) is not dict:
        yield f"  {excerpt(_encode(shown).decode(), SHOWN)}"
    elif not shown:
        yield "  (nothing)"
    else:
        room = max(LEAST_SHOWN, SHOWN // len(shown))
        for name, value in islice(shown.items(), MOST_SHOWN):
            yield f"  {excerpt(name, 60)}: {excerpt(_encode(value).decode(), room)}"
        if len(shown) > MOST_SHOWN:
            yield f"  … and {len(shown) - MOST_SHOWN} more, which are not shown"


def elicitation(id: str, text: str) -> bytes:
    """The request of ours that a client of the legacy era shows."""
    return _line({"jsonrpc": "2.0", "id": id, **_request(text)})


def input_required(id: Id, state: str, text: str) -> bytes:
    """The answer that has a client of the modern era ask, and come again (MCP 2026-07-28, MRTR)."""
    result = {"resultType": "input_required", "inputRequests": {KEY: _request(text)}, "requestState": state}
    return _line({"jsonrpc": "2.0", "id": id, "result": result})


def _request(text: str) -> dict[str, Any]:
    return {"method": "elicitation/create", "params": {"message": text, "requestedSchema": _FORM}}


def _line(message: Mapping[str, Any]) -> bytes:
    return _encode(message) + b"\n"


def choice(result: Any) -> tuple[bool, str]:
    """Whether an elicitation's result is a yes, and what it says: only the one explicit answer is."""
    action = result.get("action") if type(result) is dict else None
    content = result.get("content") if type(result) is dict else None
    chosen = content.get("answer") if type(content) is dict else None
    if action == "accept" and chosen == "allow":
        return True, "allowed by a person"
    if action == "accept" and chosen != "refuse":
        return False, "the form came back without an answer"
    if action == "cancel":
        return False, "nobody answered the question"
    return False, "a person refused" if action in ("accept", "decline") else "that is no answer"


def own_capabilities(frame: Frame) -> Any:
    """What a request says that its client offers: `initialize`, or any of the modern era; None if nothing."""
    params = frame.message.get("params", {})
    if frame.method == "initialize":
        return params.get("capabilities", {})
    meta = params.get("_meta")
    return meta.get(_CAPABILITIES) if type(meta) is dict else None


def offers_forms(capabilities: Any) -> bool:
    """Whether a client shows forms; one that names no mode does (2025-11-25, Elicitation, Capabilities)."""
    offered = capabilities.get("elicitation") if type(capabilities) is dict else None
    return type(offered) is dict and (not offered or "form" in offered)


def asks_same(frame: Frame, held: Frame, asked: tuple[str | None, str | None], side: Side) -> bool:
    """Whether a call that comes again is the one that was asked about."""
    if side == "server":
        return (frame.method, frame.tool) == asked
    now, then = frame.message.get("params", {}), held.message.get("params", {})
    return frame.method == held.method and _about(now) == _about(then)


def _about(params: Mapping[str, Any]) -> bytes:
    """The call itself, by its spelling: to Python `1` and `True` are equal."""
    own = ("_meta", "inputResponses", "requestState")
    return _encode({name: value for name, value in params.items() if name not in own}, order="sorted")


def again(held: Frame, frame: Frame) -> tuple[Edit, ...]:
    """What makes the call that was asked about the one that came again: its id, and what is new each time.

    What the server's own round had brought along stays: it was asked about with it.
    """
    meta = frame.message.get("params", {}).get("_meta", DROP)
    return (Edit(("id",), frame.id), Edit(("params", "_meta"), meta))
