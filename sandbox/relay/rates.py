"""Counts what happens against a limit in time: a pace, and the same thing again. No clock of its own (P)."""

from __future__ import annotations

from collections import OrderedDict, deque

SPANS = ((1.0, "s"), (60.0, "m"), (3600.0, "h"))
LEAST_BURST = 10
_REMEMBERED = 1 << 16
"""Moments in all; a plan refuses a `tools.repeat` that could not be counted within them."""


def span(rate: float) -> tuple[float, str]:
    """The shortest of second, minute and hour in which `rate` allows ten: what a burst may use up at once.

    A profile's `30/m` is half a message a second; counted by the second, two in a row would be too many.
    """
    return next((one for one in SPANS if rate * one[0] >= LEAST_BURST - 1e-6), SPANS[-1])


def spelt(rate: float) -> str:
    """`rate` as it is counted and as a profile would write it."""
    seconds, unit = span(rate)
    return f"{round(rate * seconds, 3):g}/{unit}"


class Pace:
    """At most `most` at once, and after that no faster than `rate` (a token bucket)."""

    __slots__ = ("_at", "_left", "_since", "most", "rate", "taken")

    def __init__(self, rate: float, most: float) -> None:
        self.rate = rate
        self.most = most
        self._left = most
        self._at = 0.0
        self._since = 0.0
        self.taken = 0.0
        """What was taken since there was last nothing to wait for."""

    @classmethod
    def of(cls, rate: float) -> Pace:
        """The pace of a profile's rate per second: what its `span` allows may come at once."""
        return cls(rate, max(1.0, rate * span(rate)[0]))

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Count `amount`; whether that was still within the pace."""
        left = self._left + (now - self._at) * self.rate
        if left >= self.most:
            left = self.most
            self._since = now
            self.taken = 0.0
        self._at = now
        self.taken += amount
        # What is let go on beyond the pace owes no more than one burst: it may recover.
        self._left = max(left - amount, -self.most)
        return left - amount >= -1e-6

    def give_back(self, amount: float = 1.0) -> None:
        """What was counted last did not happen after all."""
        self._left += amount
        self.taken -= amount

    def debt(self) -> float:
        """Seconds until what was taken too much is made up for."""
        return max(0.0, -self._left / self.rate)

    def lasted(self) -> float:
        """Seconds in which `taken` was taken."""
        return self._at - self._since

    def measured(self) -> float:
        """What was taken a second, over the time in which `most` may be."""
        return round(self.taken / max(self.lasted(), self.most / self.rate), 3)

    def start_anew(self) -> None:
        """Forgets what was taken."""
        self._left = self.most


class Repeats:
    """How often each thing was seen within the last `window` seconds; memory is bounded.

    What was not seen for longest is forgotten first: a loop comes back before that.
    """

    def __init__(self, most: int, window: float) -> None:
        self.most = most
        self.window = window
        self._seen: OrderedDict[bytes, deque[float]] = OrderedDict()
        self._moments = 0

    def see(self, what: bytes, now: float) -> int:
        """Count one more of `what`; how many that makes in the window."""
        moments = self._seen.setdefault(what, deque())
        self._seen.move_to_end(what)
        while moments and moments[0] <= now - self.window:
            moments.popleft()
            self._moments -= 1
        moments.append(now)
        self._moments += 1
        while self._moments > _REMEMBERED and len(self._seen) > 1:
            self._moments -= len(self._seen.popitem(last=False)[1])
        if len(moments) > self.most + 1:
            # More would say no more: who is let go on beyond the limit must not fill our memory.
            moments.popleft()
            self._moments -= 1
        return len(moments)

    def take_back(self, what: bytes) -> None:
        """What was counted last did not happen after all."""
        if moments := self._seen.get(what):
            moments.pop()
            self._moments -= 1

    def start_anew(self, what: bytes) -> None:
        """Forgets `what`."""
        self._moments -= len(self._seen.pop(what, ()))
