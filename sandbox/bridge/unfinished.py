"""What is held of messages that have not ended, over all streams and answers together."""

from __future__ import annotations

from sandbox.bridge.words import Failed

ALL_MAX = 64 << 20


class Unfinished:
    """Counts it; one more piece than may be held is a failure of the answer that it belongs to."""

    def __init__(self, most: int) -> None:
        self._most = max(ALL_MAX, 2 * most)
        self._held = 0

    def add(self, size: int) -> None:
        """Another piece is held."""
        if self._held + size > self._most:
            raise Failed(f"more than {self._most} bytes of unfinished answers at once")
        self._held += size

    def drop(self, size: int) -> None:
        """So much is held no longer."""
        self._held -= size
