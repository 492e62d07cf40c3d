"""From the samples of an egress run to medians, ratios, marks; pure, so that any run can be checked again."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmark.numbers import Run, memory_mark, percentile

CONNECTION_RATIO, BULK_RATIO, TRAP_MS = 2.5, 0.8, 10.0
KINDS = {
    "connect": "new connection, µs",
    "connect-tls": "new TLS connection, µs",
    "download": "download, MB/s",
    "upload": "upload, MB/s",
    "download-tls": "download over TLS, MB/s",
    "upload-tls": "upload over TLS, MB/s",
    "lookup": "lookup of an allowed name, µs",
}


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Median, the tenths at both ends, and how many samples stand behind them."""
    return {
        "p10": percentile(samples, 0.1),
        "p50": statistics.median(samples),
        "p90": percentile(samples, 0.9),
        "n": len(samples),
    }


def ratio(ways: dict[str, list[float]], way: str = "sandboxed") -> float | None:
    """The median of a way over the direct one; None where there is no direct way."""
    if "direct" not in ways:
        return None
    return statistics.median(ways[way]) / statistics.median(ways["direct"])


def marks(run: Run) -> list[Run]:
    """The goals of docs/performance.md for the way out: what was measured, and whether it was met."""
    rows = []
    for kind, ways in run["way"].items():
        times = ratio(ways)
        what = KINDS[kind].partition(",")[0]
        if times is not None and kind.startswith("connect"):
            rows.append(_mark(f"{what}, times direct", times, CONNECTION_RATIO))
        elif times is not None:
            rows.append(_mark(f"{what}, times direct", times, BULK_RATIO, least=True))
    parts = sum(statistics.median(one) for one in run["parts_ms"].values())
    rows.append(_mark("parts of the trap in a start, ms", parts, TRAP_MS))
    before = run["start_ms"].get("before")
    for name in ("nothing allowed", "a host"):
        added = None
        if before:
            added = statistics.median(run["start_ms"][name]) - statistics.median(before)
        rows.append(_mark(f"start with {name}, over a program without the trap, ms", added, TRAP_MS))
    for name, held in run["memory"].items():
        if "connections" not in name:
            rows.append(memory_mark("egress", f"own memory with {name}, MiB", held))
    return rows


def _mark(what: str, measured: float | None, goal: float, *, least: bool = False) -> dict[str, Any]:
    met = None if measured is None else (measured >= goal if least else measured <= goal)
    return {
        "server": "egress", "mark": what, "goal": goal, "least": least, "met": met,
        "measured": None if measured is None else round(measured, 3),
    }  # fmt: skip
