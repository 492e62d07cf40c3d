"""What the tool calls of a session come to: their number, pace, cost, and the same one again (P)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.digest import sha256
from sandbox.event import Value
from sandbox.excess import Excess
from sandbox.policy.model import Tools
from sandbox.policy.quota import show_duration
from sandbox.policy.tools import glob
from sandbox.records import dataclass
from sandbox.relay.rates import Pace, Repeats, spelt
from sandbox.wire.structs import msgspec

NAME_CHARS = 128
_ROUNDING = 1e-9
_canonical = msgspec.json.Encoder(order="deterministic").encode


def limited(tools: Tools) -> bool:
    """Whether anything of the calls is counted at all."""
    return not (tools.calls is tools.rate is tools.repeat is tools.budget is None)


@dataclass(frozen=True, slots=True)
class Weighed:
    """One call: every limit that it breaks, what it costs, and what it shares with the same call."""

    broken: tuple[Excess, ...]
    cost: float
    same: bytes


class Calls:
    """Counts the calls of a session; one that is not let pass is taken out again."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._most = tools.calls
        self._budget = tools.budget
        self._pace = None if tools.rate is None else Pace.of(tools.rate)
        self._repeats = None if tools.repeat is None else Repeats(tools.repeat, tools.window)
        self.calls = 0
        self.spent = 0.0

    def weigh(self, params: Mapping[str, Any], now: float) -> Weighed:
        """Count the call with these `params`, and say which limits that breaks."""
        tool = params.get("name")
        tool = tool if isinstance(tool, str) else ""  # no tool's name, and a call all the same
        name = tool[:NAME_CHARS]
        cost = 0.0 if self._budget is None else self._cost(tool)
        same = b"" if self._repeats is None else same_call(params)
        self.calls += 1
        self.spent += cost
        found = (
            self._too_many(),
            self._too_dear(name, cost),
            self._too_fast(now),
            self._too_often(name, same, now),
        )
        return Weighed(tuple(one for one in found if one is not None), cost, same)

    def take_back(self, call: Weighed) -> None:
        """The call was refused: else a client that goes on trying would never be let in again."""
        self.calls -= 1
        self.spent -= call.cost
        if self._pace is not None:
            self._pace.give_back()
        if self._repeats is not None:
            self._repeats.take_back(call.same)

    def start_anew(self, key: str, call: Weighed) -> None:
        """The limit `key` was broken and a person lets the session go on: as much once more."""
        if key == "tools.calls" and self._most is not None:
            self._most += self._tools.calls or 0
        elif key == "tools.budget" and self._budget is not None:
            self._budget += self._tools.budget or 0.0
        elif key == "tools.repeat" and self._repeats is not None:
            self._repeats.start_anew(call.same)
        elif key == "tools.rate" and self._pace is not None:
            self._pace.start_anew()

    def _cost(self, tool: str) -> float:
        return next((cost for pattern, cost in self._tools.cost if glob(pattern, tool)), 1.0)

    def _too_many(self) -> Excess | None:
        if self._most is None or self.calls <= self._most:
            return None
        why = f"call {self.calls} of the session, the limit is {self._most}"
        return Excess("tools.calls", why, self.calls, self._most)

    def _too_dear(self, name: str, cost: float) -> Excess | None:
        if self._budget is None or self.spent <= self._budget + _ROUNDING:
            return None
        left = max(0.0, self._budget - self.spent + cost)
        why = f"a call of `{name}` costs {cost:g}, and {left:g} of {self._budget:g} is left"
        return Excess("tools.budget", why, self.spent, self._budget, {"tool": name, "cost": cost})

    def _too_fast(self, now: float) -> Excess | None:
        pace = self._pace
        if pace is None or pace.take(now):
            return None
        why = f"{pace.taken:.0f} calls in {pace.lasted():.1f} s, the limit is {spelt(pace.rate)}"
        return Excess("tools.rate", why, pace.measured(), pace.rate)

    def _too_often(self, name: str, same: bytes, now: float) -> Excess | None:
        repeats = self._repeats
        if repeats is None or (times := repeats.see(same, now)) <= repeats.most:
            return None
        limit = f"the limit is {repeats.most} in {show_duration(repeats.window)}"
        why = f"`{name}` was called {times} times with the same arguments, {limit}"
        detail: dict[str, Value] = {"tool": name, "window": repeats.window, "arguments": same.hex()}
        return Excess("tools.repeat", why, times, repeats.most, detail)


def same_call(params: Mapping[str, Any]) -> bytes:
    """What two calls share that ask for the same: `_meta` with its progress token is not in it.

    An answer to what the server asked back makes it another call (MCP 2026-07-28, multi round-trips).
    """
    asked = [params.get(name) or None for name in ("name", "arguments", "inputResponses", "requestState")]
    return sha256(_canonical(asked)).digest()[:16]
