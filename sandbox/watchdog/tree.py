"""What a tree of processes uses, summed up from /proc where no cgroup counts for us."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.watchdog import processes
from sandbox.watchdog.meter import Usage
from sandbox.watchdog.processes import Process


class TreeMeter:
    """All descendants of `root`, process 1 of a pid namespace; beyond `limit` memory is counted exactly."""

    def __init__(self, root: int, limit: int | None = None) -> None:
        self._root = root
        self._limit = limit
        self._peak = 0
        self._ended: dict[tuple[int, int], float] = {}

    def watched(self) -> Mapping[int, int]:
        """The kernel tells nothing here."""
        return {}

    def measure(self) -> Usage:
        """Memory is what is resident, an upper bound, until that passes the limit: then it is exact."""
        found = processes.tree(self._root)
        memory = sum(one.resident for one in found)
        if self._limit is not None and memory > self._limit:
            # Forked children share most pages. Only the exact number is a breach.
            memory = sum(_share(one) for one in found)
        self._peak = max(self._peak, memory)
        inside = [one for one in found if one.pid != self._root]
        return Usage(
            memory=memory,
            peak=self._peak,
            pids=sum(one.threads for one in inside),
            processes=tuple(one.pid for one in inside),
            cpu=self._cpu(found),
        )

    def _cpu(self, found: list[Process]) -> float:
        """Of the living and of whom they waited for; who was not waited for counts as last seen."""
        now = {(one.pid, one.started): one.cpu for one in found}
        waited = sum(one.waited for one in found)
        self._ended |= now
        if len(self._ended) > 2 * len(now) + _REMEMBERED:
            self._forget(now)
        return max(sum(self._ended.values()), sum(now.values()) + waited)

    def _forget(self, now: dict[tuple[int, int], float]) -> None:
        """Folds the dead into one number: a bomb of short-lived processes takes no memory of ours."""
        dead = sum(cpu for key, cpu in self._ended.items() if key not in now)
        self._ended = {_DEAD: dead, **now}

    def close(self) -> None:
        """Holds nothing."""


_REMEMBERED = 1024
_DEAD = (0, 0)


def _share(one: Process) -> int:
    """Not ours to read (process 1 is not dumpable): the larger number stands, never none."""
    exact = processes.proportional(one.pid)
    return one.resident if exact is None else exact
