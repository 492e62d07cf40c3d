"""What is told one by one and what only in sums: nothing is lost, and little is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.tally import DISTINCT, LAST, Sums, Tally


def test_the_first_of_each_kind_is_told() -> None:
    tally = Tally()
    assert [tally.first(kind) for kind in ("a", "b", "a", "a", "c")] == [True, True, False, False, True]
    assert tally.take() == Sums(2)


def test_what_was_taken_is_not_told_again() -> None:
    tally = Tally()
    assert tally.first("a")
    assert not tally.first("a")
    assert tally.take() == Sums(1)
    assert tally.take() == Sums()
    assert not tally.first("a")
    assert tally.take() == Sums(1)


def test_kinds_beyond_the_limit_are_counted_apart() -> None:
    tally = Tally(distinct=2)
    assert [tally.first(n) for n in (1, 2, 3, 3, 1)] == [True, True, False, False, False]
    assert tally.take() == Sums(1, 2, ("",))


@pytest.mark.threat("S3", proves="a flood of denials, each another, neither fills the log nor the memory")
def test_a_flood_of_kinds_is_kept_out_of_the_log_and_of_memory() -> None:
    tally = Tally()
    told = sum(tally.first(f"{n}.example") for n in range(DISTINCT * 4))
    assert told == DISTINCT
    assert len(tally._told) == DISTINCT
    assert tally.take() == Sums(0, DISTINCT * 3, ("",))


def test_noise_hides_what_comes_later_for_a_moment_only() -> None:
    tally = Tally(distinct=2, refill=1)
    assert [tally.first(n, f"{n}.example") for n in range(5)] == [True, True, False, False, False]
    assert tally.take() == Sums(0, 3, ("2.example", "3.example", "4.example"))
    assert [tally.first(n) for n in (5, 6)] == [True, False]


def test_a_sum_names_the_latest_of_what_it_counts() -> None:
    tally = Tally(distinct=0)
    for n in range(100):
        tally.first(n, f"{n}.example")
    assert tally.take().last == tuple(f"{n}.example" for n in range(100 - LAST, 100))


def test_what_nobody_could_look_at_is_counted() -> None:
    tally = Tally()
    tally.add(7)
    assert tally.take() == Sums(0, 7)


@given(st.lists(st.one_of(st.none(), st.integers(0, 6)), max_size=60), st.integers(0, 5))
def test_everything_is_told_or_counted_once(steps: list[int | None], distinct: int) -> None:
    tally = Tally(distinct=distinct)
    told: list[int] = []
    counted = 0
    for kind in [*steps, None]:
        if kind is None:
            sums = tally.take()
            counted += sums.repeated + sums.further
        elif tally.first(kind):
            told.append(kind)
    assert len(told) == len(set(told))
    assert len(told) + counted == sum(kind is not None for kind in steps)
