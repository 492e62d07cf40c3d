"""Whether a version is among those that a profile was proven with: `>=2025.1,<2027` in PEP 440's spelling."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import eq, ge, gt, le, lt, ne

from sandbox.hints import Any

_RELEASE = re.compile(r"v?([0-9]{1,18}(?:\.[0-9]{1,18}){0,8})(?![0-9])", re.ASCII)
_CLAUSE = re.compile(r"(>=|<=|<|>|==|!=)([0-9]{1,18}(?:\.[0-9]{1,18}){0,8})", re.ASCII)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    ">=": ge, "<=": le, "<": lt, ">": gt, "==": eq, "!=": ne,
}  # fmt: skip
_PARTS = 9


def within(version: str, versions: str) -> bool | None:
    """Whether every clause of `versions` holds of a version's release; None where it is no version at all.

    A pre-release counts as the release that it precedes: `2.0.0-rc.1` is of the second generation.
    """
    found = _RELEASE.match(version)
    if found is None:
        return None
    release = _parts(found[1])
    return all(
        _COMPARE[clause[1]](release, _parts(clause[2]))
        for clause in map(_CLAUSE.fullmatch, versions.split(","))
        if clause
    )


def _parts(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in text.split(".")]
    return (*numbers, *[0] * (_PARTS - len(numbers)))
