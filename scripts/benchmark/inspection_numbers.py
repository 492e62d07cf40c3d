"""The marks of inspection: a call through it against a byte copy, and all inspectors together; pure."""

from __future__ import annotations

from statistics import median

from benchmark.numbers import CALL_RATIO, LARGE_MS, Run, mark, p50s, summaries, times_the_copy

SHARE_US = {"200 B": 10.0, "4 KiB": 15.0, "1 MiB": 3000.0}
"""Goals for all inspectors together, a call and its answer."""
READING = "frames"


def marks(run: Run) -> list[Run]:
    """What was measured, and whether the goals were met."""
    rows = [row for name, one in run["servers"].items() for row in _server(name, one)]
    sums = {size: sum(both_ways(part) for part in parts.values()) for size, parts in inspected(run).items()}
    return rows + [
        mark("in one process", f"all inspectors at {size}, us", sums[size], goal)
        for size, goal in SHARE_US.items()
    ]


def _server(name: str, subject: Run) -> list[Run]:
    found = summaries(subject)
    large = p50s(found["large"])
    return [
        mark(name, "call added, times the byte copy's", times_the_copy(p50s(found["call"])), CALL_RATIO),
        mark(
            name, "4 KiB call added, times the byte copy's", times_the_copy(p50s(found["medium"])), CALL_RATIO
        ),
        mark(name, "1 MiB added, ms", large["wrapped"] - large["bare"], LARGE_MS),
    ]


def inspected(run: Run) -> dict[str, dict[str, Run]]:
    """Size -> inspector -> way -> samples, without what reading costs."""
    return {
        size: {name: ways for name, ways in parts.items() if name != READING}
        for size, parts in run["share_us"].items()
    }


def both_ways(ways: Run) -> float:
    """The medians of a call and of its answer, added."""
    return sum(median(samples) for samples in ways.values() if samples)
