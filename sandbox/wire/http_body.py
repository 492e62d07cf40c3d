"""Where the body of an HTTP/1 request ends: by its length, or chunk by chunk (RFC 9112 6 and 7)."""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.wire.http_head import HEAD_MAX, Lines, Malformed, field, shown

SIZE_LINE_MAX = 256
TRAILER_MAX = 1 << 13
CHUNK_MAX = 1 << 50

# Nothing between size and `;`: the whitespace that RFC 9112 7.1.1 bids us to accept is read in two ways.
# In an extension that is no more than printable no server ends a line.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e]*)?")
_NOT_IN_TRAILER = frozenset({"host", "content-length", "transfer-encoding", "upgrade", "connection"})
# Their bodies have no meaning (RFC 9110 9.3), so that servers overlook them: it calls that out as smuggling.
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
_REQUEST_LINE = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]+(?:[/*]|[A-Za-z0-9][A-Za-z0-9+.-]*:).*[ \t]HTTP/", re.I | re.S
)
_BLANK = b" \t\r\n"
_LINE_END = re.compile(rb"[\r\n]")


class Body:
    """The body of one request, of `size` bytes or, where that is None, in chunks."""

    def __init__(self, method: str, size: int | None) -> None:
        self.ended = size == 0
        self._left = size or 0  # bytes to come that are content for sure
        self._chunked = size is None
        self._step: Callable[[Lines], bool] = self._size_line if self._chunked else self._content
        self._trailer = 0
        self._opening = Opening() if method in _BODILESS else None

    def passes(self, data: bytes) -> bool:
        """True where all of `data` is content and more is to come; it is counted then."""
        if len(data) >= self._left:
            return False
        self._left -= len(data)
        if self._opening is not None:
            self._opening.see(data)
        return True

    def advance(self, lines: Lines) -> bool:
        """Moves `at` behind what is known to be of the body; True once that is all of it."""
        while not self.ended and self._step(lines):
            pass
        return self.ended

    def _content(self, lines: Lines) -> bool:
        size = min(self._left, len(lines.data) - lines.at)
        if self._opening is not None:
            self._opening.see(lines.data[lines.at : lines.at + size])
        lines.at += size
        self._left -= size
        if self._left:
            return False
        if self._chunked:
            self._step = self._chunk_end
        else:
            self._end()
        return True

    def _end(self) -> None:
        self.ended = True
        if self._opening is not None:
            self._opening.close()

    # --- in chunks ----------------------------------------------------------------------------------

    def _size_line(self, lines: Lines) -> bool:
        line = lines.line("a chunk's size", SIZE_LINE_MAX)
        if line is None:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise Malformed(f"`{shown(line)}` is no chunk's size")
        self._left = int(found[1], 16)
        if self._left > CHUNK_MAX:
            raise Malformed(f"a chunk of {self._left} bytes")
        self._step = self._content if self._left else self._trailer_line
        return True

    def _chunk_end(self, lines: Lines) -> bool:
        if not b"\r".startswith(lines.data[lines.at : lines.at + 1]):
            raise Malformed("a chunk that goes on where its size says it ends")
        if lines.line("a chunk's end", 0) is None:
            return False
        self._step = self._size_line
        return True

    def _trailer_line(self, lines: Lines) -> bool:
        """A field after the last chunk: its name ends in `:`, so it is no request line to anybody."""
        line = lines.line("a trailer", TRAILER_MAX - self._trailer)
        if line is None:
            return False
        self._trailer += len(line)
        if not line:
            self._end()
        elif (name := field(line)[0]) in _NOT_IN_TRAILER:
            raise Malformed(f"the field `{name}` in a trailer")
        return True


class Opening:
    """Refuses content that begins like a request: a server that overlooks the body would take it for one.

    Nothing is held for that. Such a request is complete only lines later, and its Host is in one of them.
    """

    def __init__(self) -> None:
        self._open = True
        self._line = bytearray()

    def see(self, content: bytes | bytearray) -> None:
        """Looks at the next bytes, up to the end of the first line that is not blank."""
        if not self._open:
            return
        searched = len(self._line)
        self._line += content[: HEAD_MAX - searched] if searched else content.lstrip(_BLANK)[:HEAD_MAX]
        end = _LINE_END.search(self._line, searched)
        if end is not None:
            del self._line[end.start() :]
        if end is not None or len(self._line) == HEAD_MAX:
            self.close()

    def close(self) -> None:
        """The line is as whole as it gets."""
        if self._open and _REQUEST_LINE.match(self._line):
            raise Malformed(f"a body that begins like a request: `{shown(self._line)}`")
        self._open = False
        self._line.clear()
