"""What HTTP carries is fuzzed: streams of events, and headers that repeat what a message says."""

from __future__ import annotations

import json
import math
from typing import Any

from fuzzing.promises import Broken
from sandbox.wire import mcp_headers
from sandbox.wire.mcp_headers import (
    Param,
    decoded,
    encoded,
    headers_for,
    mismatch,
    tool_params_of,
)
from sandbox.wire.sse import Decoder, Event, Malformed, encode

_CAP = 1 << 12
_ALWAYS_WANTED = (
    Param(("a",), "A", "string"), Param(("a", "b"), "B", "integer"), Param(("n",), "N", "boolean"),
)  # fmt: skip
_WORDS = (
    b"data", b"data: ", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"id", b"id: 1", b"event: x", b"retry: 5",
    b"\0", b"\xef\xbb\xbf", b"\xff", b"x" * 300, "\u2028".encode(), b"{}",
)  # fmt: skip


def events(data: bytes) -> None:
    """Where a stream is cut makes no difference, and of its events, within bounds, the same can be made."""
    for stream in (data, b"".join(_WORDS[byte % len(_WORDS)] for byte in data[:2000])):
        whole = _read(stream, len(stream))
        if whole != _read(stream, 1 + len(stream) // 3) or (len(stream) < 300 and whole != _read(stream, 1)):
            raise Broken("where the bytes are cut makes a difference")
        found, _ = whole
        if any(len(one.data) > _CAP or b"\r" in one.data for one in found):
            raise Broken("an event beyond its bounds")
        made = b"".join(encode(one.data, event=one.event, id=one.id, retry=one.retry) for one in found)
        if [(one.event, one.data, one.retry) for one in _read(made, len(made))[0]] != [
            (one.event, one.data, one.retry) for one in found
        ]:
            raise Broken("what is made of events are other events")


def _read(stream: bytes, step: int) -> tuple[list[Event], bool]:
    """The events, and whether the stream was refused; what was cut off with it is not compared."""
    decoder, found = Decoder(_CAP), list[Event]()
    try:
        for at in range(0, len(stream), max(1, step)):
            found += decoder.feed(stream[at : at + step])
    except Malformed:
        return [], True
    return found, False


def headers(data: bytes) -> None:
    """What we send of a message we take ourselves, in ASCII of one line, and no other value is the same."""
    text = data.decode("utf-8", "replace")
    if not (encoded(text).isascii() and encoded(text).isprintable()) or decoded(encoded(text)) != text:
        raise Broken("a value that does not arrive")
    if (meant := decoded(text)) is not None and decoded(encoded(meant)) != meant:
        raise Broken("a value that is read in two ways")
    for line in data.split(b"\n"):
        try:
            message = json.loads(line[1:])
        except (ValueError, RecursionError):
            continue
        if isinstance(message, dict):
            _hold(message)


def _hold(message: dict[str, Any]) -> None:
    wanted = _wanted(message)
    made = {name.lower(): value for name, value in headers_for(message, wanted, "2026-07-28")}
    if any(not value.isascii() or not value.isprintable() for value in made.values()):
        raise Broken("a header that is not one line of ASCII")
    # Not a number equals nothing, and a text with half a character cannot be sent: neither passes the frames.
    if _is_plain(message) and (why := mismatch(made, message, wanted)):
        raise Broken(f"what we send we would not take: {why}")


def _wanted(message: dict[str, Any]) -> tuple[Param, ...]:
    found = list[Param]()
    result = message.get("result")
    tools = result.get("tools") if isinstance(result, dict) else None
    for tool in tools if isinstance(tools, list) else ():
        try:
            found += tool_params_of(tool) if isinstance(tool, dict) else ()
        except mcp_headers.Malformed:
            continue
    return (
        *found,
        Param(("a",), "A", "string"),
        Param(("a", "b"), "B", "integer"),
        Param(("n",), "N", "boolean"),
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return not any(0xD800 <= ord(one) < 0xE000 for one in value)
    if isinstance(value, dict):
        return all(_is_plain(one) for pair in value.items() for one in pair)
    return not isinstance(value, list) or all(map(_is_plain, value))
