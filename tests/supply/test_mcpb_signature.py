"""The signature behind a bundle: whose it is, and that of an altered bundle it is nobody's."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.supply import cms, mcpb_signature
from sandbox.supply.mcpb_signature import Malformed, Signer
from tests.supply.bundled import NOW, Key, block, key, signature, zipped

CONTENT = zipped({"manifest.json": "{}"})


@cache
def keys() -> dict[str, Key]:
    root = key("A Root", ca=True)
    middle = key("Between", root, ca=True)
    return {
        "self": key("Myself"),
        "root": root,
        "middle": middle,
        "leaf": key("A Company", middle),
        "late": key("Too Late", root, days=-1),
        "no-ca": key("No Authority", key("Myself Too")),
    }


def verified(der: bytes, content: bytes = CONTENT, *, now: datetime.datetime = NOW) -> Signer:
    def digest(algorithm: str) -> bytes:
        return hashlib.new(algorithm, content).digest()

    return mcpb_signature.verify(der, digest, [keys()["root"].der], now)


def test_a_self_signed_bundle_is_said_to_be_one() -> None:
    signer = verified(signature(CONTENT, keys()["self"]))
    assert (signer.name, signer.standing) == ("Myself", "self-signed")
    assert signer.fingerprint == hashlib.sha256(keys()["self"].der).hexdigest()
    assert "its own word alone" in signer.words()


def test_a_chain_that_leads_to_an_authority() -> None:
    signer = verified(signature(CONTENT, keys()["leaf"], keys()["middle"]))
    assert (signer.name, signer.issuer, signer.standing) == ("A Company", "Between", "authority")


@pytest.mark.parametrize(
    ("by", "more", "now"),
    [
        pytest.param("leaf", (), NOW, id="a link of the chain is missing"),
        pytest.param("late", (), NOW, id="it is no longer valid"),
        pytest.param(
            "leaf", ("middle",), NOW + datetime.timedelta(days=400), id="the chain is no longer valid"
        ),
        pytest.param("no-ca", ("self",), NOW, id="issued by somebody"),
    ],
)
def test_a_chain_that_leads_nowhere_is_no_authority(
    by: str, more: tuple[str, ...], now: datetime.datetime
) -> None:
    der = signature(CONTENT, keys()[by], *(keys()[one] for one in more))
    assert verified(der, now=now).standing == "unknown"


def test_an_issuer_that_is_no_authority_issues_nothing() -> None:
    """A leaf of a true authority signs another leaf: the extension says that it may not."""
    below = key("Below", keys()["leaf"])
    assert verified(signature(CONTENT, below, keys()["leaf"], keys()["middle"])).standing == "unknown"


# --- altered ---------------------------------------------------------------------------------------


def test_of_an_altered_bundle_it_is_refused() -> None:
    der = signature(CONTENT, keys()["self"])
    assert verified(der).name == "Myself"
    with pytest.raises(Malformed, match="about other bytes"):
        verified(der, CONTENT + b".")


def _swap(der: bytes, old: bytes, new: bytes) -> bytes:
    assert der.count(old) >= 1
    return der.replace(old, new)


def test_a_digest_that_is_exchanged_is_refused() -> None:
    """What is signed are the attributes, and the digest is one of them."""
    other = b"another content"
    digests = hashlib.sha256(CONTENT).digest(), hashlib.sha256(other).digest()
    der = _swap(signature(CONTENT, keys()["self"]), *digests)
    with pytest.raises(Malformed, match="not by the key"):
        verified(der, other)


def test_a_certificate_that_is_exchanged_is_refused() -> None:
    """Another's certificate in the place of the signer's: same name and number, another key."""
    mine, theirs = signature(CONTENT, keys()["self"]), keys()["self"].der
    forged = key("Myself").der
    if len(forged) == len(theirs):
        with pytest.raises(Malformed):
            verified(_swap(mine, theirs, forged))
    with pytest.raises(Malformed):
        verified(_swap(mine, b"Myself", b"Itself"))


@given(st.integers(0, 5000), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_no_changed_byte_makes_another_signer(at: int, change: int) -> None:
    """Refused, or the very same signer; in a certificate that nobody vouches for, another certificate."""
    der = bytearray(_one())
    der[at % len(der)] ^= change
    with suppress(Malformed):
        signer = verified(bytes(der))
        own = hashlib.sha256(keys()["self"].der).hexdigest()
        assert signer.standing != "authority"
        assert (signer.name, signer.standing) == ("Myself", "self-signed") or signer.fingerprint != own


@cache
def _one() -> bytes:
    return signature(CONTENT, keys()["self"])


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_no_signature(data: bytes) -> None:
    with pytest.raises(cms.Malformed):
        cms.read(data)


# --- where it stands -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(lambda whole: whole, id="as it is written"),
        pytest.param(lambda whole: CONTENT + b"MCPB_SIG_V1" + whole, id="with a header before its own"),
    ],
)
def test_the_archive_ends_where_its_signature_begins(behind: Callable[[bytes], bytes]) -> None:
    whole = behind(CONTENT + block(_one()))
    end, der = mcpb_signature.cut(whole, len(whole))
    assert (whole[:end], der) == (whole[: -len(block(_one()))], _one())


def test_a_file_without_one_ends_where_it_ends() -> None:
    assert mcpb_signature.cut(CONTENT, len(CONTENT)) == (len(CONTENT), None)


@pytest.mark.parametrize(
    "tail", [b"MCPB_SIG_END", b"MCPB_SIG_V1\xff\xff\0\0MCPB_SIG_END", b"V1\0\0\0\0MCPB_SIG_END"]
)
def test_a_signature_that_is_cut_off_is_refused(tail: bytes) -> None:
    with pytest.raises(Malformed, match="cut off"):
        mcpb_signature.cut(tail, len(tail))
