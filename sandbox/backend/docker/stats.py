"""What an engine counts of a container, for a wrapper on another machine: one line a second."""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sandbox import engine
from sandbox.backend import report


def follow(connect: Callable[[], engine.Api], container: str, out: int) -> None:
    """Until the container or the engine is over; what nobody reads is left out, never waited for."""
    poll = select.poll()
    poll.register(out, select.POLLOUT)
    with suppress(*engine.Failed):
        for one in connect().stats(container, decode=True, stream=True):
            if poll.poll(0) == [(out, select.POLLOUT)]:
                report.tell(out, "stats", json.dumps(condensed(one), separators=(",", ":")))


def condensed(one: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers that a sample has, in its units; what an engine leaves out is left out."""
    memory = one.get("memory_stats") or {}
    parts = memory.get("stats") or {}
    nanoseconds = ((one.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    found = {
        "memory": memory.get("usage"),
        "peak": memory.get("max_usage"),  # version 1 alone
        "cache": parts.get("total_cache", parts.get("file")),
        "pids": (one.get("pids_stats") or {}).get("current"),
        "cpu": nanoseconds / 1e9 if isinstance(nanoseconds, int) else None,
    }
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
