"""The tables of a run of inspection."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmark.inspection_numbers import both_ways

KINDS = {"call": "200 B", "medium": "4 KiB", "large": "1 MiB"}


def tables(run: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Title and rows, the first row being the headings."""
    return [
        ("a call with and without inspection, ms", _calls(run)),
        ("share of each inspector, us", _share(run)),
    ]


def _calls(run: dict[str, Any]) -> list[list[str]]:
    rows = [["server", "size", "variant", "p50", "over bare", "times the byte copy's", "n"]]
    for name, server in run["servers"].items():
        for kind, size in KINDS.items():
            found = {variant: median(samples) for variant, samples in server["samples_ms"][kind].items()}
            least = found["byte-copy"] - found["bare"]
            for variant, p50 in found.items():
                added = p50 - found["bare"]
                times = f"{added / least:.2f}" if kind != "large" and least > 0.01 else "-"
                count = len(server["samples_ms"][kind][variant])
                rows.append([name, size, variant, f"{p50:.3f}", f"{added:+.3f}", times, str(count)])
    return rows


def _share(run: dict[str, Any]) -> list[list[str]]:
    sizes = list(run["share_us"])
    headings = [f"{size}, {way}" for size in sizes for way in ("to the server", "to the client")]
    rows = [["part", *headings]]
    for part in run["share_us"][sizes[0]]:
        cells = [_us(samples) for size in sizes for samples in run["share_us"][size][part].values()]
        rows.append([part, *cells])
    both = [f"{sum(both_ways(ways) for ways in run['share_us'][size].values()):.1f}" for size in sizes]
    return [*rows, ["all, both ways", *(cell for one in both for cell in (one, ""))]]


def _us(samples: list[float]) -> str:
    return f"{median(samples):.1f}" if samples else "-"
