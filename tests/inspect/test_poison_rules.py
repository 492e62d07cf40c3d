"""The rules: examples match or do not, and the corpus is judged as well as docs/inspection.md says."""

from __future__ import annotations

import pytest

from sandbox.inspect.poison import TOLD, WITHHELD
from sandbox.inspect.poison_rules import BadRules, Matcher, Rule, read_rules, search_for, shipped_rules
from sandbox.inspect.reading import Budget
from tests.inspect.poison_corpus import Line, files, judged, lines, rules_looker

RULES = shipped_rules()
PLAIN = '[[rule]]\nid = "a"\ngroup = "g"\nscore = 1\nwhy = "w"\nreferences = []\nlanguages = []\n'
SEARCHED = [rule for rule in RULES if rule.searched]


def found_in(text: str) -> set[str]:
    return {hit.rule.id for hit in rules_looker().reader.hits(text, Budget())}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        pytest.param(rule, text, id=f"{rule.id} {at}")
        for rule in SEARCHED
        for at, text in enumerate(rule.match)
    ],
)
def test_what_has_to_match_matches(rule: Rule, text: str) -> None:
    assert rule.id in found_in(text)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        pytest.param(rule, text, id=f"{rule.id} {at}")
        for rule in SEARCHED
        for at, text in enumerate(rule.differ)
    ],
)
def test_what_must_not_match_does_not(rule: Rule, text: str) -> None:
    assert rule.id not in found_in(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_says_why_and_where_it_comes_from(rule: Rule) -> None:
    assert rule.why[0].islower()
    assert not rule.why.endswith(".")
    assert rule.references
    assert rule.languages
    assert 0 <= rule.result <= rule.score <= 10
    assert rule.detector or (rule.match and rule.differ)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.patterns], ids=lambda rule: rule.id)
def test_every_pattern_compiles(rule: Rule) -> None:
    Matcher(rule).span(b" x ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("schema = 2\nrule = []", "`schema` is not 1", id="another schema"),
        pytest.param(
            'schema = 1\n[[rule]]\nid = "a"\nscor = 1', "`a`: unknown key `scor`", id="misspelt key"
        ),
        pytest.param(
            "schema = 1\n" + PLAIN,
            "either `patterns` or `detector`",
            id="nothing to look for",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(BadRules, match=said):
        read_rules(text)


def test_two_rules_of_one_name_are_refused() -> None:
    rule = PLAIN + 'detector = "x"\n'
    with pytest.raises(BadRules, match="two rules are called `a`"):
        read_rules("schema = 1\n" + rule + rule)


def test_a_pattern_that_is_none_is_refused_in_a_line() -> None:
    with pytest.raises(BadRules) as caught:
        search_for("(" + "x" * 100_000)
    assert len(str(caught.value)) < 120


# --- the corpus ----------------------------------------------------------------------------------

TUNED_BAD = [line for file in files("bad") for line in lines(file)]
TUNED_GOOD = [line for file in files("good") for line in lines(file)]
HELD_BAD, HELD_GOOD = [*lines("held/bad.txt")], [*lines("held/good.txt")]


def rate(corpus: list[Line], least: float = TOLD) -> float:
    return sum(judged(line)[0] >= least for line in corpus) / len(corpus)


def test_there_are_three_hundred_of_each_kind() -> None:
    assert len(TUNED_BAD) + len(HELD_BAD) >= 300
    assert len(TUNED_GOOD) + len(HELD_GOOD) >= 300


def test_recall_and_false_positives_are_what_the_documentation_says() -> None:
    assert rate(TUNED_BAD) >= 0.98
    assert rate(HELD_BAD) >= 0.90
    assert rate(TUNED_GOOD) <= 0.01
    assert rate(HELD_GOOD) <= 0.04


def test_no_honest_definition_is_told_of() -> None:
    definitions = [line for line in (*TUNED_GOOD, *HELD_GOOD) if line.where != "r"]
    assert [str(line) for line in definitions if judged(line)[0] >= TOLD] == []


def test_nearly_every_bad_definition_is_withheld() -> None:
    definitions = [line for line in (*TUNED_BAD, *HELD_BAD) if line.where != "r"]
    assert rate(definitions, WITHHELD) >= 0.95
