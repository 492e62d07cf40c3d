"""What can be known of a line that was refused: whose answer it was, and whether it is a message at all."""

from __future__ import annotations

import json
from typing import Any, Literal

from sandbox.patterns import regex
from sandbox.wire.strict import BOM, Bytes

Id = int | str | None
Kind = Literal["request", "response", "notification"]

EDGE = 1024  # bytes kept of each end of a line too long to hold
MAX_ID_CHARS = 512
MAX_ID_NUMBER = 2**53 - 1  # beyond it JavaScript answers another id than it was asked
_PARSED = 1 << 18  # a longer broken line is judged by its two ends
_MAX_IDS = 1000

_SCALAR = rb'"[^"\\\x00-\x1f]{0,512}"|-?(?:0|[1-9][0-9]{0,15})|null'
_MEMBER = rb'\s*"(jsonrpc|id|method)"\s*:\s*(' + _SCALAR + rb")\s*"
_OPEN = regex(rb"\s*\{")
_OPEN_LATER = regex(rb'\{(?=\s*"(?:jsonrpc|id|result|error|method)"\s*:)')
_FIRST = regex(_MEMBER + rb"(?=[,}])")
_COMMA = regex(rb",")
_BODY = regex(rb'\s*"(result|error|method)"\s*:')
_LAST = regex(rb'(?:,\s*"(?:jsonrpc|id|method)"\s*:\s*(?:' + _SCALAR + rb")\s*){1,3}\}\s*\Z")
_LAST_MEMBER = regex(rb"," + _MEMBER)


class Salvage:
    """The ids a refused line names beyond doubt, its kind where that shows, and whether it looks like MCP."""

    __slots__ = ("ids", "kind", "marked")

    def __init__(self, ids: tuple[int | str, ...] = (), kind: Kind | None = None, *, marked: bool) -> None:
        self.ids = ids
        self.kind = kind
        self.marked = marked


def salvage(line: Bytes) -> Salvage:
    """What a whole refused line still tells."""
    line = line.removeprefix(BOM)
    if len(line) > _PARSED:
        return salvage_ends(bytes(line[:EDGE]), bytes(line[-EDGE:]))
    try:
        parsed = json.loads(str(line, "utf-8", "replace"), object_pairs_hook=_Members)
    except (ValueError, RecursionError):
        ends = salvage_ends(bytes(line[:EDGE]), bytes(line[-EDGE:]))
        return Salvage(ends.ids, ends.kind, marked=b'"jsonrpc"' in line)
    messages = [item for item in (parsed if _is_array(parsed) else [parsed]) if type(item) is _Members]
    ids = tuple(found for item in messages[:_MAX_IDS] for found in item.ids())
    kind = messages[0].kind() if messages else None
    return Salvage(ids, kind, marked=any(item.has("jsonrpc") for item in messages))


def salvage_ends(head: bytes, tail: bytes) -> Salvage:
    """The same from the first and last `EDGE` bytes: SDKs write the id first or last."""
    first, last = _leading(head), _trailing(tail)
    members = dict([*last, *first])
    # What the line begins with belongs to the message; its end may be a cut one's inner object.
    ids = {value for key, value in first if key == b"id"} or {value for key, value in last if key == b"id"}
    found = [value for value in map(_scalar, ids) if value is not None]
    marked = b'"jsonrpc"' in head or b'"jsonrpc"' in tail
    return Salvage(tuple(found) if len(found) == 1 else (), _kind(members), marked=marked)


class _Members(list[tuple[str, Any]]):
    """The members of one object in order, repeated keys included."""

    def has(self, key: str) -> bool:
        return any(name == key for name, _ in self)

    def ids(self) -> list[int | str]:
        values = [value for name, value in self if name == "id"]
        return values if len(values) == 1 and usable(values[0]) else []

    def kind(self) -> Kind | None:
        return _kind({name.encode("utf-8", "replace"): b"" for name, _ in self})


def usable(value: object) -> bool:
    """Whether `value` can be the id of a request."""
    if type(value) is int:
        return -MAX_ID_NUMBER <= value <= MAX_ID_NUMBER
    return type(value) is str and len(value) <= MAX_ID_CHARS and not _has_surrogate(value)


def _has_surrogate(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _is_array(parsed: object) -> bool:
    return type(parsed) is list


def _kind(members: dict[bytes, bytes]) -> Kind | None:
    answers = b"result" in members or b"error" in members
    if b"method" in members:
        if answers:
            return None
        return "request" if b"id" in members else "notification"
    return "response" if answers else None


def _leading(head: bytes) -> list[tuple[bytes, bytes]]:
    """The scalar members with which `head` begins, and the name of the first that is not."""
    members: list[tuple[bytes, bytes]] = []
    # A banner printed without a newline stands before the message.
    at = _OPEN.match(head) or _OPEN_LATER.search(head)
    while at:
        position = at.end()
        member = _FIRST.match(head, position)
        if not member:
            body = _BODY.match(head, position)
            return [*members, (body[1], b"")] if body else members
        members.append((member[1], member[2]))
        at = _COMMA.match(head, member.end())
    return members


def _trailing(tail: bytes) -> list[tuple[bytes, bytes]]:
    """The scalar members at the end of `tail`, if they are an envelope's: `jsonrpc` is among them."""
    last = _LAST.search(tail)
    members = [(m[1], m[2]) for m in _LAST_MEMBER.finditer(last[0])] if last else []
    return members if any(key == b"jsonrpc" for key, _ in members) else []


def _scalar(value: bytes) -> Id:
    if value == b"null":
        return None
    return value[1:-1].decode("utf-8", "replace") if value.startswith(b'"') else int(value)
