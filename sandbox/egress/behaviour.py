"""What outbound traffic looks like: traffic that nobody asked for, denied attempts in a row, a beacon (P).

Sums and counts that a person can check, no model; every threshold is in the profile, every number that led
to a finding is in its detail. It is not a boundary: what the allowlist allows passes before it is judged.
What evades it: traffic only while a request is open, a beacon whose intervals vary by more than
`beacon_jitter` or that is always busy, several hosts in turn, an allowed connection between denied ones.
And an honest server may show a pattern, as one that polls does; so a finding is a line in the log unless the
profile says `breach`.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

from sandbox.event import Value
from sandbox.policy.model import Behaviour
from sandbox.records import dataclass, field

PAUSE = 1.0
"""Seconds: what follows sooner is the same moment, since a client opens several connections at once."""
TALLY = 60.0
"""Seconds between two findings of idle traffic to one host where they only go to the log."""
HOSTS = 1024
"""Hosts that are watched at a time; the one that was quiet for longest makes room."""
MOMENTS = 1 << 16
"""Moments remembered in all; where `beacon_count` is large, fewer hosts are watched."""
_SHOWN = 8

Pattern = Literal["idle", "denied-streak", "beacon"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A pattern that was seen, the numbers behind it, and whether it only goes to the log."""

    pattern: Pattern
    action: Literal["log", "breach"]
    host: str
    detail: Mapping[str, Value]
    key: str
    """The profile's key that decides what it does, such as `network.behaviour.beacon`."""
    why: str


@dataclass(slots=True)
class _Host:
    """What is remembered of one host; all of it happened while no request was open."""

    starts: deque[float]
    """When each moment of activity began."""
    last: float = -math.inf
    fresh: int = 0
    """Moments since a beacon was last reported."""
    told: float = -math.inf
    untold: int = 0


@dataclass(slots=True)
class _Streak:
    """Denied attempts since a connection was last allowed."""

    count: int = 0
    since: float = 0.0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_SHOWN))


class Watcher:
    """Turns what happened, and when, into findings; `now` is seconds of any clock that never goes back."""

    def __init__(self, settings: Behaviour) -> None:
        self._settings = settings
        self._hosts: OrderedDict[str, _Host] = OrderedDict()
        self._most = max(1, min(HOSTS, MOMENTS // (settings.beacon_count + 1)))
        self._streak = _Streak()

    def connected(self, host: str, now: float, open_calls: int) -> list[Finding]:
        """An allowed connection was made, while `open_calls` MCP requests waited for an answer."""
        self._streak = _Streak()
        return self._active(host, now) if open_calls == 0 else []

    def sent(self, host: str, now: float, open_calls: int) -> list[Finding]:
        """The server sent something on a live connection that had been silent for at least `PAUSE`."""
        return self._active(host, now) if open_calls == 0 else []

    def denied(self, what: str, now: float, count: int = 1) -> list[Finding]:
        """`count` names or connections were denied, `what` the last of them."""
        action, threshold, streak = self._settings.denied, self._settings.denied_streak, self._streak
        if action == "off" or count < 1:
            return []
        before, streak.count = streak.count, streak.count + count
        streak.since = streak.since if before else now
        if what not in streak.last:
            streak.last.append(what)
        # At the threshold and at each multiple of it, however many came at once.
        if before // threshold == streak.count // threshold:
            return []
        return [_denied(what, action, streak, now, threshold)]

    def untold(self) -> list[Finding]:
        """Idle traffic that was tallied and is in no finding yet; asked once, when the session ends."""
        hosts, action = self._hosts.items(), self._settings.idle
        return (
            []
            if action == "off"
            else [_idle(host, action, seen.untold) for host, seen in hosts if seen.untold]
        )

    def _active(self, host: str, now: float) -> list[Finding]:
        seen = self._seen(host)
        quiet, seen.last = now - seen.last, now
        found = self._idle(host, seen, now)
        # So no interval is shorter, and nothing faster is taken for a beacon.
        if quiet >= PAUSE:
            found += self._beacon(host, seen, now)
        return found

    def _seen(self, host: str) -> _Host:
        if host not in self._hosts:
            self._hosts[host] = _Host(deque(maxlen=self._settings.beacon_count + 1))
            if len(self._hosts) > self._most:
                self._hosts.popitem(last=False)
        self._hosts.move_to_end(host)
        return self._hosts[host]

    def _idle(self, host: str, seen: _Host, now: float) -> list[Finding]:
        action = self._settings.idle
        if action == "off":
            return []
        seen.untold += 1
        if action == "log" and now - seen.told < TALLY:
            return []
        times, seen.untold, seen.told = seen.untold, 0, now
        return [_idle(host, action, times)]

    def _beacon(self, host: str, seen: _Host, now: float) -> list[Finding]:
        action, count = self._settings.beacon, self._settings.beacon_count
        seen.starts.append(now)
        seen.fresh += 1
        # `count` intervals lie between one moment more; after a report, `count` further ones are awaited.
        if action == "off" or len(seen.starts) <= count or seen.fresh < count:
            return []
        spread = _Spread.of(seen.starts)
        if spread.ratio > self._settings.beacon_jitter:
            return []
        seen.fresh = 0
        return [_beacon(host, action, spread, self._settings)]


@dataclass(frozen=True, slots=True)
class _Spread:
    """How alike the intervals between moments are; seconds."""

    mean: float
    deviation: float
    shortest: float
    longest: float

    @staticmethod
    def of(moments: Sequence[float]) -> _Spread:
        times = list(moments)
        gaps = [after - before for before, after in pairwise(times)]
        mean = sum(gaps) / len(gaps)
        # Of the whole population: these intervals are all there are, not a sample.
        deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
        return _Spread(mean, deviation, min(gaps), max(gaps))

    @property
    def ratio(self) -> float:
        return self.deviation / self.mean


def _idle(host: str, action: Literal["log", "breach"], times: int) -> Finding:
    often = "" if times == 1 else f", {times} times since it was last reported"
    why = f"traffic to `{host}` while no request was open{often}"
    return Finding("idle", action, host, {"times": times}, "network.behaviour.idle", why)


def _denied(
    what: str, action: Literal["log", "breach"], streak: _Streak, now: float, threshold: int
) -> Finding:
    seconds = round(now - streak.since, 3)
    detail: dict[str, Value] = {
        "count": streak.count, "threshold": threshold, "seconds": seconds, "last": [*streak.last],
    }  # fmt: skip
    why = f"{streak.count} attempts denied in a row within {seconds:.4g} s, the last to `{what}`"
    return Finding("denied-streak", action, what, detail, "network.behaviour.denied", why)


def _beacon(host: str, action: Literal["log", "breach"], spread: _Spread, settings: Behaviour) -> Finding:
    detail: dict[str, Value] = {
        "intervals": settings.beacon_count,
        "mean": round(spread.mean, 3),
        "deviation": round(spread.deviation, 3),
        "ratio": round(spread.ratio, 4),
        "threshold": settings.beacon_jitter,
        "shortest": round(spread.shortest, 3),
        "longest": round(spread.longest, 3),
    }
    why = (
        f"regular traffic to `{host}` while no request was open: {settings.beacon_count} intervals of "
        f"{spread.mean:.4g} s, which deviate by {100 * spread.ratio:.2g} %"
    )
    return Finding("beacon", action, host, detail, "network.behaviour.beacon", why)
