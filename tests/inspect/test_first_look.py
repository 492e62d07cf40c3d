"""A first look by `re` finds something in a short text wherever RE2 does, and takes no time for it."""

from __future__ import annotations

import random
import re
import sys
import time
from array import array
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect import first_look, poison_rules
from sandbox.inspect.credentials import Credentials, shipped
from sandbox.inspect.first_look import MOST, Question, Search, for_re, read, tokens, written
from sandbox.inspect.poison_near import unseen, worst
from sandbox.inspect.poison_rules import shipped_rules
from sandbox.inspect.reading import Holds, Reader, holds
from tests.corpus.secrets.making import Making, with_secrets, without_secrets
from tests.inspect.poison_corpus import files, lines

SAID = [text for rule in shipped_rules() for text in (*rule.match, *rule.differ)]
BETWEEN = (
    "a the any all your its of for to who read is 9 x7 - _ . , : // = % %41 \\u0041 \\x41 \\n {} \" '".split()
)


@cache
def examples() -> list[str]:
    making = Making(11)
    return [making.example(rule.example) for rule in shipped().rules for _ in range(2)]


@cache
def kept() -> dict[bytes, bytes]:
    """What a cache has, by pattern."""
    return dict(question.code() for question in questions())


def questions() -> tuple[Question, ...]:
    """New ones: no automaton is made."""
    reader = Reader(*poison_rules.shipped())
    return (*Credentials(shipped().rules).questions, *reader.questions)


@cache
def pairs() -> list[tuple[Search, Callable[[bytes], object]]]:
    """Each question's first look and its automaton."""
    looks = [read(code, pattern) for pattern, code in kept().items()]
    assert all(looks)
    return [(look, question.made()) for look, question in zip(looks, questions(), strict=True) if look]


def same(text: str) -> None:
    """A short text of ASCII has, by both, something in it or nothing."""
    data = text.encode("ascii", "ignore")[:MOST]
    for look, automaton in pairs():
        assert (look(data) is not None) is bool(automaton(data)), data


def spoken(said: list[str]) -> st.SearchStrategy[str]:
    """Texts of these, whole and in pieces, and of what stands between words."""
    words = sorted({word for text in said for word in text.split()})
    ascii = st.text(st.characters(max_codepoint=127), max_size=4)
    piece = st.sampled_from(words) | st.sampled_from(said) | st.sampled_from(BETWEEN) | ascii
    blanks = st.sampled_from((" ", "", "\n", "  - ", "\x0b"))
    return st.tuples(st.lists(piece, max_size=10), blanks).map(lambda made: made[1].join(made[0]))


@given(spoken(examples()) | spoken(SAID))
def test_it_finds_what_an_automaton_finds(text: str) -> None:
    for form in (text, text.upper(), text.swapcase(), text[::-1]):
        same(form)


def test_of_the_corpora_it_finds_what_an_automaton_finds() -> None:
    for split in ("tuned", "held"):
        for one in (*with_secrets(split), *without_secrets(split)):
            same(one.text)
    for kind in ("bad", "good", "held"):
        for file in files(kind):
            for line in lines(file):
                same(line.text)


def test_of_texts_cut_and_joined_it_finds_what_an_automaton_finds() -> None:
    chance, pool = random.Random(3), [*SAID, *examples()]  # noqa: S311 - the same in every run
    for _ in range(3000):
        first, second = chance.choice(pool), chance.choice(pool)
        cut = first[: chance.randrange(len(first) + 1)] + chance.choice((" ", "", "\\n", "%20", "_", '":"'))
        same(cut + second[chance.randrange(len(second) + 1) :])


