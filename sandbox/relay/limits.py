"""What the messages of a session may amount to; the main loop hears of what is exceeded (`Source`).

The relay's two threads count, each its own side. Under `kill` and `freeze` they wait until the main loop
has acted; under `deny` what is beyond is refused, or the server read no faster; `warn` lets it pass.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from sandbox.event import Value
from sandbox.excess import Excess
from sandbox.policy.breach import key_origin, place
from sandbox.policy.model import Policy, Stopping, Traffic
from sandbox.policy.quota import show_duration, show_size
from sandbox.records import dataclass
from sandbox.relay.calls import Calls, limited
from sandbox.relay.outlet import Outlet
from sandbox.relay.rates import Pace, spelt
from sandbox.wire.jsonrpc import OVERLONG, PRETTY, Fault, Frame, FrameReader

KILLED_S = 0.3
FROZEN_S = 2.0
"""How long the relay waits for the main loop to have acted; a session that has ended looks no more."""
QUIET_S = 60.0
"""A warning about a pace is not repeated for that long."""
LONGEST_PAUSE_S = 1.0
MINUTE = 60.0

UNLIMITED = Policy("", traffic=Traffic(flood=None, waste=None, stall=None))
_RELIEF = frozenset({"notifications/cancelled", "notifications/initialized"})
"""What is passed on under `deny` all the same: without it more would be at work, or nothing at all."""
_ONCE = frozenset({"tools.calls", "tools.budget"})
"""A session that has used these up has not got them back a minute later."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A message of the client's that is not passed on; `told`: by the relay, else at the sandbox's end."""

    excess: Excess
    told: bool


