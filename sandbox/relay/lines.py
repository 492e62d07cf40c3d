"""Lines of a byte stream, as they came; one that is too long to hold passes in pieces (P)."""

from __future__ import annotations

from sandbox.wire.jsonrpc import Frame, FrameReader


class Lines:
    """Cuts a byte stream after each LF and changes no byte of it; holds at most `cap` bytes and a chunk."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._held = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that are whole now, and the pieces of one longer than `cap`."""
        found = []
        start = 0
        while (end := chunk.find(b"\n", start) + 1) > 0:
            found.append(self._whole(chunk[start:end]))
            start = end
        self._held += chunk[start:]
        if len(self._held) > self._cap or (self._too_long and self._held):
            self._too_long = True
            found.append(self._taken())
        return found

    def rest(self) -> bytes:
        """What the end of the stream leaves without its LF."""
        return self._taken()

    def _whole(self, end: bytes) -> bytes:
        self._too_long = False
        if not self._held:
            return end
        self._held += end
        return self._taken()

    def _taken(self) -> bytes:
        taken, self._held = bytes(self._held), bytearray()
        return taken


def message(line: bytes, cap: int) -> Frame | None:
    """The message that a whole line is, or None for what whoever reads it will refuse."""
    found = FrameReader(cap).feed(line)
    return found[0] if len(found) == 1 and isinstance(found[0], Frame) else None
