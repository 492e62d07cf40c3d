"""What is told one by one and what only in sums: nothing is lost, and little is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.tally import DISTINCT, Tally


def test_the_first_of_each_kind_is_told() -> None:
    tally = Tally()
    assert [tally.first(kind) for kind in ("a", "b", "a", "a", "c")] == [True, True, False, False, True]
    assert tally.take() == (2, 0)


def test_what_was_taken_is_not_told_again() -> None:
    tally = Tally()
    assert tally.first("a")
    assert not tally.first("a")
    assert tally.take() == (1, 0)
    assert tally.take() == (0, 0)
    assert not tally.first("a")
    assert tally.take() == (1, 0)


def test_kinds_beyond_the_limit_are_counted_apart() -> None:
    tally = Tally(distinct=2)
    assert [tally.first(n) for n in (1, 2, 3, 3, 1)] == [True, True, False, False, False]
    assert tally.take() == (1, 2)


@pytest.mark.threat("S3", proves="a flood of denials, each another, neither fills the log nor the memory")
def test_a_flood_of_kinds_is_kept_out_of_the_log_and_of_memory() -> None:
    tally = Tally()
    told = sum(tally.first(f"{n}.example") for n in range(DISTINCT * 4))
    assert told == DISTINCT
    assert len(tally._told) == DISTINCT
    assert tally.take() == (0, DISTINCT * 3)


@given(st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=60), st.integers(0, 5))
def test_everything_is_told_or_counted_once(steps: list[int | None], distinct: int) -> None:
    tally = Tally(distinct=distinct)
    told: list[int] = []
    counted = 0
    for kind in steps:
        if kind is None:
            counted += sum(tally.take())
        elif tally.first(kind):
            told.append(kind)
    counted += sum(tally.take())
    assert len(told) + counted == sum(kind is not None for kind in steps)
    assert len(told) == len(set(told)) <= distinct
