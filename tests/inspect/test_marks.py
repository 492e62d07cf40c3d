"""Marks stand for secrets, and only this session knows for which."""

from __future__ import annotations

import pytest

from sandbox.inspect import marks
from sandbox.inspect.marks import Marks


def test_the_same_secret_has_the_same_mark() -> None:
    ours = Marks("ab12")
    first = ours.of("github-token", "token", b"one")
    assert first == b"REDACTED_github-token_ab12_1"
    assert ours.of("github-token", "token", b"one") == first
    assert ours.of("github-token", "token", b"two") != first


def test_a_mark_comes_back_as_its_secret() -> None:
    ours = Marks("ab12")
    mark = ours.of("a b/c", "context", b"value").decode()
    assert ours.restored(f"<{mark}>") == "<value>"
    assert ours.mentioned(f"x{mark}y") is False or ours.restored(f"x {mark}") == "x value"
    assert ours.group(mark) == "context"
    assert ours.group(mark + " ") is None


@pytest.mark.parametrize(
    "text", ["REDACTED_x_zz99_1", "REDACTED_x_ab12_77", "REDACTED_", "REDACTED", "nothing", ""]
)
def test_marks_of_others_stand_for_nothing(text: str) -> None:
    ours = Marks("ab12")
    ours.of("x", "token", b"value")
    assert "value" not in ours.restored(text)


def test_a_mark_keeps_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MOST", 3)
    ours = Marks("ab12")
    made = [ours.of("x", "token", b"%d" % number) for number in range(6)]
    assert made[3:] == [b"REDACTED_x_ab12_many"] * 3
    assert ours.mentioned(made[-1].decode())
    assert ours.restored(made[-1].decode()) == made[-1].decode()
