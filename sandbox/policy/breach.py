"""What becomes of a limit that was exceeded, and what a client is told of it: decided, not done (P)."""

from __future__ import annotations

import math

from sandbox.policy.flags import Flags
from sandbox.policy.model import BreachPolicy, Ending, Origin, Policy
from sandbox.policy.quota import LARGEST, LONGEST, show_duration, show_size

SETTLE_S = 10.0
"""A limit that nobody found exceeded for that long was below it in between."""
GROWING = frozenset(
    "quota.wall quota.idle quota.written quota.cpu_time tools.calls tools.budget".split(),
)
"""What is measured here never falls by itself: silence about it says nothing."""
_QUOTAS = frozenset("pids open_files disk written cpu_time busy wall idle".split())
_SIZES = frozenset("memory disk written waste upload download".split())
_DURATIONS = frozenset("wall idle cpu_time busy timeout stall".split())
_RATES = frozenset(("traffic.rate", "traffic.flood", "tools.rate"))
FASTEST = 1e6
_RATE_UNITS = (("s", 1.0), ("m", 60.0), ("h", 3600.0))


def ending(policy: BreachPolicy, key: str) -> Ending:
    """What the profile wants done for `key`; what it does not speak of ends the sandbox.

    `deny` is done where the message is: what is found exceeded all the same could not be denied.
    """
    part, _, name = key.partition(".")
    asked = "kill"
    if part == "quota" and name in _QUOTAS:
        asked = getattr(policy, name)
    elif part == "traffic":
        asked = policy.traffic
    elif part == "tools":
        asked = policy.calls
    elif key == "syscalls.tier":
        asked = policy.syscall
    if asked == "warn":
        return "warn"
    return "freeze" if asked == "freeze" else "kill"


class Episodes:
    """Since when each limit is exceeded: a person is told once, and again only after it was below."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._allowed: dict[str, float] = {}

    def begins(self, key: str, now: float, measured: float | None) -> bool:
        """Whether this excess is a new one; `now` in seconds of one clock."""
        if key in self._allowed and (measured is None or measured < self._allowed[key]):
            self._seen[key] = now
            return False
        seen = self._seen.get(key)
        self._seen[key] = now
        if key in self._allowed:
            del self._allowed[key]
            return True
        return seen is None or (key not in GROWING and now - seen > SETTLE_S)

    def below(self, key: str) -> None:
        """It was seen to be within its limit."""
        self._seen.pop(key, None)
        self._allowed.pop(key, None)

    def allow(self, key: str, now: float, measured: float | None, limit: float | None) -> None:
        """A person let it go on: what only grows may do so by its limit once more."""
        self._seen[key] = now
        if key in GROWING and measured is not None and limit is not None:
            self._allowed[key] = measured + limit


def key_origin(policy: Policy, key: str) -> Origin:
    """Where `key` or the nearest key above it was written."""
    while (origin := policy.origin(key)).file == "default" and "." in key:
        key = key.rpartition(".")[0]
    return origin


def place(origin: Origin) -> str:
    """`web.toml:12`, `--memory` or `default`: what a person needs to find it, and no path of this machine."""
    file = origin.file.rpartition("/")[2]
    return f"{file}:{origin.line}" if origin.line else file


def raised(key: str, measured: float | None, limit: float | None) -> dict[str, str]:
    """The option, or the profile's key where there is none, that allows what was measured."""
    if not limit or not math.isfinite(limit):
        return {}
    value = 2 * limit
    while measured is not None and value < measured < math.inf:
        value *= 2
    if value > _most(key):
        return {}
    part, _, name = key.partition(".")
    text = shown(key, value)
    if part == "quota" and name in Flags.__slots__:
        return {"flag": f"--{name.replace('_', '-')} {text}"}
    return {"key": f"{key} = {text}" if _is_number(text) else f'{key} = "{text}"'}


def _most(key: str) -> float:
    """What a profile may ask for at most."""
    if key in _RATES:
        return FASTEST
    return LONGEST if key.rpartition(".")[2] in _DURATIONS else LARGEST


def shown(key: str, value: float) -> str:
    """A value of `key` as a profile writes it."""
    name = key.rpartition(".")[2]
    if key in _RATES:
        return _rate(value)
    if name in _SIZES:
        return show_size(math.ceil(value))
    if name in _DURATIONS:
        return show_duration(value)
    return str(int(value)) if value == int(value) else f"{value:.6f}".rstrip("0")


def _rate(each: float) -> str:
    for unit, seconds in _RATE_UNITS[:-1]:
        if each * seconds >= 1:
            return f"{math.ceil(each * seconds)}/{unit}"
    return f"{math.ceil(each * _RATE_UNITS[-1][1])}/h"


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdecimal()
