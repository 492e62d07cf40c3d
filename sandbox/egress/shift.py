"""What every connection of one session shares: the rules' budgets, the way out, the log, the decoys."""

from __future__ import annotations

import asyncio

from sandbox.egress.budget import Budget
from sandbox.egress.canary import Needles, Stream
from sandbox.egress.charge import Charge
from sandbox.egress.denials import Denials
from sandbox.egress.dial import Dialer
from sandbox.egress.lane import Room
from sandbox.egress.names import Names
from sandbox.egress.report import Reporter


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
        self.denials = Denials("egress.deny", reporter)
        self.room = Room()
        self.needles = Needles(dict(charge.canaries)) if charge.canaries else None

    def canary_stream(self) -> Stream | None:
        """A look at one direction of one connection; None where nothing was planted."""
        return Stream(self.needles) if self.needles is not None else None
