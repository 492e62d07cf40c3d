"""What the front writes to its own audit log: its start and end, and whom it refused and why.

Refusals cost whoever provokes them nothing, so they are logged at a bounded rate; beyond it they are counted
by status and code, and the count follows. A log that cannot be written ends the front.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.serve.limits import Limits
from sandbox.serve.words import Refused

_SHOWN_MAX = 64
_RULE = "serve"


class Journal:
    """The log of one front; `broken` is called once when it cannot be written any more."""

    def __init__(
        self,
        sink: Sink,
        limits: Limits,
        broken: Callable[[AuditError], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._broken, self._now = sink, broken, now
        self._limits = limits
        self._left, self._at = float(limits.refusals_at_once), now()
        self._settled = now()
        self._uncounted: Counter[str] = Counter()
        self._is_broken = False

    def refused(self, refused: Refused, peer: str, method: str = "", path: str = "", who: str = "") -> None:
        """Logs one refusal, or counts it."""
        self._refill()
        if self._left < 1:
            self._uncounted[f"{refused.status} {refused.code}"] += 1
            return
        self._left -= 1
        detail: dict[str, Value] = {"status": refused.status, "why": refused.why, "peer": peer}
        # What follows `?` may be a secret that somebody put in the wrong place.
        words = {"method": method, "path": path.partition("?")[0][:_SHOWN_MAX], "principal": who}
        detail.update({name: word for name, word in words.items() if word})
        self.write(Event("http.refused", detail, rule=f"{_RULE}: {refused.code}"))

    def _refill(self) -> None:
        now = self._now()
        more = (now - self._at) * self._limits.refusals_per_s
        self._left = min(float(self._limits.refusals_at_once), self._left + more)
        self._at = now

    def settle(self, *, is_last: bool = False) -> None:
        """Logs now and then, and at the end, how many refusals were only counted."""
        now = self._now()
        if self._uncounted and (is_last or now - self._settled >= self._limits.counted_s):
            self._settled = now
            counted: dict[str, Value] = dict(self._uncounted)
            self._uncounted.clear()
            self.write(
                Event("http.refused", {"counted": counted}, rule=f"{_RULE}: refusals of the last while")
            )

    def fault(self, error: BaseException) -> None:
        """Logs a mistake of our own, by its kind: what it says may hold what a client sent."""
        self.refused(Refused(500, "fault", type(error).__name__), "")

    def write(self, event: Event) -> None:
        """Logs one event; where it cannot be written that is told once, and the front ends."""
        if self._is_broken:
            return
        try:
            self._sink.emit(event)
        except AuditError as error:
            self._is_broken = True
            self._broken(error)
