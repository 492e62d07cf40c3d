"""Processor time of processes one by one, where no cgroup adds it up: who has ended counts as last seen."""

from __future__ import annotations

from collections.abc import Iterable

from sandbox.watchdog.processes import Process

_REMEMBERED = 1024
_DEAD = (0, 0)


class Times:
    """A lower bound: what ran and ended between two looks, and nobody waited for, was never seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], float] = {}

    def add(self, found: Iterable[Process]) -> float:
        """Seconds in all: of the living and of whom they waited for, or of all that were ever seen."""
        living = [*found]
        now = {(one.pid, one.started): one.cpu for one in living}
        self._seen |= now
        if len(self._seen) > 2 * len(now) + _REMEMBERED:
            self._forget(now)
        waited = sum(one.waited for one in living)
        return max(sum(self._seen.values()), sum(now.values()) + waited)

    def _forget(self, now: dict[tuple[int, int], float]) -> None:
        """Folds the dead into one number: a bomb of short-lived processes takes no memory of ours."""
        dead = sum(cpu for key, cpu in self._seen.items() if key not in now)
        self._seen = {_DEAD: dead, **now}
