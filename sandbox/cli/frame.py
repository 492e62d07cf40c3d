"""One frame of `top`: the table and the sums, as rich draws them; no name in it is read as markup."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sandbox.cli.columns import COLUMNS, NOTHING, NUMBERS, Session, number, row, share, size

FULL, NEARLY = 0.9, 0.7
"""Of a limit: from there on red, yellow."""
BAR = 8
_FRAME_ROWS = 6
"""What a frame has beside the sessions: sums, heads, rules."""
_LEAST_ROWS = 3


def frame(sessions: Sequence[Session], at: str, *, rows: int | None = None, hint: str = "") -> Group:
    """All of one look; at most `rows` lines of it, and how many sessions found no room."""
    room = len(sessions) if rows is None else max(_LEAST_ROWS, rows - _FRAME_ROWS)
    parts: list[RenderableType] = [_sums(sessions, at, hint), _table(sessions[:room])]
    if len(sessions) > room:
        parts.append(Text(f" … and {len(sessions) - room} more", style="dim"))
    if not sessions:
        parts[1:] = [Text("\n no sandbox of yours is running", style="dim")]
    return Group(*parts)


def _sums(sessions: Sequence[Session], at: str, hint: str) -> Text:
    used = [number(one, "use", "memory") or 0 for one in sessions]
    busy = [number(one, "use", "share") or 0 for one in sessions]
    calls = [number(one, "messages", "calls") or 0 for one in sessions]
    denied = sum(number(one, "denied", "all") or 0 for one in sessions)
    what = "1 sandbox" if len(sessions) == 1 else f"{len(sessions)} sandboxes"
    said = Text(" ")
    said.append(what, style="bold")
    said.append(f"   memory {size(sum(used))}   cpu {share(sum(busy))}   calls {sum(calls):.0f}   ")
    said.append(f"denied {denied:.0f}", style="red" if denied else "")
    said.append(f"   {at}   {hint}".rstrip(), style="dim")
    return said


def _table(sessions: Sequence[Session]) -> Table:
    made = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        made.add_column(
            name, justify="right" if name in NUMBERS else "left", no_wrap=True, overflow="ellipsis"
        )
    for one in sessions:
        cells = dict(zip(COLUMNS, row(one), strict=True))
        made.add_row(*(_drawn(name, word, one) for name, word in cells.items()))
    return made


def _drawn(name: str, word: str, one: Session) -> Text:
    if name == "MEMORY":
        return _with_bar(word, _part(one, "memory"))
    if name == "PIDS":
        return Text(word, style=_colour(_part(one, "pids")))
    if name == "STATE":
        return Text(word, style=_state(one))
    if word == NOTHING or word == "0":
        return Text(word, style="dim")
    return Text(word, style={"SERVER": "bold", "DENIED": "red"}.get(name, ""))


def _with_bar(word: str, part: float | None) -> Text:
    said = Text(word)
    if part is not None:
        filled = min(BAR, max(1, round(part * BAR))) if part else 0
        said.append(" ")
        said.append("━" * filled, style=_colour(part) or "green")
        said.append("━" * (BAR - filled), style="bright_black")
    return said


def _part(one: Session, key: str) -> float | None:
    used, limit = number(one, "use", key), number(one, "limits", key)
    return used / limit if used is not None and limit else None


def _colour(part: float | None) -> str:
    if part is None or part < NEARLY:
        return ""
    return "red" if part >= FULL else "yellow"


def _state(one: Session) -> str:
    if one.get("warned"):
        return "yellow"
    return {"running": "green", "frozen": "bold cyan", "left behind": "red"}.get(str(one["state"]), "yellow")
