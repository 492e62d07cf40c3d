"""What a tree of processes uses, summed up from /proc where no cgroup counts for us."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.watchdog import processes
from sandbox.watchdog.exact import Exact
from sandbox.watchdog.glance import GROWN, Glance
from sandbox.watchdog.meter import Usage
from sandbox.watchdog.processes import Process
from sandbox.watchdog.shared import Shared
from sandbox.watchdog.tables import Tables
from sandbox.watchdog.times import Times

EXACTLY = 0.6
"""The part of the limit from which on pages that processes share are counted once."""
NEAR = 0.3
"""The part of the limit from which on it is known at once what who is new shares."""
FEW = 3
"""So many processes share too little for that to be worth a walk over their pages, short of the limit."""


class TreeMeter:
    """All descendants of `root`, process 1 of a pid namespace; near `limit` memory is counted exactly."""

    def __init__(self, root: int, limit: int | None = None, elsewhere: Callable[[], int] = lambda: 0) -> None:
        """`elsewhere`: bytes in the sandbox's places in memory, which have a limit of their own."""
        self._root = root
        self._limit = limit
        self._peak = 0
        self._resident: int | None = None
        self._times = Times()
        self._exact = Exact()
        self._shared = Shared(elsewhere)
        self._tables = Tables()
        self._read = processes.Reader()
        self._glance = Glance()
        self._found: list[Process] = []

    def watched(self) -> Mapping[int, int]:
        """The kernel tells nothing here."""
        return {}

    def called(self) -> bool:
        """Nobody calls."""
        return False

    def measure(self) -> Usage:
        """Memory is what is resident, an upper bound, until that comes near the limit: then it is exact."""
        found = processes.tree(self._root, self._read)
        self._read.forget()
        hidden = self._shared.at_most(found)
        tables = self._tables.of(found)
        memory = sum(one.resident for one in found) + hidden + tables
        counting = 0.0
        if self._limit is not None:
            self._exact.begin(found)
            self._exact.note(found, near=memory > NEAR * self._limit)
        grew = 0 if self._resident is None else memory - self._resident
        self._resident = memory
        if self._limit is not None and memory > self._limit * self._exact_from(found, grew):
            # Forked children share most pages. Only the exact number is a breach.
            apart = processes.apart(found)
            memory = self._exact.measure(apart, hidden, self._limit, growing=grew > GROWN * self._limit)
            memory += self._tables.of(apart)
            counting = self._exact.cost
        self._peak = max(self._peak, memory)
        self._glance.at(found)
        self._found = found
        inside = [one for one in found if one.pid != self._root]
        return Usage(
            memory=memory,
            peak=self._peak,
            pids=sum(one.threads for one in inside),
            processes=tuple(one.pid for one in inside),
            cpu=self._times.add(found),
            counting=counting,
        )

    def _exact_from(self, found: list[Process], grew: int) -> float:
        """The part of the limit from which it is counted exactly: all of it, while memory grows."""
        return EXACTLY if grew <= GROWN * (self._limit or 0) and len(found) > FEW else 1.0

    def calm(self) -> bool:
        """Whether the same processes have hardly more than before, and no other has begun anywhere."""
        return self._glance.calm(self._limit or 0)

    def halt(self) -> None:
        """Stops whom the last look found, largest first: until their end has its turn they get more."""
        for one in sorted(self._found, key=lambda one: one.resident, reverse=True):
            if one.pid != self._root:
                processes.halt(one)

    def close(self) -> None:
        """Closes every file."""
        self._read.forget()
        self._read.forget()
        self._glance.close()
