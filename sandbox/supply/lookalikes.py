"""Packages whose names pass for those of servers that we know (P)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from sandbox.inspect.confusables import skeleton

_MARKS: Final = re.compile(r"[-_.@/]+")
_SHORTEST: Final = 8
"""Of shorter names too many lie one letter apart."""


def like(package: str, known: Iterable[str]) -> tuple[str, str] | None:
    """The known package that `package` (`npm:name`, `pypi:name`) passes for, and why; None if none."""
    packages = tuple(known)
    if package in packages or ":" not in package:
        return None
    registry, _, name = package.partition(":")
    folded = _folded(name)
    for one in packages:
        at, _, other = one.partition(":")
        if at not in ("npm", "pypi"):
            continue
        if _folded(other) == folded:
            why = (
                "the same name in another registry" if at != registry else "the same letters, spelt otherwise"
            )
            return one, why
        if len(folded) >= _SHORTEST and at == registry and _one_off(folded, _folded(other)):
            return one, "one letter off"
    return None


@cache
def _folded(name: str) -> str:
    # Two letters that many fonts draw as one.
    return _MARKS.sub("", skeleton(name).casefold()).replace("rn", "m").replace("vv", "w")


def _one_off(left: str, right: str) -> bool:
    """Whether one letter is changed, added, gone, or two neighbours have changed places."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    at = next(
        (i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )
    rest, other = left[at:], right[at:]
    swapped = rest[:2] == other[:2][::-1] and rest[2:] == other[2:]
    return swapped or rest[1:] == other[1:] or rest[1:] == other or rest == other[1:]
