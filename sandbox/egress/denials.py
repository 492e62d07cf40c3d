"""Denials on their way to the log: each told once, the rest in sums, nobody refused before the first is."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

from sandbox.egress.decide import DEFAULT_DENY, Denied
from sandbox.egress.report import Reporter
from sandbox.egress.tally import Tally
from sandbox.event import Value


class Denials:
    """All of one kind of event, `egress.deny` or `dns.deny`."""

    def __init__(self, kind: str, reporter: Reporter) -> None:
        self._kind = kind
        self._reporter = reporter
        self._tally = Tally()
        self._telling: dict[Hashable, asyncio.Future[None]] = {}

    def note(self, denied: Denied, **detail: Value) -> asyncio.Future[None] | None:
        """Done once somebody may be refused for it, cancelled at the end; None where the log has it already.

        It is shared by all who are refused for the same: shield it.
        """
        key = (denied.host, denied.port, denied.reason, *map(str, detail.values()))
        if self._tally.first(key):
            self._telling[key] = self._reporter.deny(self._kind, denied, **detail)
            self._telling[key].add_done_callback(lambda _: self._telling.pop(key))
        return self._telling.get(key)

    async def tell(self, denied: Denied, **detail: Value) -> None:
        """Returns once the first of its kind is in the log."""
        telling = self.note(denied, **detail)
        if telling is not None:
            await asyncio.shield(telling)

    def tell_sums(self) -> None:
        """Tells how many were not told one by one since the last time, where any were."""
        repeated, further = self._tally.take()
        if repeated or further:
            detail: dict[str, Value] = {"repeated": repeated, "further": further}
            self._reporter.note(self._kind, detail, DEFAULT_DENY)
