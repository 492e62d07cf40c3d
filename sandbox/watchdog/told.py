"""What an engine on another machine told of its container, about once a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from sandbox.watchdog.cgroup import OWN_PROCESSES
from sandbox.watchdog.meter import Usage


class ToldMeter:
    """`last`: the newest line that came, as JSON; nothing else of such a sandbox can be seen from here."""

    def __init__(self, last: Callable[[], str]) -> None:
        self._last = last

    def watched(self) -> Mapping[int, int]:
        """The line is read when a look is due: that is as often as there is one."""
        return {}

    def called(self) -> bool:
        """Nobody calls."""
        return False

    def measure(self) -> Usage:
        """All unknown until the first line came."""
        try:
            told = json.loads(self._last() or "{}")
        except ValueError:
            return Usage()
        memory, peak, cache, pids = (_whole(told.get(name)) for name in ("memory", "peak", "cache", "pids"))
        cpu = told.get("cpu")
        return Usage(
            memory=memory,
            peak=peak,
            cache=cache,
            pids=None if pids is None else max(0, pids - OWN_PROCESSES),
            cpu=float(cpu) if isinstance(cpu, int | float) else None,
        )

    def calm(self) -> bool:
        """Others hold memory."""
        return True

    def halt(self) -> None:
        """An engine does."""

    def close(self) -> None:
        """Holds nothing."""


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
