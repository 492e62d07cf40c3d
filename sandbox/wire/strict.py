"""Strict JSON: one object that every parser reads alike, or a refusal that names the rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, compress
from typing import Any

from sandbox.wire.structs import msgspec

Bytes = bytes | bytearray

MAX_DEPTH = 100
# One byte of JSON can cost eighty of ours (`[],[],…`); this many values keep a decoded frame near 40 MB.
MAX_VALUES = 500_000

BOM = b"\xef\xbb\xbf"
_SLICE = 1 << 16
_SPARSE, _FEW, _SHORT, _SPARE, _BEGINNING = 256, 1024, 2048, 1 << 14, 64
_CONTAINERS = frozenset({dict, list})
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_compact = msgspec.json.format


class Refusal(Exception):
    """A line breaks the rule `rule`; `reason` says how, without quoting the line."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason


def read_object(line: Bytes) -> dict[str, Any]:
    """The one JSON object on `line` that no parser reads otherwise, or a `Refusal`."""
    if not line.isascii():
        _check_utf8(line)
    # A shorter line cannot cost more: the dearest value, an empty list and its comma, is three bytes.
    if len(line) > 3 * MAX_VALUES and _count_values(line) > MAX_VALUES:
        raise Refusal("frame-values", f"more than {MAX_VALUES} values in one frame")
    try:
        tree = _decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _unparsed(line, error) from None
    if type(tree) is not dict:
        raise Refusal(*_not_an_object(tree))
    # What nests that deep is longer: every bracket closes. Brackets in strings only raise the bound.
    size = len(line)
    if size > 2 * MAX_DEPTH and _brackets(line) > MAX_DEPTH and _deeper_than(MAX_DEPTH, tree):
        raise Refusal("frame-depth", f"nested deeper than {MAX_DEPTH}")
    canonical = _encode(tree) if size <= _SPARE else b""
    # Most lines are spelt as they would be here: nothing was dropped of those.
    if not (canonical and size - len(canonical) <= 1 and line.startswith(canonical)):
        if _repeats_a_key(line, tree, canonical):
            raise Refusal("frame-duplicate-key", "an object has the same key twice")
    return tree


def _check_utf8(line: Bytes) -> None:
    if line.startswith(BOM):
        raise Refusal("frame-bom", "the line begins with a byte order mark")
    try:
        str(line, "utf-8")
    except UnicodeDecodeError as error:
        raise Refusal("frame-utf8", f"invalid UTF-8 at byte {error.start}") from None


def _unparsed(line: Bytes, error: Exception) -> Refusal:
    if isinstance(error, RecursionError):
        return Refusal("frame-depth", f"nested deeper than {MAX_DEPTH}")
    if isinstance(error, msgspec.ValidationError):
        # The grammar is right and the value is not: only numbers outside a double's range come here.
        return Refusal("frame-number", "a number is out of range")
    return Refusal(*_not_json(line))


def _not_json(line: Bytes) -> tuple[str, str]:
    """Which rule a line that does not parse breaks: a lone surrogate, NaN, or JSON itself."""
    try:
        # As text: given bytes, json would also try UTF-16.
        text = json.dumps(json.loads(str(line, "utf-8")), ensure_ascii=False)
    except (ValueError, RecursionError):
        return "frame-json", "not one JSON object on one line"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "frame-surrogate", "a string holds half of a surrogate pair"
    return "frame-nan", "NaN and Infinity are not JSON"


def _not_an_object(tree: object) -> tuple[str, str]:
    if type(tree) is list:
        return "frame-batch", "a batch; each message needs a line of its own"
    return "frame-json", "not one JSON object on one line"


def _brackets(line: Bytes) -> int:
    """How many brackets open on `line`, counted until they are more than `MAX_DEPTH`."""
    if len(line) <= _FEW:
        return len(line.split(b"{", MAX_DEPTH + 1)) + len(line.split(b"[", MAX_DEPTH + 1)) - 2
    # `find` skips a long text forty times as fast as `count`; dense brackets end the loop early.
    found = 0
    for bracket in (b"{", b"["):
        at = line.find(bracket)
        while at >= 0 and found <= MAX_DEPTH:
            found += 1
            at = line.find(bracket, at + 1)
    return found


def _deeper_than(limit: int, tree: object) -> bool:
    level: list[Any] = [tree]
    for _ in range(limit):
        if not level:
            return False
        inner = _children(level)
        level = list(compress(inner, map(_CONTAINERS.__contains__, map(type, inner))))
    return bool(level)


def _children(level: Iterable[Any]) -> list[Any]:
    return list(chain.from_iterable(c.values() if type(c) is dict else c for c in level))


def _repeats_a_key(line: Bytes, tree: object, canonical: bytes) -> bool:
    """Whether decoding lost a member: a dict keeps one of two equal keys, so a string is missing.

    Exact for a line that parsed. The re-encoded tree has no repeated key by construction; the same bytes,
    or the same number of strings, mean that nothing was dropped. Keys equal after unescaping count too.
    A long line of few strings is not encoded (`canonical`) for that: they are counted where they are.
    """
    if not canonical:
        if (strings := _strings(tree)) is not None:
            return _count_quotes(line) != 2 * strings
        canonical = _encode(tree)
        if len(line) - len(canonical) <= 1 and line.startswith(canonical):
            return False
    # Many write blanks: what is left without them still has the repeated key.
    if line.find(b'": ', 0, _BEGINNING) > 0 and _compact(line, indent=-1) == canonical:
        return False
    return _count_quotes(line) != _count_quotes(canonical)


def _strings(tree: object) -> int | None:
    """How many strings the tree holds, names too; None where a walk is not worth it."""
    found = members = 0
    level: list[Any] = [tree]
    while level:
        members += sum(map(len, level))
        if members > _SPARSE:
            return None
        inner = _children(level)
        found += sum(len(one) for one in level if type(one) is dict) + sum(type(one) is str for one in inner)
        level = [one for one in inner if type(one) in _CONTAINERS]
    return found


def _count_quotes(line: Bytes) -> int:
    """The quotes that begin or end a string."""
    if b"\\" not in line:
        return _count(line, b'"')
    # Pairs first: in `\\"` the quote is real, in `\"` it is text.
    without_pairs = line.replace(b"\\\\", b"")
    return _count(without_pairs, b'"') - _count(without_pairs, b'\\"')


def _count(line: Bytes, what: bytes) -> int:
    """`line.count(what)`, several times as fast where long texts lie between few hits."""
    if len(line) < _SHORT:
        return line.count(what)
    found, at = 0, line.find(what)
    while at >= 0 and found < _SPARSE:
        found, at = found + 1, line.find(what, at + len(what))
    return found + line.count(what, at) if at >= 0 else found


def _count_values(line: Bytes) -> int:
    """An upper bound of the values on `line`: exact about commas and brackets outside strings."""
    if (loose := _separators(line)) <= MAX_VALUES:
        return loose
    text = line.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in line else line
    count = inside = 0
    # In slices: splitting ten megabytes of quotes at once would itself be the memory bomb.
    for start in range(0, len(text), _SLICE):
        pieces = text[start : start + _SLICE].split(b'"')
        count += sum(map(_separators, pieces[inside::2]))
        inside ^= (len(pieces) - 1) & 1
    return count


def _separators(text: Bytes) -> int:
    return text.count(b",") + text.count(b"[") + text.count(b"{")
