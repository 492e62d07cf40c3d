"""Patterns that are compiled when first used are `re`'s in everything that we use of them."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from sandbox.patterns import regex

WORD = r"(?P<word>[a-z]+)(\d)?"


@pytest.mark.parametrize("text", ["abc1 de", "", "9", "x"])
def test_it_finds_what_re_finds(text: str) -> None:
    ours, standard = regex(WORD), re.compile(WORD)
    assert [one.groups() for one in ours.finditer(text)] == [one.groups() for one in standard.finditer(text)]
    assert (ours.search(text, 1) is None) is (standard.search(text, 1) is None)
    assert ours.sub("-", text) == standard.sub("-", text)
    assert ours.split(text) == standard.split(text)
    assert ours.findall(text) == standard.findall(text)
    assert bool(ours.fullmatch(text)) is bool(standard.fullmatch(text))


def test_it_has_what_a_pattern_says_of_itself() -> None:
    ours, standard = regex(WORD, re.IGNORECASE), re.compile(WORD, re.IGNORECASE)
    assert (ours.pattern, ours.flags, ours.groups) == (standard.pattern, standard.flags, standard.groups)
    assert ours.groupindex == standard.groupindex
    assert regex(b"[\x80-\xff]").search(b"a\x90")
    with pytest.raises(AttributeError):
        ours.searches  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_finds_the_same(copied: Callable[[re.Pattern[str]], re.Pattern[str]]) -> None:
    fresh, used = regex(WORD), regex(WORD)
    assert used.match("abc1")
    for one in (copied(fresh), copied(used)):
        assert one.match("abc1")
        assert one.pattern == WORD


def test_a_wrong_one_is_an_error_where_it_is_used() -> None:
    wrong = regex("(")
    for _ in range(2):
        with pytest.raises(re.error):
            wrong.search("")


def test_none_is_compiled_by_an_import() -> None:
    """The control: the same count where one is used."""
    code = (
        "import re; made = []; old = re._compile\n"
        "re._compile = lambda *args: made.append(args) or old(*args)\n"
        "from sandbox.patterns import regex\n"
        "later = regex('a(b)')\n"
        "assert not made\n"
        "assert later.match('ab') and later.search('ab')\n"
        "assert len(made) == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
