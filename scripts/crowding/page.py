"""The table of a crowd, in docs/quotas.md, and of one that comes over HTTP, in docs/serve.md."""

from __future__ import annotations

import textwrap
from typing import Any

START, END = "<!-- scripts/crowd writes from here -->", "<!-- up to here -->"
WIDTH = 118
HEADING, SERVE_HEADING = "## Measured: a crowd\n", "## Measured: a hundred clients\n"
PARTS = {"wrapper": "wrapper", "keeper": "keeper", "init": "process 1", "gateway": "gateway"}


def written(page: str, run: dict[str, Any]) -> str:
    """The page with this run below its heading."""
    body = f"{START}\n\n{table(run)}\n\n{END}"
    if START in page:
        head, _, rest = page.partition(START)
        return head + body + rest.partition(END)[2]
    heading = SERVE_HEADING if run.get("serve") else HEADING
    if heading not in page:
        raise ValueError(f"the page has no heading `{heading.strip()}`")
    return page.replace(heading, f"{heading}\n{body}\n", 1)


def table(run: dict[str, Any]) -> str:
    """On what it was measured, and every number."""
    own = run["own"]
    parts = ", ".join(
        f"{title} {own['parts_kib'][name] / 1024:.1f}"
        for name, title in PARTS.items()
        if name in own["parts_kib"]
    )
    left = "nothing" if not run["left"] else f"**{', '.join(run['left'])}**"
    rows = [
        ("calls, errors", f"{run['calls']}, {run['errors']}"),
        ("a call while one sandbox alone makes them, ms", spread(run["alone_ms"])),
        ("a call in the crowd, ms", spread(run["call_ms"])),
        (
            f"start to the answer to `initialize`, {run.get('at_once', 4)} at a time, ms",
            spread(run["start_ms"]),
        ),
        *_of_the_front(run),
        ("our own memory of one sandbox, MiB (PSS)", f"{own['each_kib'] / 1024:.1f}: {parts}"),
        ("our own memory of all, MiB", f"{own['all_mib']}"),
        ("the same with the servers, MiB", f"{run['machine_mib']}"),
        ("our own processor time of one sandbox, percent of one", f"{run['own_cpu_percent']:.2f}"),
        ("left after the end", left),
    ]
    head = (
        f"{run['date']}, {run['cpus']} processors, as {run['caller']}: {run['sandboxes']} sandboxes at once, "
        f"half Python, half Node, each making calls of 200 bytes, {run['pace']:g} a second, for "
        f"{run['seconds'] / 60:.1f} minutes (`{_how(run)}`); load of the machine at the start "
        f"{run['load'][0]}, at the end {run['load'][1]}."
    )
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([textwrap.fill(head, WIDTH), "", "| what | measured |", "|---|---|", *lines])


def _how(run: dict[str, Any]) -> str:
    return "scripts/crowd --serve" if run.get("serve") else "scripts/crowd"


def _of_the_front(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What only clients over HTTP have."""
    if not run.get("serve"):
        return []
    return [
        ("until all had their answer, s", f"{run['all_started_s']}"),
        ("memory of the front itself, MiB (PSS)", f"{run['front_kib'] / 1024:.1f}"),
    ]


def spread(found: dict[str, float]) -> str:
    return f"p50 {found['p50']:.2f}, p99 {found['p99']:.2f}, at most {found['max']:.1f}" if found else "-"
