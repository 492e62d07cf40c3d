"""The words of an update: two versions of a server, and one thing in which they differ (P)."""

from __future__ import annotations

from typing import Any, Literal

from sandbox.looked import Looked
from sandbox.records import dataclass
from sandbox.supply.lock import Lock

Sort = Literal["added", "removed", "changed"]
Level = Literal["error", "warning", "note"]
Rule = Literal[
    "package", "content", "scripts", "publisher", "provenance", "origin", "program", "image", "bundle",
    "place", "file", "size", "server", "tool", "prompt", "resource", "template", "host", "path", "call",
    "tier", "profile", "options", "machine", "finding", "doubt", "unheard", "unchecked",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a server, as far as it is known."""

    lock: Lock
    looked: Looked | None = None
    """None where it did not answer, or nobody looked."""
    manifest: bytes | None = None
    """Every file of its tree; None where it has none, or it is not in the store."""
    tier: str = ""
    """The tier of its system calls."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a person says yes or no to."""

    rule: Rule
    sort: Sort
    name: str
    """What differs: a package, a host, a path, an item's name. It is the server's word."""
    old: Any = None
    new: Any = None
    level: Level = "note"
    words: str = ""
    """The sentence about it; empty where name, old and new say it all."""