@pytest.mark.parametrize("seed", range(4))
def test_no_short_text_takes_long(seed: int) -> None:
    """Made of what patterns go far in: half of a phrase, again and again, and letters, blanks and signs."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    words = sorted({word for text in (*SAID, *examples()) for word in text.split() if word.isascii()})
    slowest = 0.0
    for _ in range(150):
        some = [chance.choice(words)[: chance.randrange(1, 12)] for _ in range(chance.randrange(1, 4))]
        unit = chance.choice(("", " ", "  ", "-", "_", ".", "%20", "\\n", ": ")).join(some)
        data = (unit * MOST).encode()[:MOST]
        began = time.process_time()
        for look, _ in pairs():
            look(data)
        slowest = max(slowest, time.process_time() - began)
    assert slowest < 0.25


@cache
def sights() -> tuple[Reader, Holds, Holds]:
    """What is asked for what no reader sees, and the automata for all of it and for the worst."""
    return Reader(*poison_rules.shipped()), holds(unseen()), holds(worst())


@given(st.text(st.characters(max_codepoint=127)))
def test_what_no_reader_sees_of_a_short_text_of_ascii_are_controls(text: str) -> None:
    reader, every, worse = sights()
    assert reader.unseen(text, any=True) is every(text.encode())
    assert reader.unseen(text, any=False) is worse(text.encode())


# --- when it is asked --------------------------------------------------------------------------------


def asked(pattern: bytes = b"(?i)secret") -> tuple[Question, list[bytes]]:
    """A question with a first look, and what its automaton was asked."""
    seen: list[bytes] = []

    def automaton(data: bytes) -> bool:
        seen.append(data)
        return True

    question = Question(lambda: pattern, lambda: automaton)  # type: ignore[arg-type, return-value]
    question.look_first(lambda pattern: written(pattern))
    assert question.kept
    return question, seen


def test_a_short_text_with_nothing_in_it_needs_no_automaton() -> None:
    question, seen = asked()
    assert not question(b"nothing of weight")
    assert not question(b"x" * (MOST - 17))
    assert seen == []


def test_when_enough_was_looked_at_there_is_an_automaton() -> None:
    question, seen = asked()
    for _ in range(3):
        question(b"x" * (MOST // 2))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"a Secret", id="something in it"),
        pytest.param(b"x" * (MOST + 1), id="long"),
        pytest.param("\u00fc".encode(), id="not ASCII"),
    ],
)
def test_of_anything_else_the_automaton_is_asked_from_then_on(data: bytes) -> None:
    question, seen = asked()
    assert question(data)
    assert question(b"nothing of weight")
    assert seen == [data, b"nothing of weight"]


def test_once_there_is_an_automaton_it_is_asked() -> None:
    question, seen = asked()
    question.made()
    assert question(b"nothing of weight")
    assert seen == [b"nothing of weight"]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda code: b"", id="nothing"),
        pytest.param(lambda code: code[:-2], id="half a word less"),
        pytest.param(lambda code: code[:-8], id="two words less"),
        pytest.param(lambda code: code[:20], id="no code"),
        pytest.param(lambda code: code[:24] + b"\xff" * (len(code) - 24), id="no code of re"),
        pytest.param(lambda code: array("I", [1, *array("I", code)[1:]]).tobytes(), id="another pattern"),
        pytest.param(
            lambda code: code[:12] + array("I", [sys.hexversion + 1]).tobytes() + code[16:],
            id="another interpreter",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_not_looked_with(spoil: Callable[[bytes], bytes]) -> None:
    pattern = b"(?i)secret[a-z]{2}"
    assert read(written(pattern), pattern) is not None
    assert read(spoil(written(pattern)), pattern) is None


@given(st.data())
def test_code_of_which_a_word_is_another_is_not_looked_with(data: st.DataObject) -> None:
    """`re` would take some of it, find less, or end the process."""
    pattern = b"(?i)secret[a-z]{2}|a(?:b|c)+|(?:x[0-9]?y|z)+?q$"
    words = array("I", written(pattern))
    at = data.draw(st.integers(0, len(words) - 1))
    words[at] ^= data.draw(st.sampled_from([1 << bit for bit in range(32)]) | st.integers(1, 2**32 - 1))
    assert read(words.tobytes(), pattern) is None


def test_code_of_which_a_sector_is_gone_is_not_looked_with() -> None:
    for pattern, code in kept().items():
        for at in range(0, len(code) - 512, 4096):
            if code[at : at + 512] != bytes(512):
                assert read(code[:at] + bytes(512) + code[at + 512 :], pattern) is None


def test_an_interpreter_with_another_re_has_no_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    code = written(b"a")
    monkeypatch.setattr(first_look, "_SRE", object())
    assert read(code, b"a") is None
    monkeypatch.setitem(sys.modules, "re._compiler", None)
    assert written(b"a") == b""


def test_a_captured_group_is_refused() -> None:
    with pytest.raises(ValueError, match="group"):
        written(b"(a)b")


# --- the dialect -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        pytest.param(rb"a\sb", rb"a[\t\n\f\r ]b", id="a blank"),
        pytest.param(rb"a[\s,]b", rb"a[\t\n\f\r ,]b", id="in a class"),
        pytest.param(rb"a[^\s]b", rb"a[^\t\n\f\r ]b", id="not in a class"),
        pytest.param(rb"a\Sb", rb"a[^\t\n\f\r ]b", id="no blank"),
        pytest.param(rb"a$|\z", rb"a\Z|\Z", id="the end"),
        pytest.param(rb"[$]\$\\s", rb"[$]\$\\s", id="no end and no blank"),
        pytest.param(rb"[]$]$[^]$]$", rb"[]$]\Z[^]$]\Z", id="a bracket in a class"),
    ],
)
def test_a_pattern_in_the_words_of_re(pattern: bytes, made: bytes) -> None:
    assert for_re(pattern) == made
    assert b"".join(token for token, _ in tokens(pattern)) == pattern


ATOMS = st.sampled_from(
    [b"a", b"b", rb"\s", rb"[^\s,]", rb"\S", rb"\d", b"[ab]", rb"\b", b"(?:a|b,)", b".", b","]
)
REPEATS = st.sampled_from([b"", b"+", b"{1,3}", b"?"])
BRANCH = st.lists(st.tuples(ATOMS, REPEATS), min_size=1, max_size=4).map(
    lambda made: b"".join(atom + (b"" if atom == rb"\b" else times) for atom, times in made)
)
LETTERS = st.lists(st.sampled_from([*"abAB, \t\x0b\n7"]), max_size=12)


@given(st.lists(BRANCH, min_size=1, max_size=3), st.sampled_from([b"", b"(?i)", b"(?i)(?-i:ab)|"]), LETTERS)
def test_any_pattern_finds_the_same(branches: list[bytes], flags: bytes, letters: list[str]) -> None:
    pattern, text = flags + b"|".join(branches) + b"|a$", "".join(letters).encode()
    look = read(written(pattern), pattern)
    assert look is not None
    sensitive = b"" if flags else b"(?-i)"
    assert (look(text) is not None) is holds(sensitive + pattern)(text)
    assert (re.search(for_re(pattern), text) is not None) is (look(text) is not None)
