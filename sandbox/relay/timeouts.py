"""Ends calls whose time is over, in a thread of its own: whoever reads nothing holds up nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from sandbox.relay.ledger import Ledger, Pending


class End(Protocol):
    """Answers one call whose time is over."""

    def __call__(self, call: Pending, waited: float) -> None: ...


class Timeouts:
    """The calls that are open for longer than `seconds`; `failed` hears what keeps this from its work."""

    def __init__(
        self, seconds: float, ledger: Ledger, end: End, failed: Callable[[BaseException], None]
    ) -> None:
        self._seconds = seconds
        self._ledger = ledger
        self._end = end
        self._failed = failed

    def start(self, over: threading.Event) -> None:
        """Begins; nothing is left to do once `over` is set."""
        threading.Thread(target=self._work, args=(over,), name="relay-timeouts", daemon=True).start()

    def _work(self, over: threading.Event) -> None:
        due = time.monotonic() + self._seconds
        try:
            while not over.wait(max(0.0, due - time.monotonic())):
                due = self._end_late() + self._seconds
        except BaseException as error:
            self._failed(error)

    def _end_late(self) -> float:
        """Ends what is late; since when the oldest other call is open, or now: none is late before that."""
        now = time.monotonic()
        late, oldest = self._ledger.expire(now - self._seconds)
        for call in late:
            self._end(call, now - call.since)
        return now if oldest is None else oldest
