"""Denials on their way to the log: each told once, the rest in sums, nobody refused before the first is."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from sandbox.egress.decide import Denied
from sandbox.egress.report import Reporter
from sandbox.egress.tally import Tally
from sandbox.egress.words import DEFAULT_DENY
from sandbox.event import Value

MOST_AGAIN = 32
"""Repetitions a second that calls are told of."""


class Denials:
    """All of one kind of event, `egress.deny` or `dns.deny`."""

    def __init__(self, kind: str, reporter: Reporter) -> None:
        self._kind = kind
        self._reporter = reporter
        self._tally = Tally()
        self._again = 0
        self._telling: dict[Hashable, asyncio.Future[None]] = {}

    def note(self, denied: Denied, **detail: Value) -> asyncio.Future[None] | None:
        """Done once somebody may be refused for it, cancelled at the end; None where the log has it already.

        It is shared by all who are refused for the same: shield it.
        """
        key = (denied.host, denied.port, denied.reason, *map(str, detail.values()))
        if self._tally.first(key, denied.where):
            self._telling[key] = self._reporter.deny(self._kind, denied, **detail)
            self._telling[key].add_done_callback(lambda _: self._telling.pop(key))
        elif self._again < MOST_AGAIN:
            # Not for the log, but a call that is open now may fail for it.
            self._again += 1
            self._reporter.again(denied, **detail)
        return self._telling.get(key)

    async def tell(self, denied: Denied, **detail: Value) -> None:
        """Returns once the first of its kind is in the log."""
        telling = self.note(denied, **detail)
        if telling is not None:
            await asyncio.shield(telling)

    def tell_sums(self) -> None:
        """Tells how many were not told one by one since the last time, where any were."""
        self._again = 0
        sums = self._tally.take()
        if sums.repeated or sums.further:
            detail: dict[str, Value] = {"repeated": sums.repeated, "further": sums.further}
            if sums.last:
                detail["last"] = [*sums.last]
            self._reporter.note(self._kind, detail, DEFAULT_DENY)

    def add(self, further: int) -> None:
        """Counts what nobody could look at."""
        self._tally.add(further)
