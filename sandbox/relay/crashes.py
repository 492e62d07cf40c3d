"""Whether a server that ended is started again, and when: decided from numbers alone (P)."""

from __future__ import annotations

from sandbox.errors import BREACH, NOT_BUILT, NOT_EXECUTABLE, NOT_FOUND
from sandbox.policy.model import Policy
from sandbox.records import dataclass

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 600.0
"""A server that lived this long has not crashed in a row."""
SERVER = "server"
"""What a session says that its server ended by itself; all else was asked for, or our doing."""
_FINAL = frozenset({0, BREACH, NOT_BUILT, NOT_EXECUTABLE, NOT_FOUND})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended: its session, who ended it (`SERVER`, or why not it), and its exit status."""

    session: str
    how: str
    status: int

    @property
    def crashed(self) -> bool:
        """Whether the server ran, and ended by itself with a failure."""
        return self.how == SERVER and self.status not in _FINAL

    def describe(self) -> str:
        """As the session's own errors say it."""
        return f"signal {self.status - 128}" if self.status > 128 else f"status {self.status}"


def adds_up(policy: Policy) -> bool:
    """Whether a session has something to use up, which the next one would have again."""
    quota, network, tools = policy.quota, policy.network, policy.tools
    sums = (quota.written, quota.cpu_time, network.upload, network.download, network.connections)
    return bool(network.budgets) or any(one is not None for one in (*sums, tools.calls, tools.budget))


class Crashes:
    """Counts crashes in a row, or, where health is not to `forget` any, all of them."""

    def __init__(self, most: int, *, forget: bool = True) -> None:
        self._most = most
        self._forget = forget
        self.in_a_row = 0

    def pause(self, outcome: Outcome, lived: float) -> float | None:
        """Seconds until the next attempt after one that `lived` so long; None where there is none."""
        if not outcome.crashed:
            return None
        self.in_a_row = 1 if self._forget and lived >= HEALTHY_S else self.in_a_row + 1
        if self.in_a_row > self._most:
            return None
        # The exponent is bounded: 2.0 ** 1024 is no float.
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.in_a_row - 1, 10))
