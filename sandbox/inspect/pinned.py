"""What is known of one server: the definitions that hold, and those that wait for a person (P)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sandbox.wire.structs import msgspec

MOST_ITEMS: Final = 20_000
"""Pinned items of one kind."""
MOST_WAITING: Final = 2_000
"""Items of one kind that wait for a person; what comes after is withheld all the same."""
LONGEST_TEXT: Final = 128 << 10
"""Bytes of a definition that is kept to be shown: a longer one is nobody's reading."""
MOST_DECIDED: Final = 4_000
MOST_TEXT: Final = 2 << 20
"""Bytes of definitions that are kept to be shown; of what comes after only the digest is."""


class Item(msgspec.Struct, frozen=True):
    """One definition: its digest, and its text without secrets (empty where it found no room)."""

    digest: str
    text: str = ""


Section = dict[str, Item]


class Pinned(msgspec.Struct):
    """The pins of one server, as they are kept.

    `begun` names the kinds whose first list was seen: what is new in them since waits. `open` names those
    that a person allowed to grow.
    """

    server: str
    schema: int = 1
    begun: list[str] = msgspec.field(default_factory=list)
    open: list[str] = msgspec.field(default_factory=list)
    approved: dict[str, Section] = msgspec.field(default_factory=dict)
    waiting: dict[str, Section] = msgspec.field(default_factory=dict)
    decided: list[tuple[str, str, str]] = msgspec.field(default_factory=list)
    """What a person decided since a session last wrote it to its log: what, of which kind, of which item."""

    def holds(self, kind: str) -> Section:
        """The definitions of a kind that hold, by name."""
        return self.approved.get(kind, {})

    def waits(self, kind: str) -> Section:
        """Those that wait for a person."""
        return self.waiting.get(kind, {})

    def first(self, kind: str, items: Mapping[str, Item]) -> None:
        """Pins what is not known yet, and remembers that this kind's list was seen."""
        if kind not in self.begun:
            self.begun.append(kind)
        section = self.approved.setdefault(kind, {})
        room = _room(self.approved)
        for key, item in items.items():
            if key not in section and len(section) < MOST_ITEMS:
                room -= len(item.text)
                section[key] = item if room >= 0 else Item(item.digest)

    def hold(self, kind: str, items: Mapping[str, Item]) -> None:
        """Keeps definitions for a person to look at: the last one of each item."""
        section = self.waiting.setdefault(kind, {})
        for key in items:
            section.pop(key, None)
        room = _room(self.waiting)
        for key, item in items.items():
            if len(section) < MOST_WAITING:
                room -= len(item.text)
                section[key] = item if room >= 0 else Item(item.digest)

    def withdraw(self, kind: str, keys: Iterable[str]) -> None:
        """Forgets what waited: the server has gone back to what holds."""
        section = self.waits(kind)
        for key in keys:
            section.pop(key, None)

    def approve(self, chosen: Mapping[str, Iterable[str]]) -> None:
        """From now on what waited of these items holds."""
        for kind, keys in chosen.items():
            if kind not in self.begun:
                self.begun.append(kind)
            for key in keys:
                self.approved.setdefault(kind, {})[key] = self.waiting[kind].pop(key)
                self.decide("approve", kind, key)

    def grow(self, kind: str) -> None:
        """From now on what is new of this kind is pinned as it comes."""
        if kind not in self.open:
            self.open.append(kind)
            self.decide("grow", kind, "*")

    def decide(self, what: str, kind: str, key: str) -> None:
        """Keeps a decision for the log of the next session."""
        if len(self.decided) < MOST_DECIDED:
            self.decided.append((what, kind, key))


def _room(sections: Mapping[str, Section]) -> int:
    return MOST_TEXT - sum(len(item.text) for section in sections.values() for item in section.values())
