"""What every connection of one session shares: the rules' budgets, the way out, the log, the decoys."""

from __future__ import annotations

import asyncio

from sandbox.egress.budget import Budget
from sandbox.egress.canary import Needles, Stream
from sandbox.egress.charge import Charge
from sandbox.egress.decide import Denied
from sandbox.egress.dial import Dialer
from sandbox.egress.lane import Room
from sandbox.egress.names import Names
from sandbox.egress.report import Reporter
from sandbox.egress.tally import Tally
from sandbox.event import Value


class Shift:
    """One session's shared state, inside the event loop."""

    def __init__(self, charge: Charge, reporter: Reporter) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.rules = charge.network.allow
        self.reporter = reporter
        self.names = Names()
        self.budget = Budget(charge.network)
        self.dialer = Dialer(self.rules, charge.proxies)
        self.tally = Tally()
        self.room = Room()
        self.needles = Needles(dict(charge.canaries)) if charge.canaries else None

    def canary_stream(self) -> Stream | None:
        """A look at one direction of one connection; None where nothing was planted."""
        return Stream(self.needles) if self.needles is not None else None

    async def deny(self, denied: Denied, **detail: Value) -> None:
        """Tells a denial once; its repetitions are counted."""
        if self.tally.first((denied.host, denied.port, denied.reason, str(detail))):
            await self.reporter.deny("egress.deny", denied, **detail)
