"""Memory of a tree with each page counted once: by the kernel now and then, in between by what came since.

Counting (smaps_rollup) takes as long as there are pages, and waits for whoever is just getting more: a bomb
would be far beyond its limit by then. What a process got since is its own and is one short read.
"""

from __future__ import annotations

import time

from sandbox.watchdog import processes
from sandbox.watchdog.processes import Process

LONGEST_S = 0.2
"""Of a processor's time; what is not counted by then counts as resident: no number of processes helps."""
AGAIN_S, AGAIN = 0.25, 20
"""Seconds after which it is counted anew, and how many times as long as counting took."""
SOON_S, SOON = 0.05, 4
"""The same where somebody went and somebody came, who may have all that the former had."""
Key = tuple[int, int]


class Exact:
    """Never more than there is, but for processes that nobody may look into."""

    def __init__(self) -> None:
        self._shares: dict[Key, tuple[int, int]] = {}
        self._mapped = 0
        self._due = self._soon = 0.0
        self._handed_on = False
        self.cost = 0.0
        """Seconds of a processor that the last look took for counting anew."""

    def measure(self, found: list[Process], hidden: int) -> int:
        """Bytes; of shared memory what is mapped somewhere, or `hidden`, all there is, if that is more."""
        own = {_key(one): processes.own(one.living) for one in found}
        began = time.monotonic()
        self.cost = 0.0
        came, went = own.keys() - self._shares.keys(), self._shares.keys() - own.keys()
        self._handed_on |= bool(came and went)
        if began >= (self._soon if self._handed_on else self._due):
            self._count(found, own)
            self._handed_on = False
            now = time.monotonic()
            self._due = now + max(AGAIN_S, AGAIN * (now - began))
            self._soon = now + max(SOON_S, SOON * (now - began))
        total = 0
        for key, has in own.items():
            # Whoever came later shares all of it with whom it came from, for what is known.
            share, then = self._shares.setdefault(key, (0, has))
            total += max(0, share + has - then)
        return total + max(0, hidden - self._mapped)

    def _count(self, found: list[Process], own: dict[Key, int]) -> None:
        self._shares, self._mapped = {}, 0
        began = time.thread_time()
        until = began + LONGEST_S
        for one in found:
            exact = processes.proportional(one.living) if time.thread_time() < until else None
            share, mapped = exact or (_resident(one), 0)
            self._shares[_key(one)] = share, own[_key(one)]
            self._mapped += mapped
        self.cost = time.thread_time() - began


def _resident(one: Process) -> int:
    """Not ours to read (process 1 is not dumpable), or too many: the larger number stands, if it is there."""
    still = processes.look(one.pid)
    return still.resident if still is not None and still.started == one.started else 0


def _key(one: Process) -> Key:
    return one.pid, one.started
