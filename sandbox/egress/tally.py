"""Which denials are told one by one, and which are only counted: a flood must not fill the log (P).

The first of each kind is told, up to `distinct` kinds; repetitions and what comes beyond are counted, and
told in sums.
"""

from __future__ import annotations

from collections.abc import Hashable

DISTINCT = 512


class Tally:
    """Counts what is not told."""

    def __init__(self, distinct: int = DISTINCT) -> None:
        self._distinct = distinct
        self._told: set[Hashable] = set()
        self.repeated = 0
        self.further = 0
        """Of kinds beyond the first `distinct`: they may be new ones."""

    def first(self, kind: Hashable) -> bool:
        """True where this one is to be told by itself."""
        if kind in self._told:
            self.repeated += 1
            return False
        if len(self._told) >= self._distinct:
            self.further += 1
            return False
        self._told.add(kind)
        return True

    def take(self) -> tuple[int, int]:
        """How many repetitions and how many further ones since the last time."""
        taken = self.repeated, self.further
        self.repeated = self.further = 0
        return taken
