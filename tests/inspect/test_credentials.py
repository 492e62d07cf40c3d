"""What credentials look like: each rule finds its own, chance finds none, and nothing takes long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.checksums import card, luhn
from sandbox.inspect.credentials import Credentials, Rule, parse, shipped
from sandbox.inspect.entropy import entropy, looks_random, made_up, stands_for_another
from tests.corpus.secrets.making import SPLITS, Making, Split, Text, with_secrets, without_secrets
from tests.inspect.secret_values import redaction

RULES = shipped().rules
LEAST_RECALL = {"token": 0.97, "key": 1.0, "session": 1.0, "context": 0.9, "card": 1.0, "human": 0.0}
"""By group, over all texts; docs/inspection.md has what was measured."""
MINIMAL = """
[[rule]]
id = "a"
name = "b"
group = "token"
anchors = ["ab"]
pattern = "ab"
upward = "log"
example = "ab"
"""


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.id) for rule in RULES])
def test_a_rule_finds_its_own_example(rule: Rule) -> None:
    making = Making(3)
    for _ in range(10):
        value = making.example(rule.example)
        _, found = redaction({}).clean(f"before {value} after")
        assert rule.id in {one.rule for one in found}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.id) for rule in RULES])
def test_a_rule_is_looked_for_wherever_it_matches(rule: Rule) -> None:
    alone = Credentials([rule])
    making = Making(5)
    for _ in range(10):
        text = f"x {making.example(rule.example)} y".encode()
        assert [*alone.find(text, [0])]
        assert 0 in alone.worth(alone.match(text))[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(MINIMAL + "colour = 1\n", "unknown key `colour`", id="an unknown key"),
        pytest.param(MINIMAL.replace('pattern = "ab"\n', ""), "pattern", id="no pattern"),
    ],
)
def test_a_rule_that_is_not_understood_is_an_error(text: str, why: str) -> None:
    with pytest.raises((ValueError, KeyError), match=why):
        parse(text)


def test_the_corpus_is_large_enough() -> None:
    assert sum(1 for split in SPLITS for _ in with_secrets(split)) >= 300
    assert sum(1 for split in SPLITS for _ in without_secrets(split)) >= 300


@pytest.mark.parametrize("group", LEAST_RECALL)
def test_recall_is_as_measured(group: str) -> None:
    texts = [one for split in SPLITS for one in with_secrets(split) if one.group == group]
    gone = [one for one in texts if not _left(one)]
    assert len(gone) >= LEAST_RECALL[group] * len(texts)


def _left(text: Text) -> bool:
    clean, _ = redaction({}).clean(text.text)
    return any(secret in clean for secret in text.secrets)


@pytest.mark.parametrize("split", SPLITS)
def test_nothing_is_found_in_honest_texts(split: Split) -> None:
    wrong = [one.text for one in without_secrets(split) if redaction({}).clean(one.text)[1]]
    assert wrong == []


@given(st.binary(min_size=0, max_size=400).map(lambda raw: raw.hex()))
def test_chance_is_no_credential(text: str) -> None:
    assert redaction({}).clean(text) == (text, [])


@given(st.text(max_size=300))
def test_a_text_without_finds_is_the_same_text(text: str) -> None:
    clean, found = redaction({}).clean(text)
    assert found or clean == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("ghp_" * 250_000, id="the start of tokens"),
        pytest.param("-----BEGIN RSA PRIVATE KEY-----" * 30_000, id="the start of keys"),
        pytest.param("password=" * 110_000, id="names of secrets"),
        pytest.param("a:b@" * 250_000, id="halves of addresses"),
        pytest.param("://a:bcdefgh" * 80_000, id="addresses without an end"),
        pytest.param("eyJhbGciOi." * 90_000, id="the start of JWTs"),
        pytest.param("Z2hwX2hlbGxv" * 80_000, id="base64 of the start of tokens"),
        pytest.param("%67" * 330_000, id="escapes"),
        pytest.param("4111 1111 1111 1111 " * 50_000, id="cards"),
        pytest.param('"kty":' * 160_000, id="keys in JSON"),
        pytest.param("A" * 1_000_000, id="one letter"),
        pytest.param("login password machine " * 43_000, id="words of .netrc"),
    ],
)
def test_a_hostile_megabyte_takes_no_longer_than_others(text: str) -> None:
    began = time.process_time()
    redaction().clean(text)
    assert time.process_time() - began < 3.0


@pytest.mark.parametrize(
    ("digits", "valid"),
    [
        pytest.param(b"4111111111111111", True, id="Visa's example"),
        pytest.param(b"4111111111111112", False, id="one off"),
        pytest.param(b"378282246310005", True, id="American Express's example"),
        pytest.param(b"6011000990139424", True, id="Discover's example"),
    ],
)
def test_luhn(digits: bytes, *, valid: bool) -> None:
    assert luhn(digits) is valid


@pytest.mark.parametrize(
    ("value", "before", "is_one"),
    [
        pytest.param(b"4111 1111 1111 1111", b"", True, id="groups of four"),
        pytest.param(b"3782 822463 10005", b"", True, id="groups of American Express's"),
        pytest.param(b"4111-1111 1111-1111", b"", False, id="separators mixed"),
        pytest.param(b"4111111111111111", b"order ", False, id="digits alone"),
        pytest.param(b"4111111111111111", b"my card is ", True, id="digits after a word"),
        pytest.param(b"5211 5212 5213 5214", b"", False, id="numbers that ascend"),
        pytest.param(b"4111 1111 1111 1111", b"5555 ", False, id="a column of numbers"),
        pytest.param(b"9999 9999 9999 9995", b"card ", False, id="no issuer has it"),
    ],
)
def test_cards(value: bytes, before: bytes, *, is_one: bool) -> None:
    assert card(value, before) is is_one


@pytest.mark.parametrize(
    ("value", "random_"),
    [
        pytest.param(b"DJBcAImN34hJnj_rr8OrZxGI", True, id="drawn"),
        pytest.param(b"9f86d081884c7d659a2feaa0c55ad015", True, id="hexadecimal of a hash's length"),
        pytest.param(b"9f86d081884c7d659a2feaa", False, id="hexadecimal of no length"),
        pytest.param(b"123456789012345678901234", False, id="digits"),
        pytest.param(b"config.get_password_v2", False, id="an expression"),
        pytest.param(b"x-amz-content-sha256", False, id="words between hyphens"),
        pytest.param(b"${DB_PASSWORD_1}", False, id="a reference"),
        pytest.param(b"/home/user1/.config/token", False, id="a path"),
        pytest.param(b"3fe2906d-e61d-59a9-29e2-243ce3e0cf79", False, id="a UUID"),
        pytest.param(b"your-api-key-12345", False, id="says it is none"),
        pytest.param(b"Ed25519PrivateKey", False, id="a type"),
    ],
)
def test_what_looks_random(value: bytes, *, random_: bool) -> None:
    assert looks_random(value) is random_


@pytest.mark.parametrize("value", [b"password", b"***", b"${PW}", b"<secret>", b"abc", b"%s", b"xxxxxxxx"])
def test_passwords_that_are_none(value: bytes) -> None:
    assert stands_for_another(value)


def test_entropy_is_shannons() -> None:
    assert entropy(b"") == 0
    assert entropy(b"aaaa") == 0
    assert entropy(b"abcd") == 2
    assert entropy(bytes(range(256))) == 8


def test_examples_say_so() -> None:
    assert made_up(b"AKIAIOSFODNN7EXAMPLE")
    assert not made_up(bytes(range(99, 120)).hex().encode())
