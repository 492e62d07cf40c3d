"""What a server answers to an upgrade, which says how the client's bytes go on (RFC 9110 7.8, 15.2)."""

from __future__ import annotations

from sandbox.records import dataclass
from sandbox.wire.http_head import LINE_MAX, Fields, Lines, Malformed, shown, status

SKIPPED_MAX = 16
"""Interim answers before the one that counts."""
_SWITCHING = 101
_BEGINS = b"HTTP/1."


@dataclass(frozen=True, slots=True)
class Answer:
    """The final status, or 101 and the protocols that the connection changes to."""

    status: int
    upgrade: tuple[str, ...]


class AnswerReader:
    """Reads the answer to the first request of a connection; only observes, so nothing comes back out."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._status = 0
        self._fields: Fields | None = None
        self._skipped = 0
        self._answer: Answer | None = None

    def feed(self, data: bytes) -> Answer | None:
        """The answer, once it is known; from then on always the same."""
        if self._answer is not None:
            return self._answer
        self._lines.data += data
        while self._answer is None and (line := self._line()) is not None:
            self._answer = self._read(line)
        return self._answer

    def _line(self) -> bytes | None:
        if self._fields is not None:
            return self._lines.head_line("an answer's field")
        line = self._lines.head_line("a status line", LINE_MAX)
        begun = self._lines.data[: len(_BEGINS)]
        if not _BEGINS.startswith(begun):
            raise Malformed(f"`{shown(begun)}` begins no answer")
        return line

    def _read(self, line: bytes) -> Answer | None:
        if self._fields is None:
            return self._begin(status(line))
        if line:
            self._fields.add(line)
            return None
        return self._end(self._fields)

    def _begin(self, status: int) -> Answer | None:
        if status >= 200:
            return Answer(status, ())
        self._status, self._fields = status, Fields()
        return None

    def _end(self, fields: Fields) -> Answer | None:
        if self._status == _SWITCHING:
            return Answer(_SWITCHING, fields.listed("upgrade"))
        self._skipped += 1
        if self._skipped > SKIPPED_MAX:
            raise Malformed(f"more than {SKIPPED_MAX} interim answers")
        self._fields = None
        self._lines.take()
        return None
