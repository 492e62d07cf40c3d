"""What waits for approval, as a person reads it: each line with its colour, nothing of a server's hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sandbox.inspect.canonical import NAMES, SERVER
from sandbox.inspect.pin_diff import Change, changes, field, quoted, visible
from sandbox.inspect.pinned import Item, Pinned

Line = tuple[str, str]
"""Words, and the name of a colour or nothing."""
Chosen = dict[str, dict[str, Item]]
"""By kind and name: what waits."""

SHOWN_MAX = 20_000
"""Characters of one value."""
NEAR = 60
"""Characters around a difference that are shown although they are as before."""
UNSHOWN = "its text was not kept, there is too much of it: only a digest says what it is"


def kept(item: Item) -> Any:
    """The definition as it was kept; None where it was not."""
    return json.loads(item.text) if item.text else None


def title(kind: str, key: str) -> str:
    """What an item is called: `tool "read"`, `the server's instructions`."""
    return f"the server's {visible(key)}" if kind == SERVER else f"{kind} {quoted(key)}"


def lines(pinned: Pinned, chosen: Chosen) -> Iterator[Line]:
    """Everything that waits of what was chosen, against what holds."""
    for kind in NAMES:
        for key, item in chosen.get(kind, {}).items():
            yield from _item(kind, key, item, pinned.holds(kind).get(key))
            yield "", ""


def _item(kind: str, key: str, item: Item, held: Item | None) -> Iterator[Line]:
    new = kept(item)
    old = kept(held) if held else None
    yield f"{'new' if held is None else 'changed'}: {title(kind, key)}", "bold"
    if not item.text:
        yield f"  {UNSHOWN}", "red"
        return
    if held is not None and held.text:
        found = changes(old, new)
        if not found:
            yield "  it differs only in what is not shown: a secret, or a text too long to be searched", "red"
    elif type(new) is dict:
        found = [Change((name,), "added", None, value) for name, value in new.items()]
    else:
        found = [Change((), "added", None, new)]
    for change in found:
        yield from _change(change)


def _change(change: Change) -> Iterator[Line]:
    where = field(change.place)
    yield f"  {where}" + ("" if change.sort == "changed" else f" ({change.sort})"), "yellow"
    before, after = ("", 0, 0), ("", 0, 0)
    if type(change.old) is str and type(change.new) is str:
        head, tail = _alike(change.old, change.new)
        before, after = _cut(change.old, head, tail), _cut(change.new, head, tail)
    else:
        before, after = (_spelt(change.old), 0, 0), (_spelt(change.new), 0, 0)
    if change.sort != "added":
        yield from _value("-", "red", *before)
    if change.sort != "removed":
        yield from _value("+", "green", *after)


def _spelt(value: Any) -> str:
    return value if type(value) is str else json.dumps(value, indent=2, ensure_ascii=False)


def _alike(old: str, new: str) -> tuple[int, int]:
    """How many characters both begin and end with that need not be shown."""
    least = min(len(old), len(new))
    head = next((at for at in range(least) if old[at] != new[at]), least)
    tail = next((at for at in range(least - head) if old[-1 - at] != new[-1 - at]), least - head)
    return max(0, head - NEAR), max(0, tail - NEAR)


def _cut(text: str, head: int, tail: int) -> tuple[str, int, int]:
    return text[head : len(text) - tail], head, tail


def _value(sign: str, colour: str, text: str, head: int, tail: int) -> Iterator[Line]:
    if head:
        yield f"  {sign} … {head} characters as before …", ""
    for line in visible(text[:SHOWN_MAX]).split("\n"):
        yield f"  {sign} {line}", colour
    if len(text) > SHOWN_MAX:
        yield f"  {sign} … {len(text) - SHOWN_MAX} more characters are NOT SHOWN; `--json` has them", "red"
    if tail:
        yield f"  {sign} … {tail} characters as before …", ""


def document(pinned: Pinned, chosen: Chosen) -> list[dict[str, Any]]:
    """The same for a program."""
    found = []
    for kind, items in chosen.items():
        for key, item in items.items():
            held = pinned.holds(kind).get(key)
            fields = []
            if held is not None and held.text and item.text:
                fields = [_told(one) for one in changes(kept(held), kept(item))]
            found.append({
                "kind": kind, "item": key, "change": "new" if held is None else "changed",
                "fields": fields, "definition": kept(item),
            })  # fmt: skip
    return found


def _told(change: Change) -> dict[str, Any]:
    return {"field": field(change.place), "change": change.sort, "old": change.old, "new": change.new}
