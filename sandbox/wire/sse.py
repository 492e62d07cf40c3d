"""Server-sent events: bytes in, events out, and events as bytes (WHATWG HTML 9.2, Server-sent events).

Data stays bytes: whether it is UTF-8, and a message, is judged by those who read messages.
"""

from __future__ import annotations

import re

from sandbox.records import dataclass

DATA_MAX = 10 << 20
"""Bytes of one event's data, and of one line."""
ID_MAX = 1024
NAME_MAX = 128
RETRY_MAX = 10**9
"""Milliseconds; who asks for more has asked for this."""

KEEP_ALIVE = b":\n\n"
"""A comment: it tells both ends that the stream still stands, and is no event."""

_RETRY_DIGITS = len(str(RETRY_MAX))
_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_BREAKS = re.compile(r"[\x00\r\n]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Malformed(ValueError):
    """No stream of events within its bounds, and why."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is the last one that the stream has named, `retry` what this event asks for."""

    event: str
    data: bytes
    id: str
    retry: int | None


class Decoder:
    """Cuts a stream into events, at each line end as soon as it is there; holds at most two of `most` bytes.

    `last_id` and `retry` count also where no event came with them, as the standard has it. What the end of
    the stream leaves unfinished is no event.
    """

    def __init__(self, most: int = DATA_MAX) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self._most = most
        self._line_max = most + NAME_MAX
        self._held = bytearray()  # of a line that has not ended
        self._begun = False
        self._after_cr = False
        self._id = ""
        self._event = ""
        self._data: bytes | bytearray | None = None
        self._retry: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that end here; how the stream was cut into chunks makes no difference."""
        lines = self._lines(chunk)
        self._hold(lines[0])
        if len(lines) == 1:
            return []
        first = bytes(self._held) if self._begun else self._first()
        self._held = bytearray()
        found: list[Event] = []
        self._take(first, found)
        for at in range(1, len(lines) - 1):
            self._take(lines[at], found)
        self._hold(lines[-1])
        return found

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The chunk in lines, the last of which has not ended."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk.split(b"\n")

    def _hold(self, part: bytes) -> None:
        self._bound(len(self._held) + len(part), self._line_max, "one line")
        self._held += part

    def _first(self) -> bytes:
        """The stream's first line; one mark of the byte order before it is none of its text."""
        self._begun = True
        return bytes(self._held.removeprefix(_BOM))

    def _take(self, line: bytes, found: list[Event]) -> None:
        if not line:
            self._dispatch(found)
            return
        self._bound(len(line), self._line_max, "one line")
        if line.startswith(b"data: "):  # nearly always, and perhaps long: one copy less
            self._add(line[6:])
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._bound(len(value), NAME_MAX, "an event's name")
            self._event = _text(value, "an event's name")
        elif name == b"id":
            self._name(value)
        elif name == b"retry" and value.isdigit():
            self.retry = self._retry = min(int(value.lstrip(b"0")[:_RETRY_DIGITS] or b"0"), RETRY_MAX)

    def _add(self, value: bytes) -> None:
        if self._data is None:
            self._data = value
        else:
            self._data = data = bytearray(self._data) if isinstance(self._data, bytes) else self._data
            data += b"\n" + value
        self._bound(len(self._data), self._most, "one event's data")

    def _name(self, value: bytes) -> None:
        self._bound(len(value), ID_MAX, "an event's id")
        if b"\0" not in value:
            self._id = _text(value, "an event's id")

    def _dispatch(self, found: list[Event]) -> None:
        self.last_id = self._id
        if self._data is not None:
            found.append(Event(self._event or "message", bytes(self._data), self._id, self._retry))
        self._clear()

    def _clear(self) -> None:
        self._event, self._data, self._retry = "", None, None

    def _bound(self, size: int, most: int, what: str) -> None:
        if size > most:
            raise Malformed(f"more than {most} bytes of {what}")


def _text(value: bytes, what: str) -> str:
    """Fit for a header and for a log: an id is sent back, as `Last-Event-ID`."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Malformed(f"{what} is not UTF-8") from None
    if _CONTROL.search(text):
        raise Malformed(f"a control character in {what}")
    return text


def encode(data: bytes, *, event: str = "", id: str = "", retry: int | None = None) -> bytes:
    """One event as it is sent; a `Decoder` reads the same, with the line ends of `data` as LF."""
    if _BREAKS.search(event) or _BREAKS.search(id):
        raise ValueError("a line ends within an event's name or id")
    head = f"event: {event}\n" if event else ""
    if id:
        head += f"id: {id}\n"
    if retry is not None:
        head += f"retry: {retry}\n"
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_ENDS.split(data))
    return b"%sdata: %s\n\n" % (head.encode(), data)
