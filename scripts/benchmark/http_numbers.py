"""From the samples of a run over HTTP to what each way adds, and whether we are ahead of the others; pure."""

from __future__ import annotations

import statistics
from typing import Any

from benchmark.numbers import Run

OURS = "mcp-sandbox"
KINDS = {"call": "a call of 200 bytes", "medium": "a call of 4 KiB", "large": "a call of 1 MiB"}
JUDGED = ("call", "medium")
"""What is read and inspected twice on its way is not compared with what is copied: 1 MiB is shown alone."""
SIDES = {"inside": "stdio to a server that speaks HTTP", "serve": "HTTP to a server that speaks stdio"}


def p50(ways: dict[str, list[float]], way: str) -> float:
    """The median of a way."""
    return statistics.median(ways[way])


def added(ways: dict[str, list[float]], way: str) -> float:
    """What a way adds to the direct one, in ms."""
    return p50(ways, way) - p50(ways, "direct")


def marks(run: Run) -> list[Run]:
    """That we add less than each of the others, and let more calls through."""
    rows = []
    for side, kinds in run["http"].items():
        for other in (name for name in run["others"] if name in kinds["call"]):
            for kind in JUDGED:
                times = added(kinds[kind], OURS) / max(added(kinds[kind], other), 1e-6)
                rows.append(_mark(side, f"{KINDS[kind]}: added, times what {other} adds", times))
            times = p50(kinds["rate"], OURS) / p50(kinds["rate"], other)
            rows.append(_mark(side, f"calls a second, times {other}'s", times, least=True))
    return rows


def _mark(side: str, what: str, measured: float, *, least: bool = False) -> dict[str, Any]:
    met = measured >= 1 if least else measured <= 1
    return {
        "server": side, "mark": what, "goal": 1, "least": least, "met": met, "measured": round(measured, 3),
    }  # fmt: skip
