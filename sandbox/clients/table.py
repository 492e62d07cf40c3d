"""Every client that we know: where its files are, and how it writes a server down (P)."""

from __future__ import annotations

from sandbox.clients.words import Row

ROWS: tuple[Row, ...] = ()


def row(id: str) -> Row | None:
    """The client of that id."""
    return next((one for one in ROWS if one.id == id), None)
