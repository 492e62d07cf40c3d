"""Cuts a connection's bytes into requests, in the one reading that no proxy before us can differ from.

Sans-IO: `feed` bytes, then ask for the `head` and, when its sender may send one, the `body`. Nothing is held
but a head of bounded size and as much of a body as its reader agreed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sandbox.records import dataclass
from sandbox.wire.http_body import SIZE_LINE_MAX, TRAILER_MAX
from sandbox.wire.http_head import Head, Lines, Malformed, field, refuse_begun

HEAD_MAX = 1 << 14
LINE_MAX = 1 << 12
FIELDS_MAX = 64
# A list in many fields is one field to HTTP, but no client of MCP sends these twice: whoever does means to
# show one value to us and another to somebody else.
_LISTS = frozenset({"accept", "accept-encoding", "accept-language", "via", "x-forwarded-for", "forwarded"})
_CHUNKS_MAX, _CHUNK_MEAN = 1024, 256
"""So many chunks may be of any size; more of them only of so many bytes in the mean: each costs time."""
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e]*)?")


class Wrong(Exception):
    """A request that cannot be read, with the status that says so; nothing behind it is read either."""

    def __init__(self, status: int, code: str, why: str) -> None:
        super().__init__(why)
        self.status, self.code, self.why = status, code, why


@dataclass(frozen=True, slots=True)
class Asked:
    """A request's head; `size` is None where the body comes in chunks."""

    method: str
    target: str
    version: str
    headers: Mapping[str, str]
    size: int | None

    def keeps_alive(self) -> bool:
        """Whether another request may follow on this connection."""
        options = {one.strip().lower() for one in self.headers.get("connection", "").split(",")}
        return self.version == "1.1" and "close" not in options

    def waits(self) -> bool:
        """Whether the body is only sent once somebody says that it may be (RFC 9110 10.1.1)."""
        return self.version == "1.1" and "expect" in self.headers


class Reader:
    """The bytes of one connection that have come and are not understood yet."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._body: _Sized | _Chunked | None = None
        self._line_is_sound = False
        self._known: dict[bytes, tuple[str, str]] = {}

    def feed(self, data: bytes) -> None:
        """Takes the next bytes."""
        self._lines.data += data

    @property
    def held(self) -> int:
        """Bytes that wait to be understood."""
        return len(self._lines.data)

    def head(self) -> Asked | None:
        """The next request's head once it is whole; raises as soon as it can be none."""
        data = self._lines.data
        end = data.find(b"\r\n\r\n")
        _refuse_size(data, end)
        if end < 0:
            self._refuse_begun()
            return None
        self._line_is_sound = False
        raw = bytes(data[:end])
        del data[: end + 4]
        with _readable():
            return self._understood(raw)

    def _understood(self, raw: bytes) -> Asked:
        _refuse_odd_ends(raw)
        first, *lines = raw.split(b"\r\n")
        if len(lines) > FIELDS_MAX:
            raise Wrong(431, "too-many-fields", f"more than {FIELDS_MAX} fields")
        head, known = Head(first), self._known
        # A client's requests on one connection are alike: what was read in the one before is not read again.
        self._known = {line: known.get(line) or _field(line) for line in lines}
        headers = _headers(head, [self._known[line] for line in lines])
        return Asked(head.method, head.target, head.version, headers, head.body())

    def _refuse_begun(self) -> None:
        """A head that is not whole yet is refused at once where it never can be one."""
        data = self._lines.data
        with _readable():
            _refuse_odd_ends(data[:-1] if data.endswith(b"\r") else data)
            line = data.find(b"\r\n")
            if line < 0:
                refuse_begun(data)
            elif not self._line_is_sound:
                Head(bytes(data[:line]))
                self._line_is_sound = True

    def body(self, asked: Asked, most: int) -> bytes | None:
        """The whole body of the request whose head came last, once it is there."""
        if self._body is None:
            self._body = _Chunked(most) if asked.size is None else _Sized(asked.size)
        content = self._body.take(self._lines)
        if content is not None:
            self._body = None
        return content


def _refuse_size(data: bytearray, end: int) -> None:
    if end >= HEAD_MAX or (end < 0 and len(data) > HEAD_MAX):
        raise Wrong(431, "head-too-large", f"a head of more than {HEAD_MAX} bytes")
    line = data.find(b"\r\n", 0, LINE_MAX + 2)
    if line < 0 and len(data) > LINE_MAX + 1:
        raise Wrong(414, "line-too-long", f"a request's line of more than {LINE_MAX} bytes")


def _refuse_odd_ends(data: bytes | bytearray) -> None:
    if data.count(b"\n") != data.count(b"\r\n") or data.count(b"\r") != data.count(b"\r\n"):
        raise Malformed("a line that does not end in CRLF")


class _readable:
    """What the parser of the wire calls malformed is status 400 here."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Malformed):
            raise Wrong(400, "malformed", str(error)) from None


def _headers(head: Head, fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in fields:
        head.fields.keep(name, value)
        if name in headers and name not in _LISTS:
            raise Malformed(f"the field `{name}` more than once")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "host" not in headers:
        raise Wrong(400, "no-host", "a request without Host")
    return headers


def _field(line: bytes) -> tuple[str, str]:
    name, value = field(line)
    if "_" in name:  # what stands behind CGI and its like takes it for `-`
        raise Malformed(f"the field `{name}` with `_`")
    return name, value


class _Sized:
    def __init__(self, size: int) -> None:
        self._size = size

    def take(self, lines: Lines) -> bytes | None:
        if len(lines.data) < self._size:
            return None
        lines.at = self._size
        return lines.take()


class _Chunked:
    """A body in chunks (RFC 9112 7.1): extensions are overlooked, a trailer has no place here."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._whole = bytearray()
        self._left = self._count = 0
        self._step = self._size_line

    def take(self, lines: Lines) -> bytes | None:
        with _readable():
            while (going := self._step(lines)) is True:
                lines.take()
        return None if going is None else bytes(self._whole)

    def _size_line(self, lines: Lines) -> bool | None:
        line = lines.line("a chunk's size", SIZE_LINE_MAX)
        if line is None:
            return None
        self._left = _chunk_size(line)
        if self._left > self._most - len(self._whole):
            raise Wrong(413, "body-too-large", f"a body of more than {self._most} bytes")
        self._count += 1
        if self._count > _CHUNKS_MAX + len(self._whole) // _CHUNK_MEAN:
            raise Wrong(400, "tiny-chunks", "a body in many tiny chunks")
        self._step = self._content if self._left else self._last_line
        return True

    def _content(self, lines: Lines) -> bool | None:
        size = min(self._left, len(lines.data))
        self._whole += lines.data[:size]
        del lines.data[:size]
        self._left -= size
        if self._left:
            return None
        self._step = self._chunk_end
        return True

    def _chunk_end(self, lines: Lines) -> bool | None:
        if lines.line("a chunk's end", 0) is None:
            return None
        self._step = self._size_line
        return True

    def _last_line(self, lines: Lines) -> bool | None:
        line = lines.line("a trailer", TRAILER_MAX)
        if line:
            raise Malformed("a trailer")
        if line is None:
            return None
        lines.take()
        return False


def _chunk_size(line: bytes) -> int:
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None:
        raise Malformed("a chunk's size that is no hexadecimal number")
    return int(found[1], 16)
