"""Calls of many sandboxes at one pace each, by one thread that sleeps between them."""

from __future__ import annotations

import heapq
import select
import time
from collections.abc import Sequence

from crowding.guest import Guest
from crowding.member import ANSWER_S, Failed, Member


class Pulse:
    """Each member calls `pace` times a second; one that has not answered in time is left until it has."""

    def __init__(self, members: Sequence[Member | Guest], pace: float) -> None:
        self._members = {member.fd: member for member in members}
        self._every = 1 / pace
        self.times: list[float] = []
        """Seconds of every call."""
        self.errors: list[str] = []
        self.late = 0
        """Calls that were made later than their moment, because the one before had no answer yet."""

    def run(self, seconds: float) -> float:
        """Calls until the time is up and every answer is there; the seconds that took."""
        began = time.perf_counter()
        poll = select.poll()
        due = []
        for number, fd in enumerate(self._members):
            poll.register(fd, select.POLLIN)
            # Spread over the first period: a crowd is not in step.
            heapq.heappush(due, (began + self._every * number / len(self._members), fd))
        waiting: dict[int, float] = {}
        while due or waiting:
            now = time.perf_counter()
            while due and due[0][0] <= now:
                moment, fd = heapq.heappop(due)
                if moment < began + seconds:
                    self._send(fd, moment, waiting)
            self._hear(poll, due, waiting, due[0][0] - now if due else 1.0)
            self._give_up(waiting)
        return time.perf_counter() - began

    def _send(self, fd: int, moment: float, waiting: dict[int, float]) -> None:
        self.late += time.perf_counter() - moment > self._every
        try:
            self._members[fd].send()
            waiting[fd] = moment
        except OSError as error:
            self.errors.append(str(error))

    def _hear(
        self, poll: select.poll, due: list[tuple[float, int]], waiting: dict[int, float], seconds: float
    ) -> None:
        for fd, _ in poll.poll(max(0.0, seconds) * 1000):
            try:
                took = self._members[fd].hear()
            except (Failed, OSError, ValueError) as error:
                self.errors.append(str(error))
                poll.unregister(fd)
                waiting.pop(fd, None)
                continue
            if took is not None and fd in waiting:
                self.times.append(took)
                heapq.heappush(due, (waiting.pop(fd) + self._every, fd))

    def _give_up(self, waiting: dict[int, float]) -> None:
        now = time.perf_counter()
        for fd in [fd for fd, sent in waiting.items() if now - sent > ANSWER_S]:
            self.errors.append(f"no answer within {ANSWER_S:.0f} s")
            del waiting[fd]
