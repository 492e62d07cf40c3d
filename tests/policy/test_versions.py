"""Versions against what a profile was proven with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.versions import within


@pytest.mark.parametrize(
    ("version", "versions", "inside"),
    [
        ("2025.8.21", ">=2025.1,<2027", True),
        ("2027.0.0", ">=2025.1,<2027", False),
        ("2024.12.31", ">=2025.1,<2027", False),
        ("2025.1", ">=2025.1,<2027", True),
        ("1.10.0", ">=1.9", True),
        ("1.9", ">=1.10", False),
        ("1.2", "==1.2.0", True),
        ("1.2.1", "!=1.2.0", True),
        ("1.2.0", "!=1.2", False),
        ("v1.2.3", ">1,<=1.2.3", True),
        ("2.0.0-rc.1", "<2", False),
        ("0.0.70", ">=0.0.70,<0.1", True),
        ("1.0+local", ">=1", True),
        ("anything", "", None),
        ("1.0", "", True),
        ("latest", ">=1", None),
        ("", ">=1", None),
        ("\u0661.0", ">=1", None),
        ("9" * 4000, ">=1", None),
    ],
)
def test_within(version: str, versions: str, inside: bool | None) -> None:
    assert within(version, versions) is inside


@given(
    st.lists(st.integers(0, 9999), min_size=1, max_size=4),
    st.lists(st.integers(0, 9999), min_size=1, max_size=4),
)
def test_every_version_is_before_at_or_after_another(one: list[int], other: list[int]) -> None:
    text, bound = (".".join(map(str, parts)) for parts in (one, other))
    answers = [within(text, clause + bound) for clause in ("<", "==", ">")]
    assert sorted(answers) == [False, False, True]
    assert within(text, f">={bound}") is not answers[0]
    assert within(text, f"<={bound}") is not answers[2]


@given(st.text(max_size=40))
def test_no_text_is_too_much(text: str) -> None:
    assert within(text, ">=1,<2") in (True, False, None)
