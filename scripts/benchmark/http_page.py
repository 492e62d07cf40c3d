"""The tables of a run over HTTP."""

from __future__ import annotations

from typing import Any

from benchmark import http_numbers
from benchmark.numbers import percentile


def tables(run: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Title and rows, the first row being the headings."""
    return [(title, _side(run["http"][side])) for side, title in http_numbers.SIDES.items()]


def _side(kinds: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    rows = [["what", "way", "p50", "p99 (worst)", "added p50", "n"]]
    for kind, title in http_numbers.KINDS.items():
        for way, samples in kinds[kind].items():
            if not samples:
                rows.append([f"{title}, ms", way, "refused", "-", "-", "0"])
                continue
            added = "-" if way == "direct" else f"{http_numbers.added(kinds[kind], way):+.3f}"
            cells = [f"{http_numbers.p50(kinds[kind], way):.3f}", f"{percentile(samples, 0.99):.3f}"]
            rows.append([f"{title}, ms", way, *cells, added, str(len(samples))])
    for way, samples in kinds["rate"].items():
        p50 = http_numbers.p50(kinds["rate"], way)
        rows.append(
            ["calls a second, 8 open", way, f"{p50:.0f}", f"{min(samples):.0f}", "-", str(len(samples))]
        )
    for way, (held,) in kinds.get("memory", {}).items():
        rows.append(["memory between, MiB", way, f"{held:.1f}", "-", "-", "1"])
    return rows
