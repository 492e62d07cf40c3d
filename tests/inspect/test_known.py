"""A session's own secrets: found in every spelling, and nothing else is."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.inspect.known import Known, granted, parts
from tests.inspect.secret_values import OWN, redaction

RAW = OWN.encode()
Spell = Callable[[bytes], bytes]
SPELLINGS: dict[str, Spell] = {
    "plain": bytes,
    "reversed": lambda raw: raw[::-1],
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base64 in lines": lambda raw: base64.encodebytes(b"x" * 90 + raw),
    "base64 of the reversed": lambda raw: base64.b64encode(raw[::-1]),
    "base32": base64.b32encode,
    "hex": lambda raw: raw.hex().encode(),
    "upper-case hex": lambda raw: raw.hex().upper().encode(),
    "hex with colons": lambda raw: raw.hex(":").encode(),
    "URL": lambda raw: quote(raw, safe="").encode(),
    "URL, every byte": lambda raw: "".join(f"%{byte:02x}" for byte in raw).encode(),
    "URL, twice": lambda raw: "".join(f"%25{byte:02x}" for byte in raw).encode(),
    "JSON escapes": lambda raw: "".join(f"\\u{byte:04x}" for byte in raw).encode(),
    "a string of C": lambda raw: "".join(f"\\x{byte:02x}" for byte in raw).encode(),
    "HTML": lambda raw: "".join(f"&#{byte};" for byte in raw).encode(),
    "JSON in JSON": lambda raw: json.dumps(json.dumps(raw.decode())).encode(),
    "one character a line": lambda raw: b"\n".join(raw[at : at + 1] for at in range(len(raw))),
    "spaced": lambda raw: b" ".join(raw[at : at + 4] for at in range(0, len(raw), 4)),
    "a half of it": lambda raw: raw[: len(raw) // 2 + 2],
    "the other half": lambda raw: raw[len(raw) // 2 - 2 :],
    "base64 of a URL": lambda raw: base64.b64encode(quote(raw, safe="").encode()),
}


def telling(text: str) -> bool:
    """Whether 16 letters and digits in a row of the secret are left of it, in any of the spellings."""
    return Known({"TOKEN": OWN}).worth(text.encode())


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("before", ["", "a", "bc", "value: ", "x" * 50 + " "])
def test_a_secret_is_taken_out_however_it_is_spelt(how: str, before: str) -> None:
    spelt = SPELLINGS[how](RAW).decode()
    clean, found = redaction().clean(f"{before} {spelt} end")
    assert [one.rule for one in found] == ["TOKEN"] * len(found)
    assert found
    assert spelt not in clean
    assert not telling(clean)


@pytest.mark.parametrize("how", [how for how in SPELLINGS if how.startswith("base64")])
@given(before=st.binary(max_size=8), after=st.binary(max_size=8))
def test_base64_stays_base64(how: str, before: bytes, after: bytes) -> None:
    text = base64.b64encode(b"(" + before + b" " + RAW + b" " + after + b")").decode()
    clean, found = redaction().clean(text)
    assert found
    assert RAW not in base64.b64decode(clean)


def test_nothing_is_found_without_the_secret() -> None:
    known = Known({"TOKEN": OWN})
    assert not known.worth(b"The quick brown fox jumps over the lazy dog. " * 100)
    assert not [*known.find(base64.b64encode(bytes(range(256)) * 40))]


@given(st.text(max_size=400))
def test_chance_is_no_secret(text: str) -> None:
    assert [*Known({"TOKEN": OWN}).find(text.encode("utf-8", "surrogatepass"))] == []


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_secret_is_found_anywhere(before: str, after: str) -> None:
    clean, found = redaction().clean(before + OWN + after)
    assert found
    assert OWN not in clean


@pytest.mark.parametrize(
    ("value", "text", "seen"),
    [
        pytest.param("hunter2", "the password is hunter2.", True, id="a short one as a word"),
        pytest.param("hunter2", "xhunter2x", False, id="a short one inside another word"),
        pytest.param("sunshine", "sunshine", True, id="a word"),
        pytest.param("sunshine", "sunshineboy", False, id="a word inside another"),
        pytest.param("sunshine", base64.b64encode(b"-sunshine-").decode(), True, id="a word in base64"),
        pytest.param("abc", "abc", False, id="tiny ones are not looked for"),
        pytest.param("p@ss w0rd!", "is p@ss w0rd! ok", True, id="with signs and a space"),
        pytest.param("correct horse battery staple", "correct horse battery staple", True, id="a phrase"),
        pytest.param("correct horse battery staple", "correct horse battery", False, id="part of a phrase"),
        pytest.param("postgres://app:s3cr3tPassw0rd@db/x", "s3cr3tPassw0rd", True, id="a URL's password"),
        pytest.param("postgres://app:s3cr3tPassw0rd@db/x", "postgres://app:", False, id="a URL's rest"),
        pytest.param("postgres://app:a%20b%20c1d2@db/x", "a b c1d2", True, id="a URL's password, unescaped"),
    ],
)
def test_values_of_all_kinds(value: str, text: str, *, seen: bool) -> None:
    clean, found = redaction({"PW": value}).clean(text)
    assert bool(found) is seen
    assert (clean != text) is seen


def test_of_a_service_account_only_what_is_random_is_secret() -> None:
    key = base64.b64encode(bytes(range(7, 200))).decode()
    value = json.dumps(
        {"type": "service_account", "private_key": key, "token_uri": "https://oauth2.example/token"}
    )
    assert redaction({"SA": value}).clean("POST https://oauth2.example/token service_account") == (
        "POST https://oauth2.example/token service_account",
        [],
    )
    assert key not in redaction({"SA": value}).clean(f"it has {key}")[0]


def test_variables_are_secrets_by_their_names() -> None:
    env = {
        "GITHUB_TOKEN": OWN,
        "LANG": "en_US.UTF-8",
        "DB_PASSWORD": "longer-than-8",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert granted(env) == {"GITHUB_TOKEN": OWN, "DB_PASSWORD": "longer-than-8"}


def test_a_secret_has_few_parts() -> None:
    assert [*parts("ab")] == []
    assert [*parts(OWN)] == [(OWN, False)]
