"""Passes a server's stderr on, bounded and harmless: its lines must neither flood nor drive a terminal."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from sandbox.relay.outlet import Outlet, read_some
from sandbox.wire.salvage import EDGE

LINE = 8192
RATE = 1 << 20  # bytes a second, and the burst
MARGIN = 4096
"""What is read beyond a line's cap, so that a secret is known which the cap would cut."""
HALF = 256
"""What is not shown at the end of a line that came cut: it may be half a secret."""
TAIL = 8192
QUEUE = 1 << 18  # what waits for a slow reader of our own stderr
OURS = 1 << 15  # what of our own lines waits, beside it
_READ = 1 << 16


def neutralise(line: bytes) -> str:
    """`line` as text in which nothing moves a cursor, changes a title, hides or reorders characters.

    Controls but tab, C1, bidirectional and zero-width characters, line separators and bytes that are not
    UTF-8 become visible escapes; spaces of any script stay.
    """
    return _visible(line.decode("utf-8", "backslashreplace"))


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" or _is_space(c) else _escape(c) for c in text)


def _is_space(character: str) -> bool:
    return character.isspace() and character not in "\x1c\x1d\x1e\x1f\x85\u2028\u2029" and character > "\x9f"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class LineGuard:
    """Cuts bytes into safe lines: at most `line` bytes each, at most `rate` bytes a second (no I/O).

    `clean` takes out of a line what nobody may see. It is given more than is shown of a long one, since it
    would not know a secret that is cut.
    """

    def __init__(
        self,
        *,
        line: int = LINE,
        rate: int = RATE,
        clock: Callable[[], float] = time.monotonic,
        clean: Callable[[str], str] | None = None,
    ) -> None:
        self._line = line
        self._clean = clean
        self._most = line if clean is None else line + MARGIN
        self._rate = rate
        self._clock = clock
        self._allowance = float(rate)
        self._at = clock()
        self._held = bytearray()
        self._cut = 0  # bytes of the current line beyond its cap
        self._dropped = 0  # bytes of whole lines beyond the rate

    def feed(self, chunk: bytes) -> list[str]:
        """The safe lines that `chunk` completes, without line ends."""
        lines: list[str] = []
        *complete, rest = chunk.split(b"\n")
        for piece in complete:
            self._hold(piece)
            self._end_line(lines)
        self._hold(rest)
        return lines

    def close(self) -> list[str]:
        """The last line, if it had no end, and what was dropped and not yet said."""
        lines: list[str] = []
        if self._held or self._cut:
            self._end_line(lines)
        self._own_up(lines)
        return lines

    def whole(self, line: bytes) -> list[str]:
        """The start of a line from elsewhere, under the same bounds, between two of this stream's."""
        lines: list[str] = []
        if self._clean is not None and len(line) >= EDGE:
            line = line[:-HALF]
        self._pass(line[: self._most], max(0, len(line) - self._most), lines)
        return lines

    def drop(self, size: int) -> None:
        """Count `size` bytes that never reached a reader."""
        self._dropped += size

    def _hold(self, piece: bytes) -> None:
        room = self._most - len(self._held)
        self._held += piece[:room]
        self._cut += max(0, len(piece) - room)

    def _end_line(self, lines: list[str]) -> None:
        held, cut = bytes(self._held), self._cut
        self._held.clear()
        self._cut = 0
        self._pass(held, cut, lines)

    def _pass(self, held: bytes, cut: int, lines: list[str]) -> None:
        text, unseen = self._shown(held.removesuffix(b"\r"), cut)
        # What is written counts, not what was read: an escape is up to four times its byte.
        if not self._allows(len(text) + 1):
            self._dropped += len(held) + cut + 1
            return
        self._own_up(lines)
        lines.append(f"{text} … {unseen} bytes dropped" if unseen else text)

    def _shown(self, held: bytes, cut: int) -> tuple[str, int]:
        """What is shown of a line, and how many of its bytes are not."""
        if self._clean is None:
            return neutralise(held), cut
        text = self._clean(held.decode("utf-8", "backslashreplace"))
        if len(held) <= self._line:
            return _visible(text), 0
        # Of a line that is longer still, the end of what was read may be half a secret.
        shown = text[: max(0, min(self._line, len(text) - MARGIN))] if cut else text[: self._line]
        return _visible(shown), cut + len(held) - len(shown.encode("utf-8", "surrogatepass"))

    def _allows(self, size: int) -> bool:
        now = self._clock()
        self._allowance = min(float(self._rate), self._allowance + (now - self._at) * self._rate)
        self._at = now
        if size > self._allowance:
            return False
        self._allowance -= size
        return True

    def _own_up(self, lines: list[str]) -> None:
        if self._dropped:
            lines.append(f"… {self._dropped} bytes dropped")
            self._dropped = 0


