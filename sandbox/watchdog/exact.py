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
"""Seconds after which it is counted anew, and how many times what counting took of a processor."""
SOON_S, SOON = 0.05, 4
"""The same where somebody went and somebody came, who may have all that the former had."""
NEW, NEW_S = 2 << 20, 0.005
"""Bytes of who is new that are worth counting, and what that may take of a processor at one look."""
Key = tuple[int, int]


class Exact:
    """Never more than there is, but for processes that nobody may look into."""

    def __init__(self) -> None:
        self._shares: dict[Key, tuple[int, int]] = {}
        self._mapped = 0
        self._due = self._soon = self._patience = 0.0
        self._handed_on = False
        self.cost = 0.0
        """Seconds of a processor that the last look took for counting anew."""

    def note(self, found: list[Process], *, near: bool = False) -> None:
        """Remember what each has when it is first seen: whatever it gets later is its own.

        `near` the limit the share of who is new is counted now, while that is quickly done.
        """
        came = {_key(one): one for one in found if _key(one) not in self._shares}
        went = self._shares.keys() - {_key(one) for one in found}
        self._handed_on |= bool(came and went)
        for key in went:
            del self._shares[key]
        until = time.thread_time() + NEW_S
        for key, one in came.items():
            has = processes.own(one.living)
            counted = near and has > NEW and time.thread_time() < until
            exact = processes.proportional(one.living) if counted else None
            # Whoever came later shares all of it with whom it came from, for what is known.
            self._shares[key] = exact[0] if exact else 0, has

    def measure(self, found: list[Process], hidden: int, limit: int = 0, *, growing: bool = False) -> int:
        """Bytes; of shared memory what is mapped somewhere, or `hidden`, all there is, if that is more.

        What is beyond `limit` for certain is not counted anew, and while memory is `growing` that is put off:
        to count many pages takes long, and longer on a busy machine.
        """
        own = {_key(one): processes.own(one.living) for one in found}
        self.cost = 0.0
        known, now = self._known(own, hidden), time.monotonic()
        if not growing or not self._patience:
            self._patience = now + AGAIN_S
        due = self._soon if self._handed_on else self._due
        if (limit and known > limit) or now < due or (growing and now < self._patience):
            return known
        self._count(found, own)
        self._handed_on = False
        now = time.monotonic()
        self._due = self._patience = now + max(AGAIN_S, AGAIN * self.cost)
        self._soon = now + max(SOON_S, SOON * self.cost)
        return self._known(own, hidden)

    def begin(self, found: list[Process]) -> None:
        """Count those that are there at first, while they are small."""
        if not self._shares:
            self._count(found, {_key(one): processes.own(one.living) for one in found})

    def _known(self, own: dict[Key, int], hidden: int) -> int:
        pairs = ((*self._shares.get(key, (0, has)), has) for key, has in own.items())
        total = sum(max(0, share + has - then) for share, then, has in pairs)
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
