"""A parsed text with the place of every value in it: what an edit needs to leave the rest alone (P)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MAX_DEPTH = 100
MAX_VALUES = 500_000

OBJECT, ARRAY, SCALAR, ALIAS = "object", "array", "scalar", "alias"


class Unreadable(Exception):
    """The text is not what its format says, from index `at` on; `fix` is what a person does about it."""

    def __init__(self, at: int, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.at = at
        self.what = what
        self.fix = fix


class Member:
    """`name` and its value in an object; the key stands at `start:end`, its last part begins at `last`."""

    __slots__ = ("end", "last", "name", "node", "start")

    def __init__(self, name: str, node: Node, start: int, end: int, last: int = -1) -> None:
        self.name = name
        self.node = node
        self.start = start
        self.end = end
        self.last = start if last < 0 else last


class Node:
    """One value at `start:end`: `value` of a scalar, `members` of an object, `items` of an array."""

    __slots__ = ("end", "items", "kind", "members", "start", "style", "value")

    def __init__(self, kind: str, start: int, end: int = -1, value: Any = None, style: str = "") -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.value = value
        self.style = style
        """Empty between brackets; `block` (YAML) and `table` (TOML) are delimited by their lines."""
        # Most values are scalars: two lists of their own would double what a large file costs.
        self.members: list[Member] = [] if kind == OBJECT else _NO_MEMBERS
        self.items: list[Node] = [] if kind == ARRAY else _NO_ITEMS

    def named(self, name: str) -> list[Member]:
        """Every member of that name; more than one is an ambiguity that no two clients resolve alike."""
        return [one for one in self.members if one.name == name] if self.kind == OBJECT else []


_NO_MEMBERS: Final[list[Member]] = []
_NO_ITEMS: Final[list[Node]] = []


def behind(node: Node) -> Node:
    """The value that is meant where an alias stands."""
    while node.kind == ALIAS:
        node = node.value
    return node


def plain(node: Node) -> Any:
    """The tree as dicts, lists and scalars; the last of several equal names counts."""
    node = behind(node)
    if node.kind == OBJECT:
        return {one.name: plain(one.node) for one in node.members}
    if node.kind == ARRAY:
        return [plain(one) for one in node.items]
    return node.value


def again(node: Node) -> Iterator[Member]:
    """Each member of `node` itself whose name stood in it before."""
    seen: set[str] = set()
    for member in node.members:
        if member.name in seen:
            yield member
        seen.add(member.name)


def repeated(node: Node) -> Iterator[Member]:
    """Each member of `node`, or below it, whose name stood in the same object before."""
    node = behind(node)
    yield from again(node)
    for inner in [*(member.node for member in node.members), *node.items]:
        yield from repeated(inner)


def same(one: Any, other: Any) -> bool:
    """Equality that tells `1` from `true` and `1.0`, and takes not-a-number for itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)
