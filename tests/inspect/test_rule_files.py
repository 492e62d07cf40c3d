"""The files that a start reads in place of the rules' TOML say the same, and find as much."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect import poison_rules
from sandbox.inspect.credentials import Credentials, parse, shipped
from sandbox.inspect.poison_near import digits, near_pattern, together, writings
from sandbox.inspect.poison_rules import read_rules, shipped_rules
from sandbox.inspect.reading import Holds, Reader, holds

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "sandbox" / "inspect" / "rules"


def test_the_files_are_what_the_script_writes() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "build-rules", "--check"], check=True, timeout=60)


def test_a_start_has_the_rules_of_the_toml() -> None:
    assert shipped_rules() == read_rules((RULES / "poison.toml").read_text(encoding="utf-8"))
    assert shipped().rules == parse((RULES / "credentials.toml").read_text(encoding="utf-8"))


NEARS = sorted({near for rule in shipped_rules() if rule.searched for near in rule.nears})


@pytest.fixture(scope="module")
def searches() -> tuple[Holds, list[Holds]]:
    """All entries in the pattern that a start reads, and each in one of its own."""
    each = [near_pattern(first) for near in NEARS for first in _firsts(near)]
    return holds(poison_rules.shipped()[1]), [holds(pattern) for pattern in (*each, digits(), writings())]


def _firsts(near: str) -> list[str]:
    """The entry once for each of the words that it may begin with."""
    end = near.find(")")
    if not near.startswith("(") or "(" in near[1:end]:
        return [near]
    return [first + near[end + 1 :] for first in near[1:end].split("|")]


def _texts() -> st.SearchStrategy[str]:
    said = [text for rule in shipped_rules() for text in (*rule.match, *rule.differ)]
    words = sorted(
        {word for text in said for word in text.split()} | {"x", "\u0439", "\u00fc", "ignor", "~/.ssh"}
    )
    spoken = st.lists(st.sampled_from(words), max_size=6).map(" ".join)
    return st.sampled_from(said) | spoken | spoken.map(str.upper) | spoken.map(lambda text: "x" + text)


@given(_texts())
def test_together_they_are_near_where_one_of_them_is(searches: tuple[Holds, list[Holds]], text: str) -> None:
    ready, each = searches
    assert ready(text.encode()) is any(one(text.encode()) for one in each)


@pytest.mark.parametrize(
    ("near", "holding", "other"),
    [
        pytest.param(
            "(\u00fcber|unter)schreib", "x\u00fcberschreib", "xunterschreib", id="of two beginnings"
        ),
        pytest.param("(new )?prompt", "a prompt", "aprompt", id="one that may be missing"),
        pytest.param("re:@[a-z]+", "x@y", "x@9", id="a pattern"),
    ],
)
def test_a_word_begins_where_no_letter_is_before_it(near: str, holding: str, other: str) -> None:
    found = holds(together([near]))
    assert found(holding.encode())
    assert not found(other.encode())


def test_what_is_held_ready_is_what_is_made_without_it() -> None:
    ready = Reader(*poison_rules.shipped())
    made = Reader(shipped_rules())
    for rule in shipped_rules():
        for text in (*rule.match, *rule.differ):
            assert ready.near(text.encode()) is made.near(text.encode())


def test_credentials_in_another_spelling_are_found_without_what_is_held_ready() -> None:
    made = Credentials(shipped().rules)
    for rule in made.rules:
        for text in (rule.example.encode(), rule.example[::-1].encode()):
            assert made.match(text) == shipped().match(text)
