"""What the protocol inspector has found wrong with one message, and what becomes of the message (P)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sandbox.inspect.arguments import Mismatch, Schema
from sandbox.inspect.judged import SHOWN_CHARS, Finding, Judged, changed, denied, found, pointer
from sandbox.inspect.shapes import Faults, Shape
from sandbox.records import dataclass
from sandbox.wire.splice import Edit, Place

MOST_TOLD: Final = 256
"""Different things told of one session."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something wrong, and whether `on` refuses it; `mended`: an edit takes it out of the message."""

    rule: str
    place: Place
    reason: str
    grave: bool
    mended: bool = False


def of_shape(shape: Shape, value: Any, place: Place) -> list[Fact]:
    """Where a value that stands at `place` does not have its shape; the grave things first."""
    faults = Faults()
    shape.faults(value, place, faults)
    every = (*faults.grave, *faults.slight)
    return [
        Fact("protocol.shape", one.place, f"{_shown(one.place)} {one.reason}", one.grave) for one in every
    ]


def of_schema(schema: Schema, wrong: Iterable[Mismatch], place: Place, rule: str) -> list[Fact]:
    """Where a value that stands at `place` does not fit a tool's schema, or that the schema is of no use."""
    if (trouble := schema.trouble) is not None:
        return [Fact(trouble.rule, place, f"the tool's schema {trouble.reason}", grave=False)]
    return [
        Fact(rule, (*place, *one.place), f"{_shown(one.place)} {one.reason}", grave=not one.slight)
        for one in wrong
    ]


class Judging:
    """Makes a verdict of facts; `strict` refuses a message for any of them."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._told: set[tuple[str, str, str]] = set()

    def of(self, facts: list[Fact], method: str, edits: Sequence[Edit] = ()) -> Judged | None:
        """The judgement on a message of `method`, or on an answer to it; None where all was told before."""
        if refused := [fact for fact in facts if (fact.grave or self._strict) and not fact.mended]:
            return denied(*map(_finding, refused))
        fresh = [fact for fact in facts if self._is_fresh(fact, method)]
        if edits:
            return changed(edits, *map(_finding, fresh or facts))
        return found(*map(_finding, fresh)) if fresh else None

    def _is_fresh(self, fact: Fact, method: str) -> bool:
        """Whether this was not told yet: a server that is wrong is wrong in every message."""
        place = pointer(tuple("*" if type(step) is int else step for step in fact.place))
        key = (fact.rule, method, place[:256])
        if key in self._told or len(self._told) >= MOST_TOLD:
            return False
        self._told.add(key)
        return True


def _finding(fact: Fact) -> Finding:
    return Finding("protocol", fact.rule, pointer(fact.place), fact.reason)


def _shown(place: Place) -> str:
    """A place in words that name it; of what is hostile in it nothing is left."""
    text = pointer(place)[:SHOWN_CHARS]
    return f"`{''.join(one if one.isprintable() else '�' for one in text)}`" if text else "the value"
