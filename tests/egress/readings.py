"""How sloppy servers read a stream of requests: what one could take for a request, and for its host."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINES = {"crlf": rb"\r\n", "lf": rb"\r?\n", "any": rb"\r\n|\n|\r"}
_DIGITS = re.compile(rb"[+ \t]*([0-9]+)")
_HEX = re.compile(rb"[ \t]*(?:0x)?([0-9a-f]+)", re.IGNORECASE)
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(rb"(?:\w+:)?//(?:[^/?#]*@)?([^/?#]*)")


@dataclass(frozen=True)
class Reading:
    """One server's habits."""

    lines: str
    """What ends a line: `crlf`, `lf` or `any`."""
    folds: str
    """A line that begins with a space `joins` the one before, is a field of its `own`, or is `dropped`."""
    last: bool
    """Of two fields of a name the last one counts, not the first."""
    absolute: bool
    """An absolute target counts before Host."""
    encoding_first: bool
    """Transfer-Encoding counts before Content-Length."""
    loose: bool
    """Any encoding that contains `chunked` is that one; spaces around a field's name do not matter."""
    old: bool
    """HTTP/1.0 has no chunks."""


def hosts(stream: bytes, reading: Reading) -> list[bytes]:
    """The host of every request that this server sees, until it gives up."""
    found: list[bytes] = []
    while True:
        stream = stream.lstrip(b"\r\n")
        head = _head(stream, reading)
        if head is None:
            return found
        line, fields, stream = head
        words = line.split()
        # Without a version it is HTTP/0.9, after which the connection ends.
        if len(words) < 3 or not _METHOD.fullmatch(words[0]) or not words[-1].upper().startswith(b"HTTP/"):
            return found
        found.append(_host(words[1], fields, reading))
        rest = _after_body(words[-1], fields, stream, reading)
        if rest is None:
            return found
        stream = rest


Fields = list[tuple[bytes, bytes]]


def _head(stream: bytes, reading: Reading) -> tuple[bytes, Fields, bytes] | None:
    ends = re.compile(_LINES[reading.lines])
    lines: list[bytes] = []
    at = 0
    while (end := ends.search(stream, at)) is not None:
        line, at = stream[at : end.start()], end.end()
        if not line:
            return (lines[0], _fields(lines[1:], reading), stream[at:]) if lines else None
        lines.append(line)
    return None


def _fields(lines: list[bytes], reading: Reading) -> Fields:
    found: Fields = []
    for line in lines:
        if line[:1] in b" \t" and reading.folds != "own":
            if found and reading.folds == "joins":
                found[-1] = (found[-1][0], found[-1][1] + b" " + line.strip())
            continue
        name, colon, value = line.partition(b":")
        if colon:
            found.append(((name.strip() if reading.loose else name).lower(), value.strip()))
    return found


def _one(fields: Fields, name: bytes, reading: Reading) -> bytes | None:
    values = [value for key, value in fields if key == name]
    return values[-1 if reading.last else 0] if values else None


def _host(target: bytes, fields: Fields, reading: Reading) -> bytes:
    absolute = _HOST.match(target) if b"://" in target else None
    if absolute is not None and reading.absolute:
        return absolute[1].lower()
    return (_one(fields, b"host", reading) or b"").lower()


def _after_body(version: bytes, fields: Fields, rest: bytes, reading: Reading) -> bytes | None:
    encoding = _one(fields, b"transfer-encoding", reading)
    length = _one(fields, b"content-length", reading)
    chunked = encoding is not None and _is_chunked(encoding, reading)
    if reading.old and version == b"HTTP/1.0":
        chunked = False
    if chunked and (reading.encoding_first or length is None):
        return _after_chunks(rest, reading)
    if length is None:
        return rest
    digits = _DIGITS.match(length)
    return None if digits is None else rest[int(digits[1]) :]


def _is_chunked(encoding: bytes, reading: Reading) -> bool:
    said = encoding.lower()
    return b"chunked" in said if reading.loose else said == b"chunked"


def _after_chunks(rest: bytes, reading: Reading) -> bytes | None:
    ends = re.compile(_LINES[reading.lines])
    while True:
        end = ends.search(rest)
        size = _HEX.match(rest)
        if end is None or size is None:
            return None
        rest = rest[end.end() :]
        if not int(size[1], 16):
            break
        rest = rest[int(size[1], 16) :]
        after = ends.match(rest)
        rest = rest[after.end() :] if after else rest
    # The trailer, up to an empty line.
    while (end := ends.search(rest)) is not None:
        empty, rest = end.start() == 0, rest[end.end() :]
        if empty:
            return rest
    return None
