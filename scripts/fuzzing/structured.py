"""Conversations that Hypothesis draws: honest ones in which some values are not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzzing.conversations import CONVERSATIONS, FRAGMENTS, VALUES, Said, spoken

TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=12), max_size=4).map("".join)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = TEXTS | st.sampled_from(VALUES).map(copy.deepcopy) | st.integers() | FLOATS
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=12,
)


@st.composite
def sessions(draw: st.DrawFn) -> list[Said]:
    """A conversation after a few changes."""
    said = copy.deepcopy(CONVERSATIONS[draw(st.sampled_from(sorted(CONVERSATIONS)))])
    for _ in range(draw(st.integers(0, 5))):
        _, message = said[draw(st.integers(0, len(said) - 1))]
        holder, key = draw(st.sampled_from(_slots(message)))
        holder[key] = draw(TREES)
    return said


def _slots(message: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Every place of a message that can hold another value."""
    found: list[tuple[Any, Any]] = []
    stack: list[Any] = [message]
    while stack:
        one = stack.pop()
        for key, inner in one.items() if isinstance(one, dict) else enumerate(one):
            found.append((one, key))
            if isinstance(inner, dict | list):
                stack.append(inner)
    return found


def holding(play: Callable[[bytes], None], examples: int = 100) -> Callable[[], None]:
    """A Hypothesis test that plays such conversations; `.hypothesis.fuzz_one_input` takes bytes instead."""

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(sessions())
    def plays(said: list[Said]) -> None:
        play(spoken(said))

    return plays
