"""Which denials are told one by one, and which are only counted: a flood must not fill the log (P).

The first of each kind is told: `distinct` kinds at once, and `refill` more with every sum that is taken, so
that noise hides nothing for good. Repetitions and what comes beyond are counted, the latest of them named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from sandbox.records import dataclass

DISTINCT, REFILL = 512, 1
LAST = 8
_REMEMBERED = 1 << 14


@dataclass(frozen=True, slots=True)
class Sums:
    """What was not told by itself since the last time."""

    repeated: int = 0
    further: int = 0
    """Beyond what is told one by one: they may be new ones."""
    last: tuple[str, ...] = ()
    """The latest of the further ones."""


class Tally:
    """Counts what is not told."""

    def __init__(self, distinct: int = DISTINCT, refill: int = REFILL) -> None:
        self._distinct = self._left = distinct
        self._refill = refill
        self._told: set[Hashable] = set()
        self._repeated = self._further = 0
        self._last: deque[str] = deque(maxlen=LAST)

    def first(self, kind: Hashable, shown: str = "") -> bool:
        """True where this one is to be told by itself; `shown` names it in a sum."""
        if kind in self._told:
            self._repeated += 1
            return False
        if self._left == 0:
            self._further += 1
            self._last.append(shown)
            return False
        if len(self._told) >= _REMEMBERED:
            self._told.clear()  # some are then told once more
        self._left -= 1
        self._told.add(kind)
        return True

    def add(self, further: int) -> None:
        """Counts what nobody could look at."""
        self._further += further

    def take(self) -> Sums:
        """The sums since the last time; from now on some more are told one by one."""
        self._left = min(self._distinct, self._left + self._refill)
        taken = Sums(self._repeated, self._further, tuple(dict.fromkeys(self._last)))
        self._repeated = self._further = 0
        self._last.clear()
        return taken
