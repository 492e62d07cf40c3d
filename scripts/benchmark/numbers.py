"""From samples to medians, additions and the design's marks; pure, so that any run can be checked again."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

Run = dict[str, Any]

START_MS, CALL_RATIO, LARGE_MS, MEMORY_MIB = 80.0, 1.5, 8.0, 35.0


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` of all lie, by nearest rank."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Median, p99 and how many samples stand behind them."""
    return {
        "p50": round(statistics.median(samples), 4),
        "p99": round(percentile(samples, 0.99), 4),
        "n": len(samples),
    }


def summaries(subject: Run) -> dict[str, dict[str, dict[str, float]]]:
    """kind -> variant -> summary."""
    return {
        kind: {name: summary(samples) for name, samples in variants.items()}
        for kind, variants in subject["samples_ms"].items()
    }


def marks(name: str, subject: Run) -> list[Run]:
    """The goals of docs/performance.md for one server: what was measured, and whether it was met."""
    found = summaries(subject)
    start, call = p50s(found["start"]), p50s(found["call"])
    rows = [mark(name, "start over bare, ms", start["wrapped"] - start["bare"], START_MS)]
    if "runner" in start:
        rows.append(
            mark(name, "start by runner over bare, ms", start["wrapped-runner"] - start["bare"], START_MS)
        )
        rows.append(
            mark(
                name, "start by runner over the bare runner, ms", start["wrapped-runner"] - start["runner"], 0
            )
        )
    rows.append(mark(name, "call added, times the byte copy's", times_the_copy(call), CALL_RATIO))
    if "medium" in found:
        medium = times_the_copy(p50s(found["medium"]))
        rows.append(mark(name, "4 KiB call added, times the byte copy's", medium, CALL_RATIO))
    if "large" in found:
        large = p50s(found["large"])
        rows.append(mark(name, "1 MiB added, ms", large["wrapped"] - large["bare"], LARGE_MS))
    return [*rows, memory_mark(name, "own memory, MiB", subject["memory"]["wrapped"])]


def times_the_copy(call: dict[str, float]) -> float | None:
    """What we add to a call over what a byte copy adds; None where that could be noise."""
    added, least = call["wrapped"] - call["bare"], call["byte-copy"] - call["bare"]
    return added / least if least > 0.01 else None


def memory_mark(server: str, what: str, held: Run) -> Run:
    """RSS counts shared pages in each process: as an upper bound it can meet the goal, and never miss it."""
    row = mark(server, what, held["kib"] / 1024, MEMORY_MIB)
    exact = all(part["read_as"] == "pss" for part in held["parts"].values())
    return row if exact or row["met"] else {**row, "met": None}


def p50s(variants: dict[str, dict[str, float]]) -> dict[str, float]:
    """variant -> median."""
    return {name: one["p50"] for name, one in variants.items()}


def mark(server: str, what: str, measured: float | None, goal: float) -> Run:
    """One row: at most `goal`, but below it where that is 0; without a measurement, no verdict."""
    met = None if measured is None else (measured < goal if goal == 0 else measured <= goal)
    return {
        "server": server, "mark": what, "goal": goal, "met": met,
        "measured": None if measured is None else round(measured, 3),
    }  # fmt: skip
