"""The design's marks for the Docker backend, against `docker run` of the same image and server; pure."""

from __future__ import annotations

from benchmark.numbers import Run, mark, memory_mark, p50s, summaries

START_MS = 150.0


def marks(name: str, subject: Run) -> list[Run]:
    """One server's: what was measured, and whether the goal was met."""
    found = summaries(subject)
    start, call = p50s(found["start"]), p50s(found["call"])
    rows = [
        mark(name, "start over `docker run`, ms", start["wrapped"] - start["bare"], START_MS),
        mark(name, "call over `docker run`, ms", call["wrapped"] - call["bare"], 0),
    ]
    if "large" in found:
        large = p50s(found["large"])
        rows.append(mark(name, "1 MiB over `docker run`, ms", large["wrapped"] - large["bare"], 0))
    return [*rows, memory_mark(name, "own memory, MiB", subject["memory"]["wrapped"])]
