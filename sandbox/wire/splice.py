"""Changes values inside a message by their bytes: what is not changed stays as it was spelt (P).

Decoding and encoding a whole message would turn `1E5` into `100000.0` and `1e-400` into `0.0`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from sandbox.patterns import regex
from sandbox.records import dataclass
from sandbox.wire.strict import Bytes
from sandbox.wire.structs import msgspec

Place = tuple[str | int, ...]
"""The way to a value from the message's root: member names and list indexes."""
Span = tuple[int, int]

_NAME = regex(rb'[{,\s]*"(?:[^"\\]++|\\.)*+"[\s:]*')
_BETWEEN = regex(rb"\s*[\[,]\s*")
_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Drop:
    """Says that a member or an item is taken out."""

    def __repr__(self) -> str:
        return "DROP"


DROP: Final = _Drop()


@dataclass(frozen=True, slots=True)
class Edit:
    """`value` for what stands at `place`; `DROP` takes it out of its object or list.

    A member that is not there yet is added to its object; `place` of a list may end in its length, which
    appends. Any other place that is not there is passed over.
    """

    place: Place
    value: Any


def splice(line: Bytes, edits: Sequence[Edit]) -> bytes:
    """The valid message on `line` after `edits`; an edit inside a value that another replaces is lost."""
    tree = _tree(edits)
    end = len(line) - line.endswith(b"\n")
    return bytes(_rewritten(bytes(line[:end]), tree)) + b"\n"


_SELF: Final = object()  # the key of a replacement in the tree of edits: no name of JSON's


def _tree(edits: Sequence[Edit]) -> dict[Any, Any]:
    """The edits by step; where one replaces a value, what others would do inside it is forgotten."""
    root: dict[Any, Any] = {}
    for edit in edits:
        at = root
        for step in edit.place:
            at = at.setdefault(step, {})
        at[_SELF] = edit.value
    return root


def _rewritten(text: bytes, tree: Mapping[Any, Any]) -> bytes:
    if _SELF in tree:
        return b"" if tree[_SELF] is DROP else _encode(tree[_SELF])
    at = len(text) - len(text.lstrip())
    if text[at : at + 1] == b"{":
        return _object(text, tree)
    if text[at : at + 1] == b"[":
        return _list(text, tree)
    return text


def _object(text: bytes, tree: Mapping[Any, Any]) -> bytes:
    kept, at = [], 0
    held = _members(text)
    for name, value in held.items():
        # A frame's keys are unique: every member of the text is one of the dict, in the same order.
        start = cast("re.Match[bytes]", _NAME.match(text, at)).end()
        head, at = text[at:start].lstrip(b"{, \t\r\n"), start + len(memoryview(value))
        inner = tree.get(name)
        if inner is None:
            kept.append(head + text[start:at])
        elif inner.get(_SELF) is not DROP:
            kept.append(head + _rewritten(text[start:at], inner))
    for name, inner in tree.items():
        if type(name) is str and name not in held and inner.get(_SELF, DROP) is not DROP:
            kept.append(_encode(name) + b":" + _encode(inner[_SELF]))
    return b"{" + b",".join(kept) + b"}"


def _list(text: bytes, tree: Mapping[Any, Any]) -> bytes:
    kept, at = [], 0
    held = _items(text)
    for index, value in enumerate(held):
        start = cast("re.Match[bytes]", _BETWEEN.match(text, at)).end()
        at = start + len(memoryview(value))
        inner = tree.get(index)
        if inner is None:
            kept.append(text[start:at])
        elif inner.get(_SELF) is not DROP:
            kept.append(_rewritten(text[start:at], inner))
    more = tree.get(len(held))
    if more is not None and more.get(_SELF, DROP) is not DROP:
        kept.append(_encode(more[_SELF]))
    return b"[" + b",".join(kept) + b"]"
