"""JSON that a stranger wrote: one object, bounded, no key twice, each value of the type asked for (P)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

LARGEST = 1 << 20
_MOST = 1000
_LONGEST = 8192


class Malformed(ValueError):
    """What in it is not as it has to be, as a clause behind the file's name."""


Table = Mapping[str, Any]


def read(data: bytes) -> Table:
    """The one object that the bytes are."""
    if len(data) > LARGEST:
        raise Malformed(f"is larger than {LARGEST >> 20} MiB")
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed("is no JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise Malformed("is no object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("has a key twice")
    return found


def _no_number(word: str) -> None:
    raise Malformed(f"has `{word}`, which is no number")


def text(table: Table, key: str, *, default: str | None = None) -> str:
    """A string; without a default it has to be there and not empty."""
    value = table.get(key, default)
    if value is None or (value == "" and default is None):
        raise Malformed(f"has no `{spelt(key)}`")
    return _string(value, key)


def texts(table: Table, key: str) -> tuple[str, ...]:
    """A list of strings; nothing where there is none."""
    return tuple(_string(value, key) for value in listed(table, key))


def listed(table: Table, key: str) -> list[Any]:
    """A list; nothing where there is none."""
    value = table.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MOST:
        raise Malformed(f"`{spelt(key)}` is no list, or a very long one")
    return value


def inner(table: Table, key: str) -> Table:
    """An object; an empty one where there is none."""
    return as_table(table.get(key) or {}, key)


def as_table(value: object, key: str) -> Table:
    """The same value, which has to be an object."""
    if not isinstance(value, dict) or len(value) > _MOST:
        raise Malformed(f"`{spelt(key)}` is no object, or a very large one")
    return value


def truth(table: Table, key: str) -> bool:
    """A boolean; false where there is none."""
    value = table.get(key, False)
    if not isinstance(value, bool):
        raise Malformed(f"`{spelt(key)}` is neither `true` nor `false`")
    return value


def each(table: Table, key: str, reader: Callable[[Table], Any]) -> tuple[Any, ...]:
    """A list of objects, each one read."""
    return tuple(reader(as_table(value, key)) for value in listed(table, key))


def _string(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise Malformed(f"`{spelt(key)}` is no string")
    if len(value) > _LONGEST or "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise Malformed(f"`{spelt(key)}` is too long, or no text")
    return value


def spelt(key: str) -> str:
    """A key of theirs for a message, without what a terminal would obey."""
    return key[:80] if key[:80].isprintable() else key[:80].encode("unicode_escape").decode()
