"""Lines and fields of HTTP/1 heads, in the one spelling that all servers read alike (RFC 9110, RFC 9112).

What one server takes and another takes otherwise is refused, whichever of them is right.
"""

from __future__ import annotations

import re

HEAD_MAX = 1 << 16
"""Bytes of one head, its line and the empty line among them."""
LINE_MAX = 1 << 14
"""Bytes of a request line."""
FIELDS_MAX = 200

_METHOD = re.compile(rb"[A-Z0-9_-]{1,32}")
_METHOD_BEGUN = re.compile(rb"[A-Z0-9_-]{1,32} |[A-Z0-9_-]{0,32}\Z")
# No `#`: what stands behind it belongs to the host for one parser of URLs and not for another.
_TARGET = re.compile(r"[!\"$-~]+")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?]*)")
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::([1-9][0-9]{0,4}))?")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")
# Bytes beyond ASCII are UTF-8 or Latin-1 to nobody's harm, but for 0x85: in Latin-1 that is NEL, where
# Python's `str.splitlines`, with which servers have cut heads into lines, ends one (bpo-22233).
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\x84\x86-\xff]*")
_LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")

_KEPT = ("host", "content-length", "transfer-encoding", "connection", "upgrade", "expect")
# Behind CGI, WSGI and their like other signs become `_` or `-` too, and nginx can be told to keep them.
_LOOK_ALIKE = {"host": "host", "contentlength": "content-length", "transferencoding": "transfer-encoding"}
_SIGNS = str.maketrans("", "", "!#$%&'*+.^_`|~-")


class Malformed(ValueError):
    """Not HTTP/1 that can be read in one way only, and why."""


class Lines:
    """Bytes of a stream that are cut into lines at CRLF and nowhere else; before `at` they are understood."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.at = 0
        self._searched = 0

    def line(self, what: str, most: int) -> bytes | None:
        """The next line without its CRLF, once it is whole and if it has at most `most` bytes."""
        start, end = self.at, self._end()
        size = (len(self.data) if end is None else end) - start
        if size > most + (end is None and self.data.endswith(b"\r")):
            raise Malformed(f"more than {most} bytes of {what}")
        if end is None:
            self._searched = len(self.data)
            return None
        self.at = self._searched = end + 2
        return bytes(self.data[start:end])

    def _end(self) -> int | None:
        """Where the CRLF of the line at `at` begins, once it is there."""
        data, start = self.data, max(self._searched - 1, self.at)
        end = data.find(b"\r", start)
        if data.find(b"\n", start, len(data) if end < 0 else end) >= 0:
            raise Malformed("a line that ends in LF alone")
        if end < 0 or end + 1 == len(data):
            return None
        if data[end + 1] != 0x0A:
            raise Malformed("a CR without LF")
        return end

    def head_line(self, what: str, most: int = HEAD_MAX) -> bytes | None:
        """The same for a head that began where `take` last ended, and is as long as a head may be."""
        line = self.line(what, most)
        if (len(self.data) if line is None else self.at) > HEAD_MAX:
            raise Malformed(f"a head of more than {HEAD_MAX} bytes")
        return line

    def take(self) -> bytes:
        """Everything before `at`, which is gone from here then."""
        with memoryview(self.data) as view:
            taken = bytes(view[: self.at])
        del self.data[: self.at]
        self._searched = max(self._searched - self.at, 0)
        self.at = 0
        return taken


class Fields:
    """The fields of one head; those are kept that say who is asked and where the message ends."""

    def __init__(self) -> None:
        self._count = 0
        self._kept: dict[str, list[str]] = {name: [] for name in _KEPT}

    def add(self, line: bytes) -> None:
        self._count += 1
        if self._count > FIELDS_MAX:
            raise Malformed(f"more than {FIELDS_MAX} fields")
        self.keep(*field(line))

    def keep(self, name: str, value: str) -> None:
        """Takes a field that `field` has read."""
        if name in self._kept:
            self._kept[name].append(value)

    def values(self, name: str) -> tuple[str, ...]:
        """The value of every such field, in order."""
        return tuple(self._kept[name])

    def listed(self, name: str) -> tuple[str, ...]:
        """What all such fields list, in small letters: options of a connection, or protocols."""
        found = [one.strip(" \t") for value in self._kept[name] for one in value.split(",")]
        for one in filter(None, found):
            if not _PROTOCOL.fullmatch(one):
                raise Malformed(f"`{shown(one)}` in the field `{name}`")
        return tuple(one.lower() for one in found if one)


class Head:
    """A request's line, and its fields as they come."""

    def __init__(self, line: bytes) -> None:
        method, self.target, self.version = _request_line(line)
        self.method = method.decode("ascii")
        self.authority = _authority_in(self.method, self.target)
        self.fields = Fields()

    def body(self) -> int | None:
        """The bytes of the body that follows, None where it comes in chunks; the head is whole by now."""
        self._refuse_tricks()
        lengths, codings = self.fields.values("content-length"), self.fields.values("transfer-encoding")
        if not codings:
            return _length(lengths)
        if lengths:
            raise Malformed("both Content-Length and Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != "chunked":
            raise Malformed(f"Transfer-Encoding `{shown(', '.join(codings))}`, not `chunked`")
        if self.version != "1.1":
            raise Malformed("Transfer-Encoding in HTTP/1.0")
        return None

    def _refuse_tricks(self) -> None:
        """Fields by which one server in a row may do without a body or a field that the next one needs."""
        hidden = _LOOK_ALIKE_NAMES.intersection(self.fields.listed("connection"))
        if hidden:
            raise Malformed(f"Connection lists `{min(hidden)}`")
        expected = self.fields.values("expect")
        if len(expected) > 1 or any(one.lower() != "100-continue" for one in expected):
            raise Malformed(f"Expect `{shown(', '.join(expected))}`, not `100-continue`")


_LOOK_ALIKE_NAMES = frozenset(_LOOK_ALIKE.values())


def _length(values: tuple[str, ...]) -> int:
    if len(values) > 1:
        raise Malformed("Content-Length more than once")
    # No zeros in front: they have been taken for octal.
    if values and not _LENGTH.fullmatch(values[0]):
        raise Malformed(f"Content-Length `{shown(values[0])}`")
    return int(values[0]) if values else 0


def field(line: bytes) -> tuple[str, str]:
    """Name, in small letters, and value of a field's line."""
    if line.startswith((b" ", b"\t")):
        raise Malformed("a field in two lines")
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name):
        raise Malformed(f"`{shown(line)}` is no field")
    lower = name.decode("ascii").lower()
    if not _VALUE.fullmatch(value):
        raise Malformed(f"a control character in the field `{shown(lower)}`")
    meant = _LOOK_ALIKE.get(lower.translate(_SIGNS), lower)
    if meant != lower:
        raise Malformed(f"the field `{shown(lower)}` may be read as `{meant}`")
    return lower, value.strip(b" \t").decode("latin-1")


