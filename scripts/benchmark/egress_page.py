"""The tables of an egress run."""

from __future__ import annotations

from typing import Any

from benchmark import egress_numbers

PARTS = {
    "load": "modules that a start loads for it",
    "set": "the trap, set in a fresh namespace (in process 1, beside the wrapper)",
    "take": "its sockets, taken (in the gateway, beside the wrapper)",
    "fork": "the gateway, forked (in the wrapper)",
}


def tables(run: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Title and rows, the first row being the headings."""
    return [
        ("the way out, medians (10th to 90th percentile)", _way(run)),
        ("start with the trap, ms", _starts(run)),
        ("memory of our own, MiB", _memory(run)),
    ]


def _way(run: dict[str, Any]) -> list[list[str]]:
    rows = [["what", "direct", "a bare relay", "sandboxed", "relay, times direct", "times direct", "n"]]
    for kind, ways in run["way"].items():
        cells = [_spread(ways[way]) if way in ways else "-" for way in ("direct", "relayed", "sandboxed")]
        times = [egress_numbers.ratio(ways, way) for way in ("relayed", "sandboxed")]
        shown = ["-" if one is None else f"{one:.2f}" for one in times]
        rows.append([egress_numbers.KINDS[kind], *cells, *shown, str(len(ways["sandboxed"]))])
    return rows + [[f"not measured: {one}", *"-----", "0"] for one in run["skipped"]]


def _spread(samples: list[float]) -> str:
    found = egress_numbers.spread(samples)
    return f"{found['p50']:.0f} ({found['p10']:.0f} to {found['p90']:.0f})"


def _starts(run: dict[str, Any]) -> list[list[str]]:
    rows = [["what", "p50", "p10", "p90", "n"]]
    named = {
        "nothing allowed": "a start with nothing allowed",
        "a host": "a start with a host allowed",
        "before": "a start of the program without the trap",
    }
    for samples, title in [
        *((run["start_ms"][name], title) for name, title in named.items() if name in run["start_ms"]),
        *((run["parts_ms"][name], title) for name, title in PARTS.items()),
    ]:
        found = egress_numbers.spread(samples)
        rows.append([title, *(f"{found[at]:.2f}" for at in ("p50", "p10", "p90")), str(found["n"])])
    return rows


def _memory(run: dict[str, Any]) -> list[list[str]]:
    names = ("gateway", "wrapper", "keeper", "init")
    rows = [["with", "gateway", "wrapper", "keeper", "process 1", "in all"]]
    for name, held in run["memory"].items():
        parts = held["parts"]
        cells = [
            f"{parts[part]['kib'] / 1024:.1f} {parts[part]['read_as'].upper()}" if part in parts else "-"
            for part in names
        ]
        rows.append([name, *cells, f"{held['kib'] / 1024:.1f}"])
    return rows
