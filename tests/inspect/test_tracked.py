"""Tokens, cursors and rounds: what is remembered of a session, and that it does not grow."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.tracked import MOST_CURSORS, MOST_LATE, MOST_TOKENS, Pages, Rounds, Tokens


def test_a_token_is_open_until_its_request_is_done() -> None:
    tokens = Tokens()
    tokens.asked(1, "t")
    assert tokens.is_open("t")
    tokens.answered(2)
    assert tokens.is_open("t")
    tokens.answered(1)
    assert not tokens.is_open("t")
    assert tokens.was_open("t")
    assert not tokens.was_open("u")


def test_a_number_and_its_digits_are_one_token() -> None:
    tokens = Tokens()
    tokens.asked(1, 7)
    assert tokens.is_open("7")
    assert not tokens.is_open(7.5)


@pytest.mark.parametrize("token", [None, [], {}, True, 1.5])
def test_what_is_no_token_is_none(token: object) -> None:
    tokens = Tokens()
    tokens.asked(1, token)
    assert not tokens.is_open(token)


@given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=3) | st.integers(0, 9), st.booleans())))
def test_a_token_is_open_exactly_while_a_request_of_its_is(steps: list[tuple[int, Any, bool]]) -> None:
    tokens, open_now = Tokens(), dict[int, str]()
    for id, token, ask in steps:
        if ask and id not in open_now and str(token) not in open_now.values():
            tokens.asked(id, token)
            open_now[id] = str(token)
        elif not ask:
            tokens.answered(id)
            open_now.pop(id, None)
        assert all(tokens.is_open(one) for one in open_now.values())


def test_tokens_and_cursors_are_forgotten_in_time() -> None:
    tokens, pages = Tokens(), Pages()
    for at in range(3 * MOST_TOKENS):
        tokens.asked(at, f"{at}" + "x" * 1000)
        pages.turn("tools/list", f"a{at}", f"b{at}" + "x" * 1000)
    assert len(tokens._open) <= MOST_TOKENS
    assert len(tokens._of) <= 2 * MOST_TOKENS
    assert len(tokens._late) <= MOST_LATE
    assert len(pages._seen) <= MOST_CURSORS
    assert all(len(token) <= 256 for token in tokens._open)


def test_an_endless_walk_ends_also_where_its_beginning_is_forgotten() -> None:
    pages, cursor = Pages(), None
    for page in range(1, 2000):
        following = f"c{page}"
        if pages.turn("resources/list", cursor, following):
            break
        cursor = following
        for other in range(10):
            pages.turn("resources/list", f"x{page}-{other}", f"y{page}-{other}")
    assert page == 1000


def test_two_lists_have_cursors_of_their_own() -> None:
    pages = Pages()
    assert pages.turn("tools/list", None, "a") is None
    assert pages.turn("prompts/list", "a", "b") is None
    assert pages.turn("tools/list", "b", "a") is None
    assert pages.turn("tools/list", "a", "a")


def test_an_empty_cursor_is_none() -> None:
    pages = Pages()
    for _ in range(200):
        assert pages.turn("tools/list", None, "") is None
    assert pages.turn("tools/list", "", "")


def test_rounds_are_counted_along_their_states() -> None:
    rounds = Rounds()
    for at in range(9):
        if at:
            rounds.asked(at, "tools/call", "t", {"requestState": f"s{at - 1}"})
        why = rounds.again(at, "tools/call", "t", f"s{at}")
        assert (why is not None) == (at == 8)


def test_a_call_that_was_answered_starts_anew() -> None:
    rounds = Rounds()
    for at in range(100):
        assert rounds.again(at, "tools/call", "t", "s") is None
        rounds.answered(at)
