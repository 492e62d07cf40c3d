"""A bound token without its key is nothing (RFC 9449); each attack beside the proof that passes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.serve.oauth import dpop
from sandbox.serve.oauth.faults import Fault
from sandbox.serve.words import Head, Principal
from tests.serve.oauth.issuer import NOW, URL, algorithm, b64, compact, private, public_jwk, token
from tests.serve.oauth.test_token import server

MINE = private("P-256", 7)
JWK = public_jwk("ES256", MINE)
JKT = dpop.thumbprint(JWK)
BOUND = token(cnf={"jkt": JKT})


def proof(key: Any = MINE, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """A proof for `BOUND`, but for what is changed; None takes a claim out."""
    good = {
        "jti": "1",
        "htm": "POST",
        "htu": URL,
        "iat": NOW,
        "ath": b64(hashlib.sha256(BOUND.encode()).digest()),
    }
    claims = {name: one for name, one in {**good, **changed}.items() if one is not None}
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK, **(header or {})}
    return compact(head, claims, lambda signed: algorithm("ES256").sign(signed, key))


def ask(*sent: tuple[str, str | None], method: str = "POST", **settings: Any) -> list[Any]:
    """What a server says of `(authorization, proof)` after each other."""

    async def story() -> list[Any]:
        of = server(**settings)
        await of.start()
        found = []
        for authorization, given in sent:
            headers = {"authorization": authorization} | ({"dpop": given} if given is not None else {})
            found.append(await of.check(Head(method, "/github/mcp", "github", headers)))
        await of.close()
        return found

    return asyncio.run(story())


def code(found: Any) -> str:
    return "ok" if isinstance(found, Principal) else found.why


THEIRS = private("P-256", 8)
SECRET = {**json.loads(algorithm("ES256").to_jwk(MINE))}
ATTACKS = [
    pytest.param(proof, "ok", id="control"),
    pytest.param(lambda: None, "the token is bound to a key and comes without its proof", id="no proof"),
    pytest.param(lambda: proof(key=THEIRS), "the proof's signature does not hold", id="another's signature"),
    pytest.param(
        lambda: proof(key=THEIRS, header={"jwk": public_jwk("ES256", THEIRS)}),
        "the proof is by another key than the token is bound to",
        id="another's key",
    ),
    pytest.param(lambda: proof(htm="GET"), "the proof is for another request", id="another method"),
    pytest.param(
        lambda: proof(htu=URL.replace("github", "files")), "the proof is for another request", id="route"
    ),
    pytest.param(
        lambda: proof(htu="https://evil.example/mcp"), "the proof is for another request", id="host"
    ),
    pytest.param(
        lambda: proof(htu=URL.replace("https", "http")), "the proof is for another request", id="scheme"
    ),
    pytest.param(lambda: proof(htu=f"{URL}?x=1#y"), "ok", id="with a query"),
    pytest.param(
        lambda: proof(htu=URL.replace("mcp.example.com", "MCP.example.com:443")), "ok", id="spelt otherwise"
    ),
    pytest.param(lambda: proof(htu=None), "the proof is for another request", id="no URL"),
    pytest.param(lambda: proof(ath=b64(bytes(32))), "the proof is for another token", id="another token"),
    pytest.param(lambda: proof(ath=None), "the proof is for another token", id="any token"),
    pytest.param(lambda: proof(iat=NOW - 61), "the proof is not of this moment", id="old"),
    pytest.param(lambda: proof(iat=NOW + 61), "the proof is not of this moment", id="of the future"),
    pytest.param(lambda: proof(iat=True), "the proof is not of this moment", id="true is no time"),
    pytest.param(lambda: proof(jti=None), "the proof has no `jti`", id="no id"),
    pytest.param(lambda: proof(jti="x" * 257), "the proof has no `jti`", id="a long id"),
    pytest.param(
        lambda: proof(header={"typ": "JWT"}), "the proof is not a `dpop+jwt`", id="a token as proof"
    ),
    pytest.param(
        lambda: proof(header={"alg": "none"}),
        "the proof has no public key for an allowed algorithm",
        id="none",
    ),
    pytest.param(
        lambda: proof(header={"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}),
        "the proof has no public key for an allowed algorithm",
        id="an HMAC",
    ),
    pytest.param(
        lambda: proof(header={"jwk": SECRET}),
        "the proof has no public key for an allowed algorithm",
        id="with the private key",
    ),
    pytest.param(lambda: proof(pad="x" * 4096), "the proof has more than 4096 characters", id="huge"),
]


@pytest.mark.parametrize(("made", "said"), ATTACKS)
def test_what_a_proof_gets(made: Callable[[], str | None], said: str) -> None:
    assert code(ask((f"DPoP {BOUND}", made()))[0]) == said


def test_a_proof_serves_once() -> None:
    one, again, next_one = ask(
        (f"DPoP {BOUND}", proof()), (f"DPoP {BOUND}", proof()), (f"DPoP {BOUND}", proof(jti="2"))
    )
    assert [code(it) for it in (one, again, next_one)] == ["ok", "the proof was used before", "ok"]
    assert again.status == 401


def test_a_stolen_bound_token_is_no_bearers() -> None:
    assert (
        code(ask((f"Bearer {BOUND}", proof()))[0])
        == "the token is bound to a key and comes without its proof"
    )
    assert code(ask((f"Bearer {token()}", None))[0]) == "ok"


def test_where_it_is_required_a_bearers_token_is_none() -> None:
    bearer, bound = ask((f"Bearer {token()}", None), (f"DPoP {BOUND}", proof()), dpop="required")
    assert (bearer.status, bearer.headers[0][1].startswith('DPoP algs="RS256 ')) == (401, True)
    assert code(bound) == "ok"


def test_a_client_of_dpop_is_told_so() -> None:
    told = [value for _, value in ask((f"DPoP {BOUND}", None))[0].headers]
    assert [one.partition(" ")[0] for one in told] == ["Bearer", "DPoP"]
    assert all('error="invalid_dpop_proof"' in one for one in told)


def test_the_thumbprint_is_the_standards() -> None:
    """The example of RFC 7638, 3.1."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3ok"
        "njhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu"
        "6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8a"
        "wapJzKnqDKgw"
    )
    key = {"kty": "RSA", "e": "AQAB", "n": modulus}
    assert dpop.thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_what_is_remembered_is_bounded_and_forgotten() -> None:
    seen = dpop.Seen()
    for which in range(seen.MOST_OF_ONE):
        seen.add(str(which), "greedy", NOW)
    with pytest.raises(Fault, match="more proofs"):
        seen.add("more", "greedy", NOW)
    seen.add("1", "other", NOW)
    with pytest.raises(Fault, match="used before"):
        seen.add("1", "other", NOW + 120)
    seen.add("1", "other", NOW + 121)
    seen.add("more", "greedy", NOW + 121)
