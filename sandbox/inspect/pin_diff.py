"""How two definitions of one item differ, field by field, in words that a person can read (P).

Time and memory grow with the definitions' size, and time with their depth besides; with nothing else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Any, Final, Literal

from sandbox.records import dataclass
from sandbox.wire.splice import Place
from sandbox.wire.structs import msgspec

MOST_CHANGES: Final = 200
NAME_CHARS: Final = 120
MOST_SPELT: Final = 4 * NAME_CHARS
"""Characters of a name in which hidden ones are spelt out."""
LINE_END: Final = "⟨U+000A⟩"
LONG_RUN: Final = 16
"""White space of this length hides what comes after it: it is shown as a number."""

_encode = msgspec.json.encode
_LOOK_LATIN = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "FULLWIDTH", "MATHEMATICAL", "LISU")
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that count as printable and show nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs; `old` or `new` is None where it was added or removed."""

    place: Place
    sort: Literal["added", "removed", "changed"]
    old: Any = None
    new: Any = None


def changes(old: Any, new: Any, most: int = MOST_CHANGES) -> list[Change]:
    """The fields in which two JSON values differ, at most `most` and one that says that there are more."""
    found: list[Change] = []
    for change in _compare(old, new, ()):
        found.append(change)
        if len(found) > most:
            break
    return found


def _compare(old: Any, new: Any, place: Place) -> Iterator[Change]:
    if type(old) is dict and type(new) is dict:
        yield from _members(old, new, place)
    elif type(old) is list and type(new) is list:
        yield from _items(old, new, place)
    elif type(old) is not type(new) or old != new:
        yield Change(place, "changed", old, new)


def _members(old: dict[str, Any], new: dict[str, Any], place: Place) -> Iterator[Change]:
    for name, value in old.items():
        if name in new:
            yield from _compare(value, new[name], (*place, name))
        else:
            yield Change((*place, name), "removed", value)
    for name, value in new.items():
        if name not in old:
            yield Change((*place, name), "added", None, value)


def _items(old: list[Any], new: list[Any], place: Place) -> Iterator[Change]:
    """What both lists begin and end with is left out, so that one item more is one change."""
    start, least = 0, min(len(old), len(new))
    while start < least and _same(old[start], new[start]):
        start += 1
    end = 0
    while end < least - start and _same(old[-1 - end], new[-1 - end]):
        end += 1
    before, after = old[start : len(old) - end], new[start : len(new) - end]
    both = min(len(before), len(after))
    for at in range(both):
        yield from _compare(before[at], after[at], (*place, start + at))
    for at in range(both, len(before)):
        yield Change((*place, start + at), "removed", before[at])
    for at in range(both, len(after)):
        yield Change((*place, start + at), "added", None, after[at])


def _same(one: Any, other: Any) -> bool:
    # `1 == True` and `1 == 1.0` in Python, deep inside too; their spelling tells them apart.
    return type(one) is type(other) and _encode(one) == _encode(other)


# --- in words --------------------------------------------------------------------------------------


def field(place: Place) -> str:
    """The way to a field as a person writes it: `inputSchema.properties.path`, `enum[2]`."""
    said = ""
    for step in place:
        if type(step) is int:
            said += f"[{step}]"
        elif str(step).isidentifier() and str(step).isascii():
            said += f".{step}"
        else:
            said += f"[{quoted(str(step))}]"
    return said.removeprefix(".") or "(all of it)"


def quoted(text: str) -> str:
    """A name in quotes, short, on one line and with nothing hidden in it."""
    short = text if len(text) <= NAME_CHARS else f"{text[:NAME_CHARS]}…"
    said = visible(short).replace("\n", LINE_END)
    return f'"{said}"' if len(said) <= MOST_SPELT else f'"{said[:MOST_SPELT]}…"'


def word(name: str) -> str:
    """A name as one more word of a shell's line, or nothing where it is no plain word."""
    plain = name.isascii() and len(name) <= NAME_CHARS and all(c.isalnum() or c in "._/:-" for c in name)
    return f" {name}" if plain and name and not name.startswith("-") else ""


def spelt(value: Any, most: int) -> str:
    """The beginning of a value on one line: text as it stands, anything else as JSON; nothing hidden."""
    text = value if type(value) is str else _encode(value).decode()
    return visible(text[:most]).replace("\n", LINE_END)[:most]


def visible(text: str) -> str:
    """`text` with every character shown that hides, moves or blanks something; its lines stay lines."""
    if text.isascii() and text.isprintable() and " " * LONG_RUN not in text:
        return text
    shown, run, mixed = [], 0, _mixed(text)
    for at, char in enumerate(text):
        run = run + 1 if char.isspace() else 0
        if at in mixed:
            shown.append(f"{char}⟨U+{ord(char):04X}⟩")
            continue
        if run < LONG_RUN:
            shown.append(_shown(char))
        elif at + 1 == len(text) or not text[at + 1].isspace():
            shown.append(f"⟨{run - LONG_RUN + 1} more blanks⟩")
    return "".join(shown)


def _shown(char: str) -> str:
    if char == "\n" or (char.isprintable() and char not in _BLANK and not _selects(char)):
        return char
    name = unicodedata.name(char, "")
    return f"⟨U+{ord(char):04X} {name}⟩" if name else f"⟨U+{ord(char):04X}⟩"


def _selects(char: str) -> bool:
    """Variation selectors, which may carry a byte each."""
    return "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef"


def _mixed(text: str) -> frozenset[int]:
    """Where a letter stands that looks like a Latin one, in a word that has Latin ones too."""
    if text.isascii():
        return frozenset()
    found: list[int] = []
    word: list[int] = []
    latin = False
    for at, char in enumerate(f"{text} "):
        if char.isascii():
            latin = latin or char.isalpha()
        elif char.isalpha() and unicodedata.name(char, "").startswith(_LOOK_LATIN):
            word.append(at)
        if not (char.isalnum() or char == "_"):
            found += word if latin else ()
            word, latin = [], False
    return frozenset(found)
