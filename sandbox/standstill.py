"""Whether a sandbox that was stopped stays so: a process can have had SIGCONT sent to itself.

No other process inside can send it, for all of them stand. The kernel does for whoever asked it before: with
the next byte in a pipe (`F_SETSIG` and `O_ASYNC`, fcntl(2)), with a message in a queue (mq_notify(3)), or
with a timer (timer_create(2), in older kernels).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from sandbox.records import dataclass
from sandbox.watchdog import processes

STOPS_S = 5.0
"""Until then one that has not stopped yet may wait for its turn at a processor."""
STOPS_TICKS = 50
"""What it may use meanwhile: it stops on its way out of the kernel, and that may have much to do."""
LEAST_S = 0.1
SPARE_TICKS = 1
"""A thread that stands already may be charged for its last step."""
SHARE = 0.05
"""Of one processor, at most, is what the looks take."""
_AWAKE, _STOPPED, _OVER = "RS", "tT", "ZX"


@dataclass(frozen=True, slots=True)
class Seen:
    """A thread as it was found: its state, and what it had of a processor in ticks."""

    state: str
    ticks: int


class Standstill:
    """The processes below `root`, process 1 of the namespace, which is ours and goes on."""

    def __init__(self, root: int, now: float, stop: Callable[[], None] = lambda: None) -> None:
        """`stop` stops everyone once more: until all were seen to stand, one may have been woken unseen."""
        self._root = root
        self._stop = stop
        self._since = now
        self._next = now
        self._stopped: dict[int, int] = {}
        """Who was seen to stand, and with how many ticks."""
        self._first: dict[int, Seen] | None = None
        """Everyone, as the first look found them."""

    def look(self, now: float) -> tuple[str, float]:
        """Why it does not stand still, or nothing; and the moment of the next look."""
        if now < self._next:
            return "", self._next
        began = time.perf_counter()
        found = dict(_threads(self._root))
        why = self._judge(found, now)
        if not why and found.keys() - self._stopped.keys() and now - self._since <= STOPS_S:
            self._stop()
        self._next = now + max(LEAST_S, (time.perf_counter() - began) / SHARE)
        return why, self._next

    def _judge(self, found: dict[int, Seen], now: float) -> str:
        """A thread that stood moves, one that nobody knew is there, or one has not stopped for long."""
        if self._first is None:
            self._first = found
        for number, seen in found.items():
            first, stood = self._first.get(number), self._stopped.get(number)
            if first is None:
                return "a process began while everything was stopped"
            if stood is None:
                if seen.state in _STOPPED:
                    self._stopped[number] = seen.ticks
                elif self._goes_on(first, seen, now):
                    return "a process did not stop"
            elif seen.state in _AWAKE or seen.ticks > stood + SPARE_TICKS:
                return "a process woke while everything was stopped"
        return ""

    def _goes_on(self, first: Seen, seen: Seen, now: float) -> bool:
        late = seen.state in _AWAKE and now - self._since > STOPS_S
        return late or seen.ticks > first.ticks + STOPS_TICKS


def _threads(root: int) -> Iterator[tuple[int, Seen]]:
    """Every thread that is not over: a process stops with all of them, and each in its own time."""
    waiting = processes.children(root, 1)
    while waiting:
        for thread in _tasks(waiting.pop()):
            # What follows the name in brackets, which is the server's to choose (proc(5), stat).
            words = processes.text(f"{thread}/stat").rpartition(")")[2].split()
            if len(words) >= 22 and words[0] not in _OVER:
                ticks = int(words[11]) + int(words[12])
                yield int(thread.rpartition("/")[2]), Seen(words[0], ticks)
            waiting += map(int, processes.text(f"{thread}/children").split())


def _tasks(pid: int) -> list[str]:
    place = f"/proc/{pid}/task"
    try:
        return [f"{place}/{thread}" for thread in os.listdir(place)]
    except OSError:
        return []
