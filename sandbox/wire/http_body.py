"""Where the body of a request ends: counted, or in chunks with trailers (RFC 9112, 6.2 and 7.1)."""

from __future__ import annotations

import re
from typing import Protocol

CHUNK_LINE_MOST = 256
TRAILERS_MOST = 1 << 13
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,12})([ \t]*;[\t -~]*)?")
_TRAILER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t -~\x80-\xff]*")
_NOT_IN_TRAILERS = frozenset((b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection"))


class Body(Protocol):
    """What is left of one body; `take` says how many of the held bytes belong to it for sure."""

    @property
    def done(self) -> bool: ...

    def plain(self, size: int) -> int:
        """How many of the next `size` bytes are body without being looked at, where that can be said."""
        ...

    def take(self, held: bytearray) -> int: ...


class Counted:
    """A body of a known length."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def done(self) -> bool:
        return self._left == 0

    def plain(self, size: int) -> int:
        # The last byte is left to `take`, which ends the body.
        if size >= self._left:
            return 0
        self._left -= size
        return size

    def take(self, held: bytearray) -> int:
        taken = min(self._left, len(held))
        self._left -= taken
        return taken


class Chunked:
    """A body in chunks; sizes, their ends and the trailers are checked as they pass."""

    def __init__(self) -> None:
        self._left = 0
        self._state = "size"
        self._trailers = 0

    @property
    def done(self) -> bool:
        return self._state == "done"

    def plain(self, size: int) -> int:
        if self._state != "data" or size >= self._left:
            return 0
        self._left -= size
        return size

    def take(self, held: bytearray) -> int:
        """Bytes of whole steps only: a size line, some data, the CRLF after it, one trailer line."""
        taken = 0
        while not self.done:
            step = self._step(held, taken)
            if step == 0:
                break
            taken += step
        return taken

    def _step(self, held: bytearray, at: int) -> int:
        if self._state == "data":
            return self._data(len(held) - at)
        if self._state == "end":
            return self._end(held, at)
        end = held.find(b"\r\n", at)
        if end < 0:
            self._check_partial(bytes(held[at:]))
            return 0
        line = bytes(held[at:end])
        if self._state == "size":
            self._size(line)
        else:
            self._trailer(line)
        return end + 2 - at

    def _check_partial(self, part: bytes) -> None:
        most = CHUNK_LINE_MOST if self._state == "size" else TRAILERS_MOST
        if len(part) > most or b"\n" in part or b"\r" in part[:-1]:
            raise ValueError("a chunk or trailer line that is too long, or does not end in CRLF")

    def _data(self, available: int) -> int:
        taken = min(self._left, available)
        self._left -= taken
        if self._left == 0:
            self._state = "end"
        return taken

    def _end(self, held: bytearray, at: int) -> int:
        ahead = bytes(held[at : at + 2])
        if not b"\r\n".startswith(ahead):
            raise ValueError("a chunk that does not end in CRLF")
        if len(ahead) < 2:
            return 0
        self._state = "size"
        return 2

    def _size(self, line: bytes) -> None:
        found = _SIZE_LINE.fullmatch(line) if len(line) <= CHUNK_LINE_MOST else None
        if found is None:
            raise ValueError("not the size of a chunk")
        self._left = int(found[1], 16)
        self._state = "data" if self._left else "trailers"

    def _trailer(self, line: bytes) -> None:
        if not line:
            self._state = "done"
            return
        self._trailers += len(line)
        found = _TRAILER.fullmatch(line)
        if found is None or self._trailers > TRAILERS_MOST:
            raise ValueError("a trailer that is no field, or too many of them")
        if found[1].lower().replace(b"_", b"-") in _NOT_IN_TRAILERS:
            raise ValueError("a trailer that frames or routes the request")
