"""Two threads for two directions: one of them waits for both and carries what comes, the other is asleep.

Waking a thread takes longer than a message does, and so does finding the way back into a cold processor: a
call goes there and back in one thread. Whoever must wait for something else than the next message (a side
that does not read, the main loop, the disk), or has a long message in hand, says so first (`apart`): the
other thread then waits for the other direction, and what one side does never holds up the other.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable

from sandbox.relay.outlet import PIECE, READ, Intake

LONG = 1 << 14
"""Bytes that take more than a few hundred microseconds: the other direction does not wait for them."""
FEW = 1 << 10
"""So do several lines of more than that."""
LOOK_S = 0.0002
"""How long is looked for the next message before the thread goes to sleep (`Carriers._await`)."""
IDLE_S = 1.0
"""Without a long message: then whoever has kept something of them may let go of it."""

Waits = Callable[..., list[tuple[int, int]]]


class Lane:
    """One direction: what comes on `fd` goes to `carry`, and its end, or what went wrong, to `end`.

    `carry` says whether a message has begun and not ended.
    """

    def __init__(
        self, fd: int, carry: Callable[[bytes], bool], end: Callable[[BaseException | None], None]
    ) -> None:
        self.carry = carry
        self.end = end
        self.intake = Intake(fd)
        self.taken = False
        """Whether a thread is at work on it."""
        self.ended = False
        self.waited = 1.0
        """Seconds from its last message to whatever came next."""
        self.came = 0
        """Bytes of the message that is under way."""


class Carriers:
    """The threads of one relay."""

    def __init__(self, one: Lane, other: Lane, idle: Callable[[], None] = lambda: None) -> None:
        """`idle` is called once after long messages, when none has come for a while and nothing is to do."""
        self._lanes = (one, other)
        self._idle = idle
        self._by_fd = {lane.intake.fd: lane for lane in self._lanes}
        self._lead = threading.Lock()
        """Whoever has it waits for every lane that is not taken."""
        self._leader = 0
        self._left = 0
        self._again = -1
        """Tells a leader that a lane is there again."""
        self._polls: dict[tuple[bool, bool], Waits] = {}
        self._due = 0.0
        """The monotonic moment from which `idle` may be called; 0 where there was no long message."""
        # With one processor, whoever looks keeps the other side from answering.
        self._looks = len(os.sched_getaffinity(0)) > 1

    def _poll(self, lanes: list[Lane]) -> Waits:
        poll = select.poll()
        for fd in (*(lane.intake.fd for lane in lanes), self._again):
            poll.register(fd, select.POLLIN)
        return poll.poll

    def start(self) -> None:
        """Begin, in daemon threads: a read that never returns must not keep the process."""
        self._again = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        one, other = self._lanes
        for first in (False, True):
            for second in (False, True):
                self._polls[first, second] = self._poll([one] * first + [other] * second)
        for number in (1, 2):
            threading.Thread(target=self._work, name=f"relay-{number}", daemon=True).start()

    def apart(self) -> None:
        """The calling thread is about to wait, or to work for long: the other one waits for what comes."""
        if self._leader == threading.get_ident():
            self._leader = 0
            self._lead.release()

    # --- a thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        me = threading.get_ident()
        while True:
            self._lead.acquire()
            self._leader = me
            if all(lane.ended for lane in self._lanes):
                return self._leave()
            last: Lane | None = None
            while self._leader == me:
                for fd, _ in self._await(last):
                    last = self._by_fd.get(fd)
                    if last is None:
                        os.eventfd_read(self._again)
                    else:
                        self._take(last)
                    if self._leader != me:
                        break

    def _leave(self) -> None:
        self._left += 1
        if self._left == len(self._lanes):
            os.close(self._again)
        self.apart()

    def _await(self, last: Lane | None) -> list[tuple[int, int]]:
        """What there is to carry, waiting for it.

        Where the last wait of this kind was short, this one likely is: a thread that looks for what comes
        and does not sleep has it a wake-up earlier. After one look in vain it sleeps.
        """
        one, other = self._lanes
        poll = self._polls[not (one.taken or one.ended), not (other.taken or other.ended)]
        if last is None:
            return self._sleep(poll)
        began = now = time.monotonic()
        found: list[tuple[int, int]] = []
        if self._looks and last.waited < LOOK_S:
            while not (found := poll(0)) and now - began < LOOK_S:
                os.sched_yield()  # whoever answers may have this processor alone to do it on
                now = time.monotonic()
        if not found:
            found = self._sleep(poll)
            now = time.monotonic()
        last.waited = now - began
        return found

    def _sleep(self, poll: Waits) -> list[tuple[int, int]]:
        if self._due:
            left = self._due - time.monotonic()
            if left > 0 and (found := poll(left * 1000)):
                return found
            self._due = 0.0
            self._idle()
        return poll()

    def _take(self, lane: Lane) -> None:
        """Carry what a lane has; apart from the other one, also what belongs to the same message."""
        me = threading.get_ident()
        lane.taken = True
        try:
            while (chunk := lane.intake.read()) and self._carry(lane, chunk) and self._leader != me:
                pass
        except BaseException as error:
            self._end(lane, error)
        else:
            if not chunk:
                self._end(lane, None)
        lane.taken = False
        if self._leader != me:
            # Whoever leads now waits without this lane. One time too many does no harm.
            os.eventfd_write(self._again, 1)

    def _carry(self, lane: Lane, chunk: bytes) -> bool:
        """Carry one read; whether more of the same message has to come."""
        size = len(chunk)
        lane.came += size
        if lane.came >= READ:
            self._due = time.monotonic() + IDLE_S
        if size > LONG or (size > FEW and 0 <= chunk.find(b"\n") < size - 1):
            self.apart()
        under_way = False
        for piece in (chunk,) if size <= PIECE else lane.intake.cut(chunk):
            under_way = lane.carry(piece)
        if not under_way:
            lane.came = 0
        return under_way

    def _end(self, lane: Lane, error: BaseException | None) -> None:
        self.apart()
        lane.end(error)
        lane.ended = True
