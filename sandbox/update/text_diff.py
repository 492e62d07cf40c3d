"""Two texts of a file, as lines for a person: nothing in them is hidden, and there are never too many (P)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, Literal

from sandbox.inspect.pin_diff import visible

Sign = Literal["+", "-", " ", "…"]
Line = tuple[Sign, str]

MOST_COMPARED: Final = 1500
"""Lines of each text between what both begin and end with: beyond, all old lines go and all new ones come."""
WIDTH: Final = 240
"""Characters of a line around the place in which it differs."""
AROUND: Final = 2
"""Lines that are shown although they are as before."""
_NEAR: Final = 60


def lines(old: str, new: str, most: int) -> list[Line]:
    """The lines that went and came, with what is around them: `most`, and one that counts the rest."""
    found: list[Line] = []
    left = 0
    for sign, text in _lines(old.splitlines(), new.splitlines()):
        if len(found) < most:
            found.append((sign, text))
        elif sign in "+-":
            left += 1
    if left:
        found.append(("…", f"{left} more changed lines"))
    return found


def _lines(old: Sequence[str], new: Sequence[str]) -> Iterator[Line]:
    head, tail = _alike(old, new)
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    yield from _context(old[max(0, head - AROUND) : head])
    if max(len(before), len(after)) > MOST_COMPARED:
        yield from _replaced(before, after)
    else:
        yield from _matched(before, after)
    yield from _context(old[len(old) - tail : len(old) - tail + AROUND])


def _alike(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    least = min(len(old), len(new))
    head = next((at for at in range(least) if old[at] != new[at]), least)
    tail = next((at for at in range(least - head) if old[-1 - at] != new[-1 - at]), least - head)
    return head, tail


def _matched(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    for group in SequenceMatcher(None, before, after).get_grouped_opcodes(AROUND):
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from _context(before[old_from:old_to])
            else:
                yield from _replaced(before[old_from:old_to], after[new_from:new_to])


def _replaced(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    for at in range(max(len(before), len(after))):
        one = before[at] if at < len(before) else None
        other = after[at] if at < len(after) else None
        start = _differs_at(one, other)
        if one is not None:
            yield "-", _shown(one, start)
        if other is not None:
            yield "+", _shown(other, start)


def _differs_at(one: str | None, other: str | None) -> int:
    """Of a line of a thousand characters only what differs is for anybody's eyes."""
    if one is None or other is None:
        return 0
    least = min(len(one), len(other))
    return next((at for at in range(least) if one[at] != other[at]), least)


def _context(texts: Sequence[str]) -> Iterator[Line]:
    for text in texts:
        yield " ", _shown(text, 0)


def _shown(text: str, start: int) -> str:
    first = 0 if len(text) <= WIDTH else max(0, start - _NEAR)
    kept = text[first : first + WIDTH].replace("\t", "    ")
    before = f"…{first} characters… " if first else ""
    after = len(text) - first - WIDTH
    return before + visible(kept) + (f" …{after} characters…" if after > 0 else "")
