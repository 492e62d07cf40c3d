"""Which keys count, how long, and how often anybody can have them fetched again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.serve.oauth import key_set
from sandbox.serve.oauth.fetch import NoDocument
from sandbox.serve.oauth.keys import APART_S, FRESH_S, OLDEST_S, Keys, Unreachable
from tests.serve.oauth.issuer import algorithm, jwks, private, public_jwk

EC = public_jwk("ES256", private("P-256"), kid="a")
RSA = public_jwk("RS256", private("RSA"), kid="r")


def private_jwk() -> dict[str, Any]:
    import json

    return {**json.loads(algorithm("ES256").to_jwk(private("P-256"))), "kid": "a"}


@pytest.mark.parametrize(
    ("key", "kid", "name", "found"),
    [
        pytest.param(EC, "a", "ES256", True, id="control"),
        pytest.param(EC, "b", "ES256", False, id="another name"),
        pytest.param(EC, "a", "ES384", False, id="another curve"),
        pytest.param(EC, "a", "RS256", False, id="another kind"),
        pytest.param(RSA, "r", "PS512", True, id="a key without an algorithm is for all that fit"),
        pytest.param({**RSA, "alg": "RS256"}, "r", "PS512", False, id="one with is for its own"),
        pytest.param({**EC, "use": "enc"}, "a", "ES256", False, id="for encryption"),
        pytest.param({**EC, "key_ops": ["sign"]}, "a", "ES256", False, id="not to verify with"),
        pytest.param({**EC, "kid": 5}, "a", "ES256", False, id="a name that is none"),
        pytest.param({**EC, "x": EC["y"]}, "a", "ES256", False, id="a point beside the curve"),
        pytest.param({**EC, "x": "AA"}, "a", "ES256", False, id="a short point"),
        pytest.param({**EC, "x": 5}, "a", "ES256", False, id="a number"),
        pytest.param({**EC, "crv": "secp256k1"}, "a", "ES256", False, id="a curve that is not known"),
        pytest.param({**EC, "kty": ["EC"]}, "a", "ES256", False, id="a kind that is a list"),
        pytest.param(
            public_jwk("RS256", private("RSA1024"), kid="r"), "r", "RS256", False, id="a weak key"
        ),
        pytest.param({**RSA, "e": "AQABAQAB"}, "r", "RS256", False, id="an exponent that costs much"),
        pytest.param({**RSA, "n": "_" * 2049}, "r", "RS256", False, id="a modulus that costs much"),
        pytest.param({"kty": "oct", "k": "AAAA", "kid": "a"}, "a", "HS256", False, id="a secret"),
    ],
)  # fmt: skip
def test_a_key_is_for_what_it_says(key: dict[str, Any], kid: str, name: str, found: bool) -> None:
    other = public_jwk("EdDSA", private("Ed25519"), kid="other")
    assert (key_set.read(jwks(key, other)).find(kid, name) is not None) is found


def test_a_published_private_key_is_nobodys() -> None:
    with pytest.raises(ValueError, match="no public key"):
        key_set.read(jwks(private_jwk()))


def test_of_two_keys_of_one_name_neither_is_meant() -> None:
    twins = jwks(EC, public_jwk("ES256", private("P-256", 1), kid="a"))
    assert key_set.read(twins).find("a", "ES256") is None
    assert key_set.read(jwks(EC, {**RSA, "kid": "a"})).find("a", "ES256") is not None


@pytest.mark.parametrize(
    ("document", "why"),
    [
        pytest.param(b"", "strict JSON", id="nothing"),
        pytest.param(b"<html>", "strict JSON", id="a page"),
        pytest.param(b'{"keys": 1}', "list", id="no list"),
        pytest.param(b'{"keys": []}', "no public key", id="no key"),
        pytest.param(b'{"keys": [], "keys": []}', "strict JSON", id="two lists"),
        pytest.param(jwks(*[EC] * 65), "more than", id="many keys"),
    ],
)
def test_what_is_no_key_set(document: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        key_set.read(document)


@given(
    st.binary(max_size=80)
    | st.dictionaries(st.text(max_size=4), st.none() | st.text()).map(lambda d: jwks(d))
)
def test_any_document_is_read_or_refused(document: bytes) -> None:
    try:
        key_set.read(document)
    except ValueError:
        return


class Issuer:
    """Its keys by now; `down` while it does not answer."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys, self.down, self.fetched, self.now = keys, False, 0, 1000.0
        self.held: asyncio.Event | None = None

    async def fetch(self) -> bytes:
        self.fetched += 1
        if self.held is not None:
            await self.held.wait()
        if self.down:
            raise NoDocument("it does not answer")
        return jwks(*self.keys)

    def kept(self) -> Keys:
        return Keys(self.fetch, lambda: self.now)