class StderrRelay:
    """Drains `source` whatever happens to `sink`: a thread for each, a bounded queue between.

    Our own lines wait in a queue of their own and go first, so that no flood of the server's keeps them
    out. Where a queue is full, the server's newest lines are dropped and counted, and our oldest.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        *,
        line: int = LINE,
        rate: int = RATE,
        queue: int = QUEUE,
        clean: Callable[[str], str] | None = None,
    ) -> None:
        self._source = source
        self._sink = Outlet(sink)
        self._guard = LineGuard(line=line, rate=rate, clean=clean)
        self._queue_cap = queue
        self._queued = 0
        self._lines: deque[bytes] = deque()
        self._ours: deque[bytes] = deque()
        self._ours_size = 0
        self._busy = False
        self._closed = False
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._wake = threading.Condition()
        self._over = False
        self._sink_gone = False
        self.ended = threading.Event()

    def start(self) -> None:
        """Begin to drain, in two daemon threads."""
        for name, work in (("drain", self._drain), ("write", self._write)):
            threading.Thread(target=work, name=f"stderr-{name}", daemon=True).start()

    def log(self, line: bytes) -> None:
        """Put a line that the server wrote elsewhere (stdout noise) among its stderr, as bounded."""
        with self._wake:
            self._offer(self._guard.whole(line))

    def say(self, text: str) -> None:
        """Put a message of our own before what waits; never blocks. Its line ends are the caller's."""
        lines = [neutralise(line.encode("utf-8", "backslashreplace")) for line in text.split("\n")]
        data = "\n".join([*lines, ""]).encode()
        with self._wake:
            self._ours.append(data)
            self._ours_size += len(data)
            while self._ours_size > OURS and len(self._ours) > 1:
                # The newest is kept: it says why the session ends.
                self._ours_size -= len(self._ours.popleft())
            self._wake.notify_all()

    def tail(self) -> str:
        """The last `TAIL` bytes or so that the server said, made safe, for an error report."""
        with self._wake:
            return b"".join(self._tail).decode("utf-8")

    def flush(self, within: float) -> bool:
        """Whether, after at most `within` seconds, the source has ended and everything kept is written."""
        return self.ended.wait(within)

    def close(self, within: float) -> bool:
        """Whether all that we said ourselves is written after at most `within` seconds; nothing follows."""
        with self._wake:
            done = self._wake.wait_for(lambda: not (self._ours or self._busy), within)
            self._closed = True
            self._wake.notify_all()
            return done

    def _drain(self) -> None:
        while chunk := read_some(self._source, _READ):
            with self._wake:
                self._offer(self._guard.feed(chunk))
        with self._wake:
            self._offer(self._guard.close())
            # Said even when the queue is full: it is the only trace of what it could not hold.
            self._lines.extend(line.encode() + b"\n" for line in self._guard.close())
            self._over = True
            self._wake.notify_all()

    def _offer(self, lines: list[str]) -> None:
        """Queue what fits, forget what does not; the tail gets everything."""
        for line in lines:
            data = line.encode() + b"\n"
            self._remember(data)
            if self._sink_gone or self._queued + len(data) > self._queue_cap:
                self._guard.drop(len(data))
                continue
            self._lines.append(data)
            self._queued += len(data)
        self._wake.notify_all()

    def _remember(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size > TAIL and len(self._tail) > 1:
            self._tail_size -= len(self._tail.popleft())

    def _write(self) -> None:
        while data := self._next():
            if not self._sink.send(data):
                self._sink_gone = True
        self.ended.set()

    def _next(self) -> bytes:
        """What to write now, once there is something; empty at the end."""
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while not (self._ours or self._lines or self._closed):
                if self._over:
                    self.ended.set()
                self._wake.wait()
            self._busy = not self._closed
            return b"" if self._closed else self._batch()

    def _batch(self) -> bytes:
        if self._ours:
            said = b"".join(self._ours)
            self._ours.clear()
            self._ours_size = 0
            return said
        batch: list[bytes] = []
        # Not all at once: with a slow reader, what we say meanwhile must not wait for the whole queue.
        size = 0
        while self._lines and size < _READ:
            batch.append(self._lines.popleft())
            size += len(batch[-1])
        self._queued = max(0, self._queued - size)
        return b"".join(batch)
