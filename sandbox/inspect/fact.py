"""What the protocol inspector has found wrong with one message, and what becomes of the message (P)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sandbox.inspect.arguments import Mismatch, Schema
from sandbox.inspect.judged import SHOWN_CHARS, Finding, Judged, changed, denied, found, pointer
from sandbox.inspect.revisions import vocabulary
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
    return [
        Fact("protocol.shape", known := _known(one.place), f"{_shown(known)} {one.reason}", one.grave)
        for one in (*faults.grave, *faults.slight)
    ]


def of_schema(
    schema: Schema, wrong: Iterable[Mismatch], place: Place, rule: str, names: frozenset[str] = frozenset()
) -> list[Fact]:
    """Where a value that stands at `place` does not fit a tool's schema, or that the schema is of no use.

    `names`: of members, which may be said beside the protocol's own.
    """
    if (trouble := schema.trouble) is not None:
        return [Fact(trouble.rule, place, f"the tool's schema {trouble.reason}", grave=False)]
    facts = []
    for one in wrong:
        known = _known(one.place, names)
        reason = f"{one.reason} `{one.missing}`" if one.missing in names else one.reason
        facts.append(Fact(rule, (*place, *known), f"{_shown(known)} {reason}", grave=not one.slight))
    return facts


def _known(place: Place, names: frozenset[str] = frozenset()) -> Place:
    """A place of which nothing is left that its sender chose freely.

    A refusal is in our voice and is read before any inspector of words has seen the message: a member's name
    could be an order to the model, or a secret.
    """
    known = vocabulary()
    return tuple(step if type(step) is int or step in known or step in names else "*" for step in place)


def _shown(place: Place) -> str:
    return f"`{pointer(place)[:SHOWN_CHARS]}`" if place else "the value"


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