class Limits:
    """Counts messages and calls against the policy; `changed` wakes the main loop."""

    def __init__(
        self,
        policy: Policy = UNLIMITED,
        changed: Callable[[], None] = lambda: None,
        held: Callable[[Excess], None] = lambda excess: None,
    ) -> None:
        """`held` hears, now and then, that under `deny` the server is read no faster than it may speak."""
        traffic = policy.traffic
        self.timeout = traffic.timeout
        self.concurrency = traffic.concurrency
        self.paused = False
        """Whether the server is frozen: then it is no fault of its own that it reads nothing."""
        self.flooded = False
        """Whether the session ends over what the server says: nothing more of it is worth reading."""
        self._policy = policy
        self._changed = changed
        self._held = held
        self._calls = Calls(policy.tools) if limited(policy.tools) else None
        self._rate = None if traffic.rate is None else Pace.of(traffic.rate)
        self._flood = None if traffic.flood is None else Pace.of(traffic.flood)
        self._waste = None if traffic.waste is None else Pace(traffic.waste / MINUTE, float(traffic.waste))
        self._stall = traffic.stall
        self.counts_client = bool(self._calls or self._rate or self.concurrency)
        self._handed: deque[tuple[Excess, threading.Event]] = deque()
        self._acting: list[threading.Event] = []
        self._lifted: dict[str, float] = {}
        self._ended = False
        self._counted = 0
        self._server = Outlet(-1)
        self._waits: Callable[[], None] = lambda: None
        self._stalled_since = 0.0
        self._running_since = 0.0

    # --- the client's messages, in the thread that reads them ------------------------------------------

    def from_client(self, frame: Frame | None, open_now: int, now: float) -> Stopped | None:
        """Count a message, or a line that is none; why it must not be passed on, or None.

        `open_now`: the requests that are open, this one with them.
        """
        return (
            self._check(self._too_fast(now), frame, self._anew(self._rate), now)
            or self._check(self._too_many_open(frame, open_now), frame, lambda: None, now)
            or (self._call(frame, now) if frame is not None and frame.method == "tools/call" else None)
        )

    def _call(self, frame: Frame, now: float) -> Stopped | None:
        calls = self._calls
        if calls is None or frame.kind != "request":
            return None
        weighed = calls.weigh(frame.message["params"], now)
        for excess in weighed.broken:
            stopped = self._check(excess, frame, partial(calls.start_anew, excess.key, weighed), now)
            if stopped is not None:
                calls.take_back(weighed)
                return stopped
        return None

    def _too_fast(self, now: float) -> Excess | None:
        pace = self._rate
        if pace is None or pace.take(now):
            return None
        why = f"{pace.taken:.0f} messages of the client's in {pace.lasted():.1f} s"
        return Excess("traffic.rate", f"{why}, the limit is {spelt(pace.rate)}", pace.measured(), pace.rate)

    def _too_many_open(self, frame: Frame | None, open_now: int) -> Excess | None:
        most = self.concurrency
        if most is None or open_now <= most or frame is None or frame.kind != "request":
            return None
        why = f"{open_now} requests are open at once, the limit is {most}"
        return Excess("traffic.concurrency", why, open_now, most)

    def _check(
        self, excess: Excess | None, frame: Frame | None, anew: Callable[[], None], now: float
    ) -> Stopped | None:
        if excess is None or self._lifted.get(excess.key, 0.0) > now:
            return None
        action = self.action(excess.key)
        if action == "warn":
            self._warn(excess, now)
        elif action == "freeze":
            self.hand_over(excess)
            anew()
        elif action == "kill":
            return Stopped(excess, told=False)
        elif frame is not None and frame.kind != "response" and frame.method not in _RELIEF:
            self._give_back(excess)
            return Stopped(excess, told=True)
        return None

    def _give_back(self, excess: Excess) -> None:
        if excess.key == "traffic.rate" and self._rate is not None:
            self._rate.give_back()

    # --- the server's, in the thread that reads them ---------------------------------------------------

    def unasked(self, now: float, lines: int = 1) -> bool:
        """Count messages of the server's that answer nothing; whether they may be passed on."""
        pace = self._flood
        if pace is None or pace.take(now, lines):
            return not self._ended
        why = f"{pace.taken:.0f} messages that answer nothing in {pace.lasted():.1f} s"
        why = f"{why}, the limit is {spelt(pace.rate)}"
        return self._slow(Excess("traffic.flood", why, pace.measured(), pace.rate), pace, now)

    def wasted(self, size: int, now: float) -> bool:
        """Count bytes of the server's that are no message; whether anything may be done with them."""
        pace = self._waste
        if pace is None or pace.take(now, size):
            return not self._ended
        why = f"{_mib(pace.taken)} in {pace.lasted():.1f} s on stdout that are no message"
        why = f"{why}, the limit is {show_size(int(pace.most))} a minute"
        return self._slow(Excess("traffic.waste", why, int(pace.taken), int(pace.most)), pace, now)

    def useless(self, fault: Fault, now: float) -> bool:
        """Count a line that is no message; False once the session ends over it: then it has no event."""
        if fault.rule in (OVERLONG, PRETTY):
            self._under_way(fault.size, now)
            self._counted = 0
        else:
            self.wasted(fault.size, now)
        return self.unasked(now)

    def nothing(self, reader: FrameReader, now: float) -> None:
        """Count what has come to no line: blank ones, and what can be no message before its end comes."""
        if reader.wasting:
            self._under_way(reader.wasting, now)
        if reader.blank_lines:
            self.wasted(reader.blank_bytes, now)
            self.unasked(now, reader.blank_lines)
            reader.blank_lines = reader.blank_bytes = 0

    def _under_way(self, size: int, now: float) -> None:
        more, self._counted = max(0, size - self._counted), size
        self.wasted(more, now)

    def _slow(self, excess: Excess, pace: Pace, now: float) -> bool:
        if self._ended or self._lifted.get(excess.key, 0.0) > now:
            return not self._ended
        action = self.action(excess.key)
        if action == "deny":
            self._hold(excess, pace, now)
        elif action == "warn":
            self._warn(excess, now)
        else:
            self.flooded = action == "kill"
            self.hand_over(excess)
            pace.start_anew()
        return not self._ended

    def _hold(self, excess: Excess, pace: Pace, now: float) -> None:
        """Nothing is lost: a server that says too much waits, and so costs us a bounded part of a core."""
        told = f"{excess.key} held"
        if self._lifted.get(told, 0.0) <= now:
            self._lifted[told] = now + QUIET_S
            self._held(excess)
        self._waits()
        time.sleep(min(pace.debt(), LONGEST_PAUSE_S))

    # --- both ------------------------------------------------------------------------------------------

    def action(self, key: str) -> Stopping:
        """What `[breach]` says of the limit `key`."""
        if key.startswith("tools."):
            return self._policy.breach.calls
        return self._policy.breach.traffic if key.startswith("traffic.") else "kill"

    def hand_over(self, excess: Excess) -> None:
        """Tell the main loop, and return when it has acted, or after a bounded time."""
        if self._ended:
            return
        action = self.action(excess.key)
        self._ended = action == "kill"
        self._waits()
        acted = threading.Event()
        self._handed.append((excess, acted))
        self._changed()
        acted.wait(FROZEN_S if action == "freeze" else KILLED_S)

    def told(self, excess: Excess) -> dict[str, Value]:
        """What an answer and the log say of a refusal: rule, numbers, and where the limit was written."""
        return {
            "rule": excess.key,
            "measured": excess.measured,
            "limit": excess.limit,
            "profile": place(key_origin(self._policy, excess.key)),
            **excess.detail,
        }

    def _warn(self, excess: Excess, now: float) -> None:
        self._lifted[excess.key] = math.inf if excess.key in _ONCE else now + QUIET_S
        self._handed.append((excess, threading.Event()))
        self._changed()

    def _anew(self, pace: Pace | None) -> Callable[[], None]:
        return pace.start_anew if pace is not None else lambda: None

    # --- the main loop's side --------------------------------------------------------------------------

    def serves(self, server: Outlet, waits: Callable[[], None]) -> None:
        """`server` is where messages may have to wait; `waits` hears of it before a thread waits here."""
        self._server = server
        self._waits = waits

    def watched(self) -> Mapping[int, int]:
        """No descriptor: `changed` wakes the loop."""
        return {}

    def look(self, now: float, ready: frozenset[int]) -> tuple[list[Excess], float | None]:
        """What was handed over, and a message that waits for too long; soon again after the former."""
        for acted in self._acting:
            acted.set()
        self._acting.clear()
        found = []
        while self._handed:
            excess, acted = self._handed.popleft()
            found.append(excess)
            if self.action(excess.key) == "kill":
                acted.set()  # the loop ends before it would look again
            else:
                self._acting.append(acted)
        stalled, until = self._stalled(now)
        return found + stalled, now if self._acting else until

    def _stalled(self, now: float) -> tuple[list[Excess], float | None]:
        if self._stall is None:
            return [], None
        since = self._server.since
        if self.paused:
            self._running_since = now
        if not since or self.paused or since == self._stalled_since:
            return [], now + self._stall
        waited = now - max(since, self._running_since)
        if waited < self._stall:
            return [], now + self._stall - waited
        self._stalled_since = since
        why = f"a message waits for {waited:.1f} s for a server that does not read"
        limit = f"the limit is {show_duration(self._stall)}"
        return [Excess("traffic.stall", f"{why}, {limit}", round(waited, 3), self._stall)], None


def _mib(size: float) -> str:
    return f"{size / (1 << 20):.1f} MiB"
