"""From what stands under a key to entries, and from an entry to the least edits that change its command (P)."""

from __future__ import annotations

from typing import Any

from sandbox.clients.words import Edit, Entry, Row


def entries(row: Row, data: Any) -> list[Entry]:
    """The servers in a document's plain values, in its order."""
    raise NotImplementedError


def started_by(entry: Entry, command: str, args: tuple[str, ...]) -> list[Edit]:
    """The least edits after which the client starts `command` with `args` for this entry."""
    raise NotImplementedError
