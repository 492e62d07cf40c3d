"""The slow strict reading of a line: Python's own parser with hooks, to hold the frame reader against."""

from __future__ import annotations

import json
from typing import Any


class Loose(Exception):
    """The reference refuses."""


def _no_constant(name: str) -> None:
    raise Loose(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Loose("duplicate")
    return dict(pairs)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def reference(line: bytes) -> object:
    """What the line says; raises where it refuses."""
    value = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    if not isinstance(value, dict) or _depth(value) > 100:
        raise Loose("shape")
    return value


def accepted(line: bytes) -> bool:
    """Whether the reference reads one object on `line`."""
    try:
        reference(line)
    except (Loose, ValueError, RecursionError):
        return False
    return True
