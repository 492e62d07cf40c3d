"""A `breach.report` as a person reads it: what ran, what was asked, what was used and what was said.

The log may have been edited and its strings are the server's: what is not as expected is left out, and a
terminal is shown nothing that it would act on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Detail = Mapping[str, Any]

_SAMPLES = 10
_MIB = 1 << 20
# Of a sample: the name in the log, the title, and what one unit of the column is (0: as it is).
_COLUMNS = (
    ("memory", "MEMORY", _MIB), ("pids", "PIDS", 0), ("cpu", "CPU", 0), ("busy", "BUSY", 0),
    ("open_files", "FILES", 0), ("written", "WRITTEN", _MIB), ("idle", "IDLE", 0),
)  # fmt: skip


def lines(detail: Detail) -> Iterator[str]:
    """The report, each part under a title; parts without anything to show are left out."""
    parts = (
        (f"processes{_before(detail)} the end (pid, inside, state, threads, memory)", _processes(detail)),
        ("open calls (age)", _calls(detail)),
        (f"last samples, of at most {_SAMPLES} (seconds before the end)", _samples(detail)),
        ("recent egress (seconds before the end)", _egress(detail)),
        ("last of stderr", _stderr(detail)),
    )
    for title, rows in parts:
        shown = [*rows]
        if shown:
            yield f"  {title}"
            yield from (f"    {row}".rstrip() for row in shown)


def _before(detail: Detail) -> str:
    age = _number(detail, "before")
    return f", {age:.0f} s before" if age >= 1 else " right before"


def summary(detail: Detail) -> str:
    """One line instead of it all."""
    counts = (("processes", "processes"), ("calls", "open calls"), ("egress", "facts of egress"))
    return ", ".join(
        f"{len(_rows(detail, key)) + _number(detail, f'more_{key}'):.0f} {name}" for key, name in counts
    )


def visible(text: str) -> str:
    """`text` with everything that is not printable (control, bidi, zero-width, surrogates) written out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _processes(detail: Detail) -> Iterator[str]:
    for one, depth in _tree(_rows(detail, "processes")):
        numbers = f"{_number(one, 'pid'):>7.0f} {_number(one, 'inside'):>6.0f} {_text(one, 'state'):<1}"
        more = f"{_number(one, 'threads'):>4.0f} {_number(one, 'memory') / _MIB:>8.1f}M"
        yield f"{numbers} {more}  {'  ' * min(depth, 16)}{_text(one, 'name')}"
    yield from _more(detail, "processes")


def _tree(rows: list[Detail]) -> Iterator[tuple[Detail, int]]:
    """Each process below its parent, with its depth; where an edited log has a circle, nothing of it."""
    children: dict[float, list[Detail]] = {}
    for one in rows:
        children.setdefault(_number(one, "parent"), []).append(one)
    known = {_number(one, "pid") for one in rows}
    waiting = [(one, 0) for one in reversed(rows) if _number(one, "parent") not in known]
    while waiting:
        one, depth = waiting.pop()
        yield one, depth
        below = children.pop(_number(one, "pid"), [])
        waiting += [(child, depth + 1) for child in reversed(below)]


def _calls(detail: Detail) -> Iterator[str]:
    for one in _rows(detail, "calls"):
        yield f"{_number(one, 'age'):>8.1f}s  {_text(one, 'method')} {_text(one, 'tool')}"
    yield from _more(detail, "calls")


def _more(detail: Detail, key: str) -> Iterator[str]:
    if more := _number(detail, f"more_{key}"):
        yield f"and {more:.0f} more"


def _samples(detail: Detail) -> Iterator[str]:
    rows = _rows(detail, "samples")[-_SAMPLES:]
    columns = [column for column in _COLUMNS if any(column[0] in row for row in rows)]
    if columns:
        titles = ("BEFORE", *(title for _, title, _ in columns), "FULLEST")
        yield " ".join(f"{title:>9}" for title in titles)
    for row in rows if columns else ():
        cells = (_cell(row, name, unit) for name, _, unit in columns)
        yield " ".join([f"{_number(row, 'before'):>8.1f}s", *cells, f"{_fullest(row):>8.0%}"])


def _fullest(row: Detail) -> float:
    """How full the fullest writable place in memory is, by bytes or by files."""
    places = row.get("disks")
    numbers = [one for one in places.values() if isinstance(one, dict)] if isinstance(places, dict) else []
    parts = (("used", "size"), ("files", "most"))
    shares = (_number(one, used) / max(1, _number(one, size)) for one in numbers for used, size in parts)
    return max(shares, default=0)


def _cell(row: Detail, name: str, unit: int) -> str:
    if not isinstance(row.get(name), int | float):
        return f"{'-':>9}"
    value = _number(row, name)
    return f"{value / unit:>8.1f}M" if unit else f"{value:>9g}"


def _egress(detail: Detail) -> Iterator[str]:
    for one in _rows(detail, "egress"):
        where = f"{_text(one, 'host')}:{_number(one, 'port'):.0f}" if "host" in one else ""
        rest = " ".join(_text(one, name) for name in ("protocol", "end", "reason") if name in one)
        yield f"{_number(one, 'before'):>8.1f}s  {_text(one, 'kind'):<14} {where} {rest}"


def _stderr(detail: Detail) -> Iterator[str]:
    said = detail.get("stderr")
    if isinstance(said, str):
        yield from (f"| {visible(line)}" for line in said.rstrip("\n").split("\n") if said.strip())


def _rows(detail: Detail, key: str) -> list[Detail]:
    rows = detail.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _number(row: Detail, name: str) -> float:
    value = row.get(name)
    return value if isinstance(value, int | float) and abs(value) < 1 << 60 else 0


def _text(row: Detail, name: str) -> str:
    value = row.get(name)
    return visible(value) if isinstance(value, str) else ""
