"""The marks of a run with locks; pure, so that any run can be checked again."""

from __future__ import annotations

from benchmark.numbers import START_MS, Run, mark, p50s, summaries


def marks(run: Run) -> list[Run]:
    """From its lock a server starts below every other way to start it, and near the bare program."""
    return [row for name, one in run["servers"].items() for row in _of(name, one)]


def _of(name: str, server: Run) -> list[Run]:
    start = p50s(summaries(server)["start"])
    rows = [mark(name, "start from the lock over bare, ms", start["locked"] - start["bare"], START_MS)]
    for other, words in (("runner", "the bare runner"), ("docker", "`docker run`")):
        if other in start:
            what = f"start from the lock over {words}, ms"
            rows.append(mark(name, what, start["locked"] - start[other], 0))
    return rows
