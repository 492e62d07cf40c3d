"""Lines of a byte stream, as they came; one that is too long to hold passes in pieces (P)."""

from __future__ import annotations

from sandbox.wire.jsonrpc import Frame, FrameReader

Piece = tuple[bytes, bool]
"""Some bytes, and whether they are a whole line."""


class Lines:
    """Cuts a byte stream after each LF and changes no byte of it; holds at most `cap` bytes and a chunk."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._held = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> list[Piece]:
        """The lines that are whole now, and the pieces of one longer than `cap`."""
        found: list[Piece] = []
        start = 0
        while (end := chunk.find(b"\n", start) + 1) > 0:
            self._held += chunk[start:end]
            found.append((self._taken(), not self._too_long))
            self._too_long = False
            start = end
        self._held += chunk[start:]
        if len(self._held) > self._cap or (self._too_long and self._held):
            self._too_long = True
            found.append((self._taken(), False))
        return found

    def rest(self) -> list[Piece]:
        """What the end of the stream leaves without its LF."""
        return [(self._taken(), not self._too_long)] if self._held else []

    def _taken(self) -> bytes:
        taken, self._held = bytes(self._held), bytearray()
        return taken


def message(piece: Piece, cap: int) -> Frame | None:
    """The message that a whole line is, or None for what whoever reads it will refuse."""
    line, whole = piece
    if not whole:
        return None
    reader = FrameReader(cap)
    found = reader.feed(line) or reader.close()
    return found[0] if len(found) == 1 and isinstance(found[0], Frame) else None
