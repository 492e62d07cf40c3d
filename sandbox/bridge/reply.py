"""An answer of HTTP/1 as its client reads it: bytes in, head and content out (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from sandbox.records import dataclass
from sandbox.wire.http_head import FIELDS_MAX, LINE_MAX, Lines, Malformed, field, shown, status

SKIPPED_MAX = 16
"""Interim answers before the one that counts."""
TRAILER_MAX = 1 << 13
SIZE_LINE_MAX = 256

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\xff]*)?")
_LENGTH = re.compile(r"[0-9]{1,15}")
_BODILESS = frozenset({204, 205, 304})
_SWITCHING = 101
# Fields of which two would say two things; of others the first counts.
_ONCE = frozenset({
    "content-length", "transfer-encoding", "content-type", "content-encoding", "location", "mcp-session-id",
})  # fmt: skip


@lru_cache(maxsize=256)
def _field(line: bytes) -> tuple[str, str]:
    """A server says the same with every answer, mostly."""
    return field(line)


@lru_cache(maxsize=32)
def _status_line(line: bytes) -> tuple[int, str]:
    return status(line), line[5:8].decode("ascii")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and fields, by their names in small letters."""

    status: int
    fields: Mapping[str, str]
    version: str

    @property
    def kind(self) -> str:
        """The media type, without its parameters."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may serve another request after this answer."""
        options = [one.strip() for one in self.fields.get("connection", "").lower().split(",")]
        return "close" not in options and (self.version == "1.1" or "keep-alive" in options)


class Reply:
    """Reads one answer; raises `Malformed` at what is none, and never holds more than a head."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.ended = False
        self.surplus = False
        """Bytes came after the end: nobody knows whose."""
        self._lines = Lines()
        self._left: int | None = 0
        self._trailer = 0
        self._skipped = 0
        self._status: tuple[int, str] | None = None
        self._fields: dict[str, str] = {}
        self._count = 0
        self._step: Callable[[list[bytes]], bool] = self._head_line

    def feed(self, data: bytes) -> bytes:
        """The content in these bytes; `head` and `ended` say how far the answer has come."""
        if self._step == self._some and not self._lines.data and len(data) < (self._left or 0):
            self._left = (self._left or 0) - len(data)
            return data
        self._lines.data += data
        content: list[bytes] = []
        while not self.ended and self._step(content):
            pass
        self._lines.take()
        self.surplus = self.ended and bool(self._lines.data)
        return content[0] if len(content) == 1 else b"".join(content)

    def close(self) -> None:
        """The connection has ended: that is an answer's end where it named none."""
        if self._step == self._until_close:
            self.ended = True
        if not self.ended:
            raise Malformed("an answer that breaks off")

    # --- the head ------------------------------------------------------------------------------------

    def _head_at_once(self) -> bool:
        """A head that has come whole, as it mostly does; any doubt is left to who goes line by line."""
        data, start = self._lines.data, self._lines.at
        end = data.find(b"\r\n\r\n", start, start + LINE_MAX)
        head = bytes(data[start:end]) if end > start else b""
        lines = head.split(b"\r\n")
        if not head or not head.count(b"\n") == head.count(b"\r") == len(lines) - 1:
            return False
        self._lines.at = end + 4
        for line in lines[1:]:
            self._add(line)
        self._end_head(*_status_line(lines[0]))
        return True

    def _head_line(self, _content: list[bytes]) -> bool:
        if self._status is None and self._head_at_once():
            return True
        line = self._lines.head_line("a status line" if self._status is None else "a field", LINE_MAX)
        if line is None:
            return False
        if self._status is None:
            self._status = _status_line(line)
        elif line:
            self._add(line)
        else:
            self._end_head(*self._status)
        return True

    def _add(self, line: bytes) -> None:
        self._count += 1
        if self._count > FIELDS_MAX:
            raise Malformed(f"more than {FIELDS_MAX} fields")
        name, value = _field(line)
        if name == "connection" and name in self._fields:
            value = f"{self._fields[name]},{value}"
        elif name in self._fields:
            if name in _ONCE and self._fields[name] != value:
                raise Malformed(f"two fields `{name}`")
            return
        self._fields[name] = value

    def _end_head(self, status: int, version: str) -> None:
        if status == _SWITCHING:
            raise Malformed("a change of protocols that nobody asked for")
        if status < 200:
            self._skip()
            return
        self._step, self._left = self._body(status)
        self.head = Head(status, self._fields, version)
        self.ended = self._left == 0 and self._step == self._some

    def _skip(self) -> None:
        self._skipped += 1
        if self._skipped > SKIPPED_MAX:
            raise Malformed(f"more than {SKIPPED_MAX} interim answers")
        self._status, self._fields, self._count = None, {}, 0
        self._lines.take()

    def _body(self, status: int) -> tuple[Callable[[list[bytes]], bool], int | None]:
        """How the body is read, and the bytes of it that are known to come."""
        if status in _BODILESS:
            return self._some, 0
        if self._fields.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise Malformed("a Content-Encoding that nobody asked for")
        coding, length = self._fields.get("transfer-encoding"), self._fields.get("content-length")
        if coding is not None:
            if coding.lower() != "chunked" or length is not None:
                raise Malformed(f"Transfer-Encoding `{shown(coding)}`, or a length beside it")
            return self._size_line, None
        if length is None:
            return self._until_close, None
        if not _LENGTH.fullmatch(length):
            raise Malformed(f"Content-Length `{shown(length)}`")
        return self._some, int(length)

    # --- the body ------------------------------------------------------------------------------------

    def _take(self, most: int, content: list[bytes]) -> int:
        lines = self._lines
        size = min(most, len(lines.data) - lines.at)
        if size:
            content.append(bytes(memoryview(lines.data)[lines.at : lines.at + size]))
            lines.at += size
        return size

    def _some(self, content: list[bytes]) -> bool:
        self._left = (self._left or 0) - self._take(self._left or 0, content)
        self.ended = self._left == 0
        return False

    def _until_close(self, content: list[bytes]) -> bool:
        self._take(len(self._lines.data), content)
        return False

    def _size_line(self, _content: list[bytes]) -> bool:
        line = self._lines.line("a chunk's size", SIZE_LINE_MAX)
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise Malformed(f"`{shown(line)}` is no chunk's size")
        self._left = int(found[1], 16)
        self._step = self._chunk if self._left else self._trailer_line
        return True

    def _chunk(self, content: list[bytes]) -> bool:
        self._left = (self._left or 0) - self._take(self._left or 0, content)
        if self._left:
            return False
        self._step = self._chunk_end
        return True

    def _chunk_end(self, _content: list[bytes]) -> bool:
        line = self._lines.line("a chunk's end", 0)
        if line is None:
            return False
        self._step = self._size_line
        return True

    def _trailer_line(self, _content: list[bytes]) -> bool:
        line = self._lines.line("a trailer", TRAILER_MAX - self._trailer)
        if line is None:
            return False
        self._trailer += len(line)
        if line:
            field(line)
        self.ended = not line
        return True
