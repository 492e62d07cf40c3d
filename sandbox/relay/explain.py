"""Tells the client, inside the answer to a failed call, what was denied while the call was open.

Bytes are put into the answer and none are taken out or written anew: decoding and encoding would turn
`1E5` into `100000.0` and `1e-400` into `0.0`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sandbox.patterns import regex
from sandbox.wire.strict import Bytes
from sandbox.wire.structs import msgspec

MAX_TEXT_CHARS = 512

_KEY = "mcpSandbox"
_NAME = regex(rb'[{,\s]*"(?:[^"\\]++|\\.)*+"[\s:]*')
_EMPTY = regex(rb"[\[{]\s*[\]}]")
_encode = msgspec.json.encode
_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

# Where a value lies in the line, and what is put in at which place.
Span = tuple[int, int]
Edit = tuple[int, bytes]


def printable(text: str) -> str:
    """`text` as it may stand in an answer: short, and nothing in it that a terminal or an encoder minds."""
    text = text[:MAX_TEXT_CHARS]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def reports_failure(message: Mapping[str, Any]) -> bool:
    """Whether a response says that its call failed: an error, or a result that is marked as one."""
    return "error" in message or message["result"].get("isError") is True


def amend(line: Bytes, denied: Sequence[str], cap: int) -> bytes | None:
    """The failed answer on `line` with `denied` told in it, or None: no place for it, or more than `cap`."""
    edits = sorted(_edits(_Answer(line), denied))
    if not edits or len(line) - 1 + sum(len(new) for _, new in edits) > cap:
        return None
    pieces, done = [], 0
    for at, new in edits:
        pieces += [line[done:at], new]
        done = at
    return b"".join([*pieces, line[done:]])


class _Answer:
    """A valid line and where the values in it lie."""

    def __init__(self, line: Bytes) -> None:
        self.line = line
        self.members = self.inside((0, len(line)))

    def inside(self, whole: Span) -> dict[str, Span]:
        """The members of the object at `whole`, found by their own lengths: no text is searched for."""
        at, end = whole
        spans: dict[str, Span] = {}
        for name, value in _values(memoryview(self.line)[at:end]).items():
            # A frame's keys are unique: every member of the text is one of the dict, in the same order.
            start = cast("re.Match[bytes]", _NAME.match(self.line, at)).end()
            at = start + len(memoryview(value))
            spans[name] = (start, at)
        return spans

    def append(self, whole: Span, new: bytes) -> Edit:
        """What makes `new` the last member or item of the object or list at `whole`."""
        empty = _EMPTY.fullmatch(self.line, *whole)
        return whole[1] - 1, new if empty else b"," + new

    def begins(self, value: Span, bracket: bytes) -> bool:
        return self.line[value[0] : value[0] + 1] == bracket


def _edits(answer: _Answer, denied: Sequence[str]) -> list[Edit]:
    if "error" in answer.members:
        return _error_edits(answer, answer.members["error"], denied)
    content = answer.inside(answer.members["result"]).get("content")
    if content is None or not answer.begins(content, b"["):
        return []
    item = _encode({"type": "text", "text": "mcp-sandbox: " + "\n".join(denied)})
    return [answer.append(content, item)]


def _error_edits(answer: _Answer, error: Span, denied: Sequence[str]) -> list[Edit]:
    """The words at the end of the error's message, and a member of its data where that is ours to add."""
    members = answer.inside(error)
    words = _encode(f" (mcp-sandbox: {'; '.join(denied)})")[1:-1]
    edits = [(members["message"][1] - 1, words)]
    told = _encode({_KEY: {"denied": denied}})
    data = members.get("data")
    if data is None:
        edits.append(answer.append(error, b'"data":' + told))
    elif answer.begins(data, b"{") and _KEY not in answer.inside(data):
        edits.append(answer.append(data, told[1:-1]))
    return edits
