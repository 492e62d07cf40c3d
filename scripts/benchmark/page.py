"""Shows a run: the same tables on a terminal and in docs/performance.md."""

from __future__ import annotations

from typing import Any

from benchmark import egress_page, http_page, inspection_page, numbers

MARK = "<!-- scripts/bench writes below this line -->"
DOCKER_MARK = "<!-- scripts/bench --backend docker writes below this line -->"
EGRESS_MARK = "<!-- scripts/bench --egress writes below this line -->"
INSPECTION_MARK = "<!-- scripts/bench --inspectors writes below this line -->"
HTTP_MARK = "<!-- scripts/bench --http writes below this line -->"
FREEZE_MARK = "<!-- scripts/bench --freeze writes below this line -->"
MARKS = {
    "egress": EGRESS_MARK,
    "docker": DOCKER_MARK,
    "inspection": INSPECTION_MARK,
    "http": HTTP_MARK,
    "freeze": FREEZE_MARK,
}
"""What is written below a mark ends before the next heading of the second level."""
KINDS = {
    "start": "start to the `initialize` result, ms",
    "call": "a call of 200 bytes, ms",
    "medium": "a call of 4 KiB, ms",
    "large": "a call of 1 MiB, ms",
}
PARTS = {
    "wrapper": "wrapper",
    "keeper": "keeper",
    "init": "process 1",
    "gateway": "gateway",
    "holder": "holder",
}
WORDS = {True: "met", False: "**not met**", None: "no verdict"}


def machine(run: dict[str, Any]) -> str:
    """On what, when and by whom it was measured."""
    on = run["machine"]
    engine = "engine {engine}, docker command line {cli}, ".format(**run["engine"]) if "engine" in run else ""
    return (
        f"{run['date']}, {on['cpus']} processors ({on['model']}), kernel {on['kernel']}, {engine}"
        f"Python {on['python']}, as {run['caller']}; load before the run {on['load']}."
    )


def tables(run: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """Title and rows, the first row being the headings."""
    found = [("Marks", _marks(run))]
    if run.get("kind") == "egress":
        return found + egress_page.tables(run)
    if run.get("kind") == "http":
        return found + http_page.tables(run)
    if run.get("kind") == "inspection":
        return found + inspection_page.tables(run)
    for kind, title in KINDS.items():
        rows = [row for name, one in run["servers"].items() for row in _kind(name, one, kind)]
        if rows:
            found.append(
                (title, [["server", "variant", "p50", "p99", "over bare", "times bare", "n"], *rows])
            )
    return found if run.get("kind") == "freeze" else [*found, ("own memory after use, MiB", _memory(run))]


def _marks(run: dict[str, Any]) -> list[list[str]]:
    rows = [["server", "mark", "goal", "measured", ""]]
    for one in run["marks"]:
        bound = "at least" if one.get("least") else "at most"
        goal = "below 0" if one["goal"] == 0 else f"{bound} {one['goal']:g}"
        measured = "-" if one["measured"] is None else f"{one['measured']:.2f}"
        rows.append([one["server"], one["mark"], goal, measured, WORDS[one["met"]]])
    return rows


def _kind(name: str, subject: dict[str, Any], kind: str) -> list[list[str]]:
    found = numbers.summaries(subject).get(kind, {})
    digits = 3 if kind in ("call", "medium") else 1
    return [
        [
            name, variant, f"{one['p50']:.{digits}f}", f"{one['p99']:.{digits}f}",
            f"{one['p50'] - found['bare']['p50']:+.{digits}f}", f"{one['p50'] / found['bare']['p50']:.2f}",
            str(one["n"]),
        ]
        for variant, one in found.items()
    ]  # fmt: skip


def _memory(run: dict[str, Any]) -> list[list[str]]:
    there = {
        part for one in run["servers"].values() for held in one["memory"].values() for part in held["parts"]
    }
    shown = {part: title for part, title in PARTS.items() if part in there}
    rows = [["server", "variant", *shown.values(), "in all"]]
    for name, subject in run["servers"].items():
        for variant, held in subject["memory"].items():
            parts = held["parts"]
            cells = [
                f"{parts[part]['kib'] / 1024:.1f} {parts[part]['read_as'].upper()}" if part in parts else "-"
                for part in shown
            ]
            rows.append([name, variant, *cells, f"{held['kib'] / 1024:.1f}"])
    return rows


def plain(rows: list[list[str]]) -> str:
    """Aligned columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown(rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{'---|' * len(rows[0])}", *lines[1:]])


def written(page: str, run: dict[str, Any]) -> str:
    """The page with the part below the run's own mark replaced by this run."""
    mark = MARKS.get(run.get("kind", ""), MARK)
    head, found, rest = page.partition(mark)
    if not found:
        raise ValueError(f"the page has no line `{mark}`")
    _, heading, after = rest.partition("\n## ")
    parts = [head + mark, machine(run)]
    parts += [f"### {title[0].upper()}{title[1:]}\n\n{markdown(rows)}" for title, rows in tables(run)]
    return "\n\n".join(parts) + "\n" + heading + after
