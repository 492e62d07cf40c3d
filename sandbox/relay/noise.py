"""Lines of a server's stdout that are no messages: counted, and reported a few times a second at most."""

from __future__ import annotations

from sandbox.event import Event, Value

REPORTS_PER_SECOND = 5


class NoiseTally:
    """Sums noise so that a server that chatters costs a bounded number of events."""

    def __init__(self) -> None:
        self._lines = 0
        self._bytes = 0
        self._second = -1
        self._reports = 0

    def add(self, size: int, now: float) -> Event | None:
        """Count one line of `size` bytes; the event that is due, or None to stay quiet for now."""
        self._lines += 1
        self._bytes += size
        if int(now) != self._second:
            self._second, self._reports = int(now), 0
        self._reports += 1
        return self.rest() if self._reports <= REPORTS_PER_SECOND else None

    def rest(self) -> Event | None:
        """The event for everything counted and not yet reported."""
        if not self._lines:
            return None
        detail: dict[str, Value] = {"lines": self._lines, "bytes": self._bytes}
        self._lines = self._bytes = 0
        return Event("relay.noise", detail, "stdout carries messages only")
