"""Signatures of registries: ones that the public registry made, our own, and every way to be wrong."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sandbox.supply.resolved import Signature
from sandbox.supply.signatures import BUILT_IN, Key, check, keys_of

OLD, NEW = BUILT_IN
# Facts of the public registry: a version, its integrity, and its registry's signature.
CURRENT = (
    "@anthropic-ai/claude-code",
    "2.1.98",
    "sha512-qecREauMWXHplkpjqsuDuUv4ww+NprMl71k9sMuLkZU7qwjLMkTPxRBjuKvZWWMrAPvZWdGZE9LljUTfCQ1lWQ==",
    "MEQCIGvolW/eLJuocfuN94cinl0Vz9arMrshmIhulXk/9JEBAiAW18CskQ+uEkWf90x4Dc0TqDoRBQ7lmCAXhpXpqbEJDA==",
)
ENDED = (
    "venv",
    "0.1.0",
    "sha512-RMdeiD0OJC+S2w4931iqdi5MB9xe2T/lXZbRrHxbsmQrSA+FwhPk2bIqIwbNDCmThPgNw841Q272O6EFSYhBjQ==",
    "MEUCICKQJCEvvV3HdhCSj3TwH9qqIWLwc0GR1m/NED/s1bPIAiEAvkTmhIDIrD4MZoI2g27+HsuxoFJhC/evORT6T2UUwSc=",
)
OWN = ec.generate_private_key(ec.SECP256R1())


def spki(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    body = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(body).decode()


def signed(private: ec.EllipticCurvePrivateKey, message: str) -> str:
    return base64.b64encode(private.sign(message.encode(), ec.ECDSA(SHA256()))).decode()


KEY = Key("SHA256:own", spki(OWN), None, "registry.example")


def test_the_public_registrys_own_signature_is_valid() -> None:
    name, version, integrity, sig = CURRENT
    assert check(name, version, [integrity], [Signature(NEW.keyid, sig)], ()) == ("valid", NEW)


@pytest.mark.parametrize(
    ("name", "version", "integrity", "sig"),
    [
        pytest.param("@anthropic-ai/claude-cod", *CURRENT[1:], id="another name"),
        pytest.param(CURRENT[0], "2.1.97", *CURRENT[2:], id="another version"),
        pytest.param(*CURRENT[:2], ENDED[2], CURRENT[3], id="another archive"),
        pytest.param(*CURRENT[:3], ENDED[3], id="another signature"),
        pytest.param(*CURRENT[:3], "", id="an empty signature"),
        pytest.param(*CURRENT[:3], "%%%", id="no Base64"),
        pytest.param(*CURRENT[:3], base64.b64encode(b"x" * 70).decode(), id="no DER"),
    ],
)
def test_a_signature_of_something_else_is_forged(name: str, version: str, integrity: str, sig: str) -> None:
    assert check(name, version, [integrity], [Signature(NEW.keyid, sig)], ()) == ("forged", NEW)


@pytest.mark.parametrize(
    ("published", "outcome"),
    [
        pytest.param("2017-08-01T00:00:00.000Z", "valid", id="from before its end"),
        pytest.param("2026-01-01T00:00:00.000Z", "expired", id="from after"),
        pytest.param("", "expired", id="nobody says when"),
    ],
)
def test_a_key_that_ended_vouches_for_what_it_signed_before(published: str, outcome: str) -> None:
    name, version, integrity, sig = ENDED
    assert check(name, version, [integrity], [Signature(OLD.keyid, sig)], (), published) == (outcome, OLD)


def test_a_registry_brings_keys_of_its_own() -> None:
    sig = signed(OWN, "pkg@1.0.0:sha512-x")
    answered = keys_of(json.dumps({"keys": [{"keyid": KEY.keyid, "key": KEY.spki}]}).encode(), KEY.owner)
    assert answered == (KEY,)
    assert check("pkg", "1.0.0", ["sha512-x"], [Signature(KEY.keyid, sig)], answered) == ("valid", KEY)
    assert check("pkg", "1.0.0", ["sha512-x"], [Signature(KEY.keyid, sig)], ()) == ("unknown", None)
    assert check("pkg", "1.0.0", ["sha512-x"], [], answered) == ("missing", None)


def test_a_mirror_does_not_put_its_key_in_the_public_registrys_place() -> None:
    posing = Key(NEW.keyid, KEY.spki, None, "mirror.example")
    sig = Signature(NEW.keyid, signed(OWN, "pkg@1.0.0:sha512-x"))
    assert check("pkg", "1.0.0", ["sha512-x"], [sig], (posing,)) == ("forged", NEW)


def test_one_forged_signature_among_valid_ones_is_forged() -> None:
    name, version, integrity, sig = CURRENT
    both = [Signature(NEW.keyid, sig), Signature(KEY.keyid, sig)]
    assert check(name, version, [integrity], both, (KEY,))[0] == "forged"


@pytest.mark.parametrize(
    "spki_",
    [
        pytest.param(spki(rsa.generate_private_key(65537, 2048)), id="RSA"),
        pytest.param(spki(ec.generate_private_key(ec.SECP384R1())), id="another curve"),
        pytest.param("AAAA", id="no key"),
        pytest.param("ä", id="no Base64"),
    ],
)
def test_a_key_of_another_kind_verifies_nothing(spki_: str) -> None:
    sig = Signature("k", signed(OWN, "pkg@1.0.0:sha512-x"))
    assert check("pkg", "1.0.0", ["sha512-x"], [sig], (Key("k", spki_),))[0] == "forged"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"keys": 3}',
        b'{"keys": [3]}',
        b'{"keys": [{}]}',
        b'{"keys": [{"keyid": "", "key": "x"}]}',
        b'{"keys": [{"keyid": "a", "key": 3}]}',
        b'{"keys": [{"keyid": "a", "key": "b", "expires": 3}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_list_of_keys_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        keys_of(content, "registry.example")


@given(st.lists(st.builds(Signature, st.sampled_from(["a", KEY.keyid, NEW.keyid]), st.text()), max_size=5))
def test_nothing_that_is_drawn_is_valid(signatures: Sequence[Signature]) -> None:
    assert check("pkg", "1.0.0", ["sha512-x"], signatures, (KEY,))[0] != "valid"