async def found(keys: Keys, kid: str) -> str:
    try:
        return "found" if await keys.find(kid, "ES256") else "unknown"
    except Unreachable:
        return "unreachable"


NEW = public_jwk("ES256", private("P-256", 1), kid="new")


def test_a_new_key_is_found_when_a_token_names_it() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        assert await keys.start() == ""
        issuer.keys = (NEW,)
        assert await found(keys, "new") == "unknown"  # fetched a moment ago
        issuer.now += APART_S
        assert [await found(keys, "new"), await found(keys, "a")] == ["found", "unknown"]

    asyncio.run(story())


def test_whatever_tokens_name_a_fetch_is_rare() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        for step in range(3000):
            issuer.now += 0.1
            assert await found(keys, f"evil{step}") == "unknown"
        assert issuer.fetched <= 1 + 300 / APART_S
        issuer.now += APART_S
        before = issuer.fetched
        await asyncio.gather(*(found(keys, f"evil{step}") for step in range(100)))
        assert issuer.fetched == before + 1

    asyncio.run(story())


def test_known_keys_serve_while_an_unknown_one_is_looked_for() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        issuer.now += APART_S
        issuer.held = asyncio.Event()
        unknown = asyncio.create_task(found(keys, "new"))
        await asyncio.sleep(0)
        assert await found(keys, "a") == "found"
        assert not unknown.done()
        issuer.held.set()
        assert await unknown == "unknown"

    asyncio.run(story())


def test_one_that_hangs_up_does_not_end_the_fetch_of_others() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        issuer.now += APART_S
        issuer.held, issuer.keys = asyncio.Event(), (NEW,)
        first = asyncio.create_task(found(keys, "new"))
        second = asyncio.create_task(found(keys, "new"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        issuer.held.set()
        assert await second == "found"

    asyncio.run(story())


def test_a_withdrawn_key_is_forgotten() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        issuer.keys = (NEW,)
        issuer.now += FRESH_S + 1
        await found(keys, "a")  # the fetch that this begins is not waited for
        assert await found(keys, "new") == "found"
        assert await found(keys, "a") == "unknown"

    asyncio.run(story())


def test_known_keys_are_fetched_again_now_and_then() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        for _ in range(10):
            issuer.now += FRESH_S / 5
            assert await found(keys, "a") == "found"
            await asyncio.sleep(0)
        assert issuer.fetched == 2

    asyncio.run(story())


def test_without_the_issuer_keys_serve_for_a_while() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        issuer.down = True
        issuer.now += OLDEST_S - 1
        assert [await found(keys, "a"), await found(keys, "new")] == ["found", "unreachable"]
        issuer.now += 2
        assert await found(keys, "a") == "unreachable"
        issuer.down = False
        assert await found(keys, "a") == "unreachable"  # asked a moment ago
        issuer.now += APART_S
        assert await found(keys, "a") == "found"

    asyncio.run(story())


def test_what_is_no_key_set_takes_nobodys_place() -> None:
    async def story() -> None:
        issuer = Issuer(EC)
        keys = issuer.kept()
        await keys.start()
        issuer.keys = ()
        issuer.now += APART_S
        assert await found(keys, "new") == "unreachable"
        assert await found(keys, "a") == "found"

    asyncio.run(story())
