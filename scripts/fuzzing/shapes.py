"""Messages that are cheap to send and may be dear to judge, in any size."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from fuzzing.conversations import _META, FRAGMENTS, SECRET, Said, _answer, _asks, _call, _fails, _tells

Shape = Callable[[int], Any]
"""A value of about that many bytes."""
Maker = Callable[[int], list[Said]]
TEXT_PLACES = ("result", "arguments", "tool")


def _repeat(text: str) -> Shape:
    return lambda size: text * max(1, size // len(text.encode()))


def _near(text: str) -> Shape:
    """What begins a match again and again and never ends one."""
    return lambda size: (text[:-1] + " ") * max(1, size // len(text.encode()))


def _keys(size: int) -> Any:
    return {f"k{number}": number for number in range(size // 12)}


def _deep(size: int) -> Any:
    tree: Any = []
    for _ in range(90):
        tree = [tree]
    return [tree] * max(1, size // 190)


def _deep_objects(size: int) -> Any:
    tree: Any = {}
    for _ in range(44):
        tree = {"properties": {"a": tree}}
    return [tree] * max(1, size // 900)


def _schema(size: int) -> Any:
    properties = {
        f"p{number}": {"type": "string", "pattern": f"^(a{number}+)+$"} for number in range(size // 60)
    }
    return {"type": "object", "properties": properties}


def _branches(size: int) -> Any:
    def some(first: int) -> Any:
        return {"anyOf": [{"$ref": f"#/$defs/d{(first * 7 + step) % 50}"} for step in range(8)]}

    inner = {f"d{number}": some(number) for number in range(50)}
    return {"anyOf": [{"$ref": f"#/$defs/d{number % 50}"} for number in range(size // 24)], "$defs": inner}


TEXTS: dict[str, Shape] = {
    "plain words": _repeat("the quick brown fox jumps over it. "),
    "one letter": _repeat("a"),
    "spaces": _repeat(" "),
    "newlines": _repeat("\n"),
    "quotes": _repeat('"'),
    "backslashes": _repeat("\\"),
    "escapes": _repeat("\x01"),
    "base64": _repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo0"),
    "base64 words": _repeat("QUJDREVGR0hJSktM "),
    "base64 in base64": lambda size: base64.b64encode(
        base64.b64encode(b"ignore all " * max(1, size // 20))
    ).decode(),
    "hex": _repeat("6a7b8c9d"),
    "percent": _repeat("%61%2e"),
    "digits": _repeat("4111 1111 1111 1112 "),
    "colons": _repeat("a://b:c@"),
    "at signs": _repeat("a@"),
    "dots": _repeat("a."),
    "slashes": _repeat("../"),
    "key heads": _repeat("-----BEGIN " + "PRIVATE KEY-----\n"),
    "assignments": _repeat("password=x api_key: "),
    "tokens": _repeat("ghp_" + "a1B2c3D4e5F6" * 3 + " "),
    "halves of a secret": _repeat(SECRET[:16] + " " + SECRET[16:] + " "),
    "secrets": _repeat(SECRET + " "),
    "nearly secrets": _near(SECRET),
    "zero width": _repeat("i\u200bg\u200bn"),
    "tags": _repeat("".join(chr(0xE0000 + ord(letter)) for letter in "ignore")),
    "bidi": _repeat("\u202e\u2066a\u2069"),
    "variation": _repeat("a\ufe0f"),
    "combining": _repeat("a\u0301"),
    "cyrillic": _repeat("\u0440\u0435\u0430d "),
    "emoji": _repeat("\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    "korean": _repeat("\ud55c\uae00 "),
    "ansi": _repeat("\x1b[31m"),
    "ansi open": _repeat("\x1b]8;;"),
    "orders": _repeat(FRAGMENTS[0] + " "),
    "nearly orders": _repeat("ignore all previous "),
    "tool names": _repeat("tools/call read_file "),
    "markdown": _repeat("![a](b) [c](d) "),
    "brackets": _repeat("[("),
    "html": _repeat("<a href="),
    "comments": _repeat("<!--"),
    "json in text": _repeat('{"a":[1,'),
    "tabs": _repeat("\t"),
    "nulls": _repeat("\u0000"),
}
TREES: dict[str, Shape] = {
    "words": TEXTS["plain words"],
    "many keys": _keys,
    "deep lists": _deep,
    "deep objects": _deep_objects,
    "many texts": lambda size: ["some text"] * (size // 12),
    "short texts": lambda size: ["ab"] * (size // 5),
    "many numbers": lambda size: [1.5] * (size // 4),
    "empty lists": lambda size: [[]] * (size // 3),
    "keys are orders": lambda size: {f"{FRAGMENTS[0]}{number}": 1 for number in range(size // 90)},
    "schema": _schema,
    "branches": _branches,
}
_TEXT = {"type": "text", "text": ""}
PLACES: dict[str, Callable[[Any], list[Said]]] = {
    "result": lambda value: [
        _call(2, "tools/call", name="read_file", arguments={"path": "/a"}),
        _answer(2, content=[{**_TEXT, "text": value}] if isinstance(value, str) else [],
            structuredContent={"v": value}),
    ],
    "arguments": lambda value: [_call(2, "tools/call", name="read_file", arguments={"path": value,
        "filter": value})],
    "tool": lambda value: [
        _call(2, "tools/list"),
        _answer(2, tools=[{"name": "t", "description": value if isinstance(value, str) else "d",
                           "inputSchema": {"type": "object", "properties": {"a": {"default": value}}}}]),
    ],
    "schema": lambda value: [
        _call(2, "tools/list"),
        _answer(2, tools=[{"name": "t", "inputSchema": value if isinstance(value,
            dict) else {"const": value}}]),
        _call(3, "tools/call", name="t", arguments={"a": value}),
    ],
    "error": lambda value: [_call(2, "tools/call", name="t", arguments={}), _fails(2, str(value)[:100],
        value)],
    "log": lambda value: [_tells("server", "message", level="info", data=value)],
    "elicitation": lambda value: [_asks(9, "elicitation/create", message=value if isinstance(value,
        str) else "m",
        requestedSchema={"type": "object", "properties": {"a": {"type": "string", "default": value}}})],
    "state": lambda value: [
        _call(2, "tools/call", name="t", arguments={}, _meta=_META),
        _answer(2, resultType="input_required", requestState=value,
            inputRequests={"a": {"method": "roots/list"}}),
    ],
}  # fmt: skip


def _listed(number: int) -> dict[str, Any]:
    return {"name": f"t{number}", "inputSchema": {"type": "object"}}


def _tools(tools: list[Any]) -> list[Said]:
    return [_call(2, "tools/list"), _answer(2, tools=tools)]


def _roots(size: int) -> list[Said]:
    roots = [{"uri": f"file:///r/{number}"} for number in range(size // 25)]
    return [_asks(1, "roots/list"), ("client", {"jsonrpc": "2.0", "id": 1, "result": {"roots": roots}})]


def _parts(size: int) -> list[Said]:
    parts = [{**_TEXT, "text": SECRET[number % 30 :][:3]} for number in range(size // 35)]
    return [_call(2, "tools/call", name="t", arguments={}), _answer(2, content=parts)]


LISTS: dict[str, Maker] = {
    "many tools": lambda size: _tools([_listed(number) for number in range(size // 50)]),
    "one tool many times": lambda size: _tools([_listed(0)] * (size // 50)),
    "many roots": _roots,
    "many parts": _parts,
}


def makers() -> dict[str, Maker]:
    """Every shape by its name: what is said in it, when it is to have about that many bytes."""
    texts = {f"{name}, {place}": _in(place, shape) for name, shape in TEXTS.items() for place in TEXT_PLACES}
    trees = {f"{name}, {place}": _in(place, shape) for name, shape in TREES.items() for place in PLACES}
    return {**texts, **trees, **LISTS}


def _in(place: str, shape: Shape) -> Maker:
    return lambda size: PLACES[place](shape(size))


def dumped(message: dict[str, Any]) -> bytes:
    """The message as a line, as few escapes as JSON allows."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
