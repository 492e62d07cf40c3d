"""How one session reads in a table: the words of `ps` and `top`, of which none can drive a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Session = Mapping[str, Any]
COLUMNS = (
    "SERVER", "PROFILE", "BACKEND", "CLIENT", "PID", "UP", "MEMORY", "PIDS", "CPU", "CALLS", "DENIED", "STATE"
)  # fmt: skip
NUMBERS = frozenset(("PID", "UP", "MEMORY", "PIDS", "CPU", "CALLS", "DENIED"))
NAME_MAX = 24
STATE_MAX = 60
NOTHING = "-"
_UNITS = ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))


def row(one: Session) -> tuple[str, ...]:
    """The cells of one session, in the order of `COLUMNS`."""
    return (
        cell(one["server"]),
        cell(one["profile"]),
        cell(one["backend"]),
        cell(client(one)),
        str(one["pid"]),
        since(one["uptime"]) if one["state"] != "left behind" else NOTHING,
        of_limit(number(one, "use", "memory"), number(one, "limits", "memory"), size),
        of_limit(number(one, "use", "pids"), number(one, "limits", "pids"), _count),
        share(number(one, "use", "share")),
        _count(number(one, "messages", "calls")),
        _count(number(one, "denied", "all")),
        cell(state(one), STATE_MAX),
    )


def client(one: Session) -> str:
    """The client's name and version, as it gave them."""
    told = one.get("client") or {}
    return f"{told.get('name', '')} {told.get('version', '')}".strip()


def state(one: Session) -> str:
    """What it does, how many calls wait for a person, and what was exceeded last without ending it."""
    waiting, warned = one.get("waiting"), one.get("warned")
    asks = f", {waiting} to answer" if waiting else ""
    return f"{one['state']}{asks}{f', warned: {warned}' if warned else ''}"


def number(one: Session, group: str, key: str) -> float | None:
    """A number that the session told, or None."""
    value = (one.get(group) or {}).get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def cell(text: object, most: int = NAME_MAX) -> str:
    """`text` on one line, with everything escaped that would end, move or hide it; cut to `most`."""
    word = str(text or NOTHING)
    if not word.isprintable():
        word = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in word)
    return word if len(word) <= most else f"{word[: most - 1]}…"


def of_limit(value: float | None, limit: float | None, spelt: Any) -> str:
    """`57M/512M`; without a limit `57M`."""
    if value is None:
        return NOTHING
    return f"{spelt(value)}/{spelt(limit)}" if limit else str(spelt(value))


def share(value: float | None) -> str:
    """Percent of one processor."""
    return NOTHING if value is None else f"{value * 100:.0f}%"


def size(amount: float) -> str:
    """`0`, `812K`, `57M`, `1.5G`: three digits at most."""
    for scale, unit in _UNITS:
        if amount >= scale:
            found = amount / scale
            return f"{found:.1f}{unit}" if found < 10 and found % 1 >= 0.05 else f"{found:.0f}{unit}"
    return f"{amount:.0f}"


def since(seconds: float) -> str:
    """`12s`, `3m 05s`, `2h 07m`, `4d 01h`: two units at most."""
    whole = int(seconds)
    for unit, scale, below, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= scale:
            return f"{whole // scale}{unit} {whole % scale // part:02d}{below}"
    return f"{whole}s"


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"
