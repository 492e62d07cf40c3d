"""A client's file: its bytes, its entries, and the bytes with some values changed and nothing else (P)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandbox.clients.words import ConfigError, Edit, Entry, Row

MAX_BYTES = 10 << 20


def parse(content: bytes, format: str, where: str = "the file") -> Document:
    """The document in `content` (`json`, `jsonc`, `toml`, `yaml`), or a `ConfigError` with file, line, fix."""
    raise NotImplementedError


class Document:
    """One file as it was read; it never changes."""

    content: bytes
    format: str
    where: str

    def data(self) -> Any:
        """Everything as plain values."""
        raise NotImplementedError

    def entries(self, row: Row) -> list[Entry]:
        """The servers that the client of `row` finds in it, in the order of the file."""
        raise NotImplementedError

    def edited(self, edits: Sequence[Edit]) -> bytes:
        """The bytes with these values; all bytes outside of what changed are the same."""
        raise NotImplementedError

    def line(self, path: tuple[str | int, ...]) -> int:
        """The line on which the value of `path`, or the nearest that exists around it, begins."""
        raise ConfigError("not-written", "later")