def refuse_begun(line: bytes | bytearray) -> None:
    """Raises at once where an unfinished line cannot become a request's, instead of waiting for its end."""
    if not _METHOD_BEGUN.match(line):
        raise Malformed(f"`{shown(line)}` begins no request")


def _request_line(line: bytes) -> tuple[bytes, str, str]:
    if not line:
        raise Malformed("an empty line where a request belongs")
    method, _, rest = line.partition(b" ")
    target, _, version = rest.partition(b" ")
    if not _METHOD.fullmatch(method) or version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Malformed(f"`{shown(line)}` is no line of a request of HTTP/1.1 or HTTP/1.0")
    text = target.decode("latin-1")
    if not _TARGET.fullmatch(text):
        raise Malformed(f"`{shown(target)}` as a request's target")
    return method, text, version[5:].decode("ascii")


def _authority_in(method: str, target: str) -> str | None:
    """What a request's target says of the host (RFC 9112 3.2), which may be nothing."""
    if method == "CONNECT":
        authority(target)
        return target
    if target.startswith("/") or (target == "*" and method == "OPTIONS"):
        return None
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        raise Malformed(f"`{shown(target)}` as a request's target")
    authority(absolute[1])
    return absolute[1]


def authority(text: str) -> tuple[str, int | None]:
    """Host, without the brackets of an IPv6 address, and port of `host[:port]`; the host is not judged."""
    found = _AUTHORITY.fullmatch(text)
    port = int(found[3]) if found and found[3] else None
    if found is None or (port or 0) > 0xFFFF or (found[1] is not None and ":" not in found[1]):
        raise Malformed(f"`{shown(text)}` is neither a host nor `host:port`")
    return found[1] or found[2], port


def status(line: bytes) -> int:
    """The status that an answer's first line says."""
    found = _STATUS.fullmatch(line)
    if found is None:
        raise Malformed(f"`{shown(line)}` is no status line")
    return int(found[1])


def shown(text: str | bytes | bytearray) -> str:
    """The beginning of what somebody sent, fit to be printed."""
    start = text[:64]
    plain = start if isinstance(start, str) else start.decode("latin-1")
    return plain.encode("unicode_escape").decode("ascii")
