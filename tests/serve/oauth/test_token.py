"""A token is believed for what the issuer signed, for this route, now; attacks beside what passes."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from sandbox.serve.oauth import compact
from sandbox.serve.oauth.faults import Fault
from sandbox.serve.oauth.server import OAuth
from sandbox.serve.oauth.settings import Settings
from sandbox.serve.words import Head, Principal, Refused
from tests.serve.oauth import issuer
from tests.serve.oauth.issuer import ISSUER, NOW, RESOURCE, URL, b64, claims, private, public_jwk, token

ROUTES = {
    "github": {"mcp:read": ["get_*", "list_*"], "mcp:write": ["create_*"], "mcp:all": ["*"]},
    "files": {"files": ["read"]},
}
KEYS = issuer.jwks(
    public_jwk("ES256", private("P-256"), kid="ES256", use="sig"),
    public_jwk("RS256", private("RSA"), kid="RS256", alg="RS256"),
    public_jwk("RS256", private("RSA", 1), kid="PS256"),
    public_jwk("EdDSA", private("Ed25519"), kid="EdDSA"),
    public_jwk("ES384", private("P-384"), kid="ES384"),
)


WORDS = {"schema": 1, "issuer": ISSUER, "resource": RESOURCE, "routes": ROUTES}
SETTINGS = Settings.model_validate(WORDS)


def jwks_of(key: Any) -> bytes:
    return issuer.jwks(public_jwk("ES256", key, kid="ES256"))


def server(keys: bytes = KEYS, **changed: Any) -> OAuth:

    async def fetch() -> bytes:
        return keys

    return OAuth(Settings.model_validate(WORDS | changed), ROUTES, fetch, now=lambda: NOW)


def head(authorization: str | None, route: str = "github", **headers: str) -> Head:
    if authorization is not None:
        headers["authorization"] = authorization
    return Head("POST", f"/{route}/mcp", route, headers)


def ask(of: OAuth, *heads: Head) -> Any:
    async def asked() -> list[Principal | Refused]:
        await of.start()
        try:
            return [await of.check(one) for one in heads]
        finally:
            await of.close()

    found = asyncio.run(asked())
    return found[0] if len(heads) == 1 else found


def said(given: str, of: OAuth | None = None, route: str = "github") -> str:
    """`ok`, or the code of the refusal."""
    found = ask(of or server(), head(f"Bearer {given}", route))
    return found.code if isinstance(found, Refused) else "ok"


@pytest.mark.parametrize("name", ["ES256", "RS256", "PS256", "EdDSA", "Ed25519", "ES384"])
def test_a_good_token_names_its_user_and_client(name: str) -> None:
    key = private("RSA", 1) if name == "PS256" else None
    kid = {"kid": "EdDSA"} if name == "Ed25519" else {}
    assert ask(server(), head(f"Bearer {token(name=name, key=key, header=kid)}")) == Principal(
        "ann/desk", ("get_*", "list_*")
    )


def test_a_principal_knows_when_its_token_ends_and_is_the_same_by_the_next() -> None:
    one, other = ask(server(), *(head(f"Bearer {token(exp=NOW + more)}") for more in (10, 20)))
    assert (one.until, other.until) == (NOW + 70, NOW + 80)
    assert one == other


def published() -> bytes:
    """The issuer's public key as programs keep it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = private("RSA").public_key().public_bytes(serialization.Encoding.PEM, form)
    return made


def with_the_public_key_as_secret() -> str:
    """The classic: the verifier takes the algorithm from the token and the key for an HMAC's secret."""
    head = {"alg": "HS256", "kid": "RS256"}
    return issuer.compact(head, claims(), lambda signed: hmac.digest(published(), signed, "sha256"))


def resigned(header: dict[str, Any]) -> str:
    """By the attacker's own key, which the header offers."""
    return token(key=private("P-256", 666), header=header)


MINE = public_jwk("ES256", private("P-256", 666), kid="ES256")
GOOD = token()
HEAD, CLAIMS, SIGNATURE = GOOD.split(".")
ATTACKS = [
    pytest.param(token, "ok", id="control"),
    pytest.param(lambda: f"{b64(json.dumps({'alg': 'none'}))}.{CLAIMS}.", "token-form", id="none, unsigned"),
    pytest.param(
        lambda: f"{b64(json.dumps({'alg': 'none'}))}.{CLAIMS}.{SIGNATURE}",
        "token-algorithm",
        id="none, signed",
    ),
    pytest.param(lambda: token(header={"alg": "nOnE"}), "token-algorithm", id="none in other letters"),
    pytest.param(with_the_public_key_as_secret, "token-algorithm", id="HMAC with the public key"),
    pytest.param(lambda: token(header={"alg": None}), "token-algorithm", id="no algorithm"),
    pytest.param(lambda: token(header={"alg": ["ES256"]}), "token-algorithm", id="a list of algorithms"),
    pytest.param(lambda: token(header={"alg": "RS256"}), "token-key", id="another algorithm than the key's"),
    pytest.param(lambda: token(key=private("P-256", 666)), "token-signature", id="another's signature"),
    pytest.param(lambda: token(header={"kid": "RS256"}), "token-key", id="another key's name"),
    pytest.param(
        lambda: token(name="RS256", key=private("RSA", 1)),
        "token-signature",
        id="signed by another of its keys",
    ),
    pytest.param(lambda: token(header={"kid": "../../dev/null"}), "token-key", id="a path as the key's name"),
    pytest.param(lambda: token(header={"kid": 1}), "token-form", id="a number as the key's name"),
    pytest.param(lambda: token(header={"kid": None}), "ok", id="no name, and one key for the algorithm"),
    pytest.param(lambda: resigned({"jwk": MINE}), "token-signature", id="the key in the header"),
    pytest.param(
        lambda: resigned({"jku": "https://evil.example/keys", "kid": "evil"}), "token-key", id="a URL of keys"
    ),
    pytest.param(
        lambda: resigned({"x5u": "https://evil.example/c"}), "token-signature", id="a URL of chains"
    ),
    pytest.param(lambda: resigned({"x5c": ["MIIB"]}), "token-signature", id="a chain in the header"),
    pytest.param(lambda: token(header={"crit": ["exp"], "exp": 1}), "token-form", id="an unknown extension"),
    pytest.param(lambda: token(header={"b64": False}), "token-form", id="a payload that is not encoded"),
    pytest.param(lambda: token(header={"typ": "JWT"}), "ok", id="the plain type"),
    pytest.param(lambda: token(header={"typ": None}), "ok", id="no type"),
    pytest.param(lambda: token(header={"typ": "dpop+jwt"}), "token-type", id="a proof as a token"),
    pytest.param(lambda: token(header={"typ": "logout+jwt"}), "token-type", id="a logout as a token"),
    pytest.param(lambda: token(iss="https://evil.example"), "token-issuer", id="another issuer"),
    pytest.param(lambda: token(iss=f"{ISSUER}/"), "token-issuer", id="nearly the issuer"),
    pytest.param(lambda: token(iss=[ISSUER]), "token-issuer", id="a list of issuers"),
    pytest.param(lambda: token(iss=None), "token-issuer", id="no issuer"),
    pytest.param(lambda: token(aud=f"{RESOURCE}/files/mcp"), "token-audience", id="another route"),
    pytest.param(lambda: token(aud=RESOURCE), "token-audience", id="the front as a whole"),
    pytest.param(lambda: token(aud="https://api.example"), "token-audience", id="another resource"),
    pytest.param(lambda: token(aud=["https://api.example", URL]), "ok", id="for two resources"),
    pytest.param(lambda: token(aud=[]), "token-audience", id="for nobody"),
    pytest.param(lambda: token(aud=None), "token-audience", id="no audience"),
    pytest.param(lambda: token(aud={URL: 1}), "token-audience", id="an audience that is no text"),
    pytest.param(lambda: token(exp=NOW - 61), "token-expired", id="expired"),
    pytest.param(lambda: token(exp=NOW - 59), "ok", id="expired within the skew"),
    pytest.param(lambda: token(exp=None), "token-expired", id="no end"),
    pytest.param(lambda: token(exp="9999999999"), "token-time", id="an end in words"),
    pytest.param(lambda: token(exp=True), "token-time", id="true is no time"),
    pytest.param(lambda: token(exp=1e300), "token-time", id="for ever"),
    pytest.param(lambda: token(exp=-1), "token-time", id="before all time"),
    pytest.param(lambda: token(nbf=NOW + 61), "token-early", id="not yet"),
    pytest.param(lambda: token(nbf=NOW + 59), "ok", id="not yet, within the skew"),
    pytest.param(lambda: token(iat=NOW + 3600), "token-early", id="made in the future"),
    pytest.param(lambda: token(sub=None), "token-subject", id="of nobody"),
    pytest.param(lambda: token(sub=""), "token-subject", id="of the empty name"),
    pytest.param(lambda: token(sub="a" * 256), "token-subject", id="of a long name"),
    pytest.param(lambda: token(scope={"mcp:all": 1}), "token-scope", id="scopes that are no words"),
    pytest.param(lambda: token(scope=" ".join(map(str, range(201)))), "token-scope", id="many scopes"),
    pytest.param(lambda: token(scope="other"), "insufficient-scope", id="another's scope"),
    pytest.param(lambda: token(scope="mcp:read2"), "insufficient-scope", id="nearly a scope"),
    pytest.param(lambda: token(scope=None), "insufficient-scope", id="no scope"),
    pytest.param(lambda: token(cnf={"jkt": "x"}), "dpop-proof", id="bound, as a bearer's"),
    pytest.param(lambda: token(cnf={"x5t#S256": "x"}), "token-bound", id="bound to a certificate"),
    pytest.param(lambda: token(cnf={}), "token-bound", id="bound to nothing"),
    pytest.param(lambda: token(cnf={"jkt": "x", "x5t#S256": "x"}), "token-bound", id="bound to both"),
    pytest.param(lambda: token(cnf={"jkt": 5}), "token-bound", id="bound to a number"),
    pytest.param(lambda: token(pad="x" * 8000), "token-size", id="huge"),
    pytest.param(
        lambda: token(json.dumps(claims())[:-1] + ', "aud": "x"}'), "token-form", id="a claim twice"
    ),
    pytest.param(
        lambda: token(json.dumps(claims())[:-1] + ', "\\u0061ud": "x"}'),
        "token-form",
        id="twice, escaped once",
    ),
    pytest.param(lambda: token("[]"), "token-form", id="claims that are no object"),
    pytest.param(lambda: token('{"exp": NaN}'), "token-form", id="NaN"),
    pytest.param(lambda: token("[" * 5000), "token-form", id="deep"),
    pytest.param(lambda: f"{HEAD}.{CLAIMS}", "token-form", id="two parts"),
    pytest.param(lambda: f"{GOOD}.{SIGNATURE}", "token-form", id="four parts"),
    pytest.param(lambda: f"{HEAD}.{CLAIMS}.{SIGNATURE}=", "token-form", id="padded"),
    pytest.param(
        lambda: f"{HEAD}.{CLAIMS}.{SIGNATURE[:-2]}\n{SIGNATURE[-2:]}", "token-form", id="in two lines"
    ),
    pytest.param(lambda: f" {GOOD}", "token-form", id="a space more"),
    pytest.param(lambda: f"{GOOD} ", "token-form", id="a space behind"),
    pytest.param(lambda: "", "token-form", id="empty"),
    pytest.param(
        lambda: f"{HEAD}.{b64(json.dumps(claims(sub='bob')))}.{SIGNATURE}", "token-signature", id="bob"
    ),
    pytest.param(lambda: f"{HEAD}.{CLAIMS}.{b64(bytes(64))}", "token-signature", id="a signature of zeros"),
    pytest.param(lambda: f"{HEAD}.{CLAIMS}.{b64(b'x')}", "token-signature", id="a short signature"),
]


def believing(given: str) -> bool:
    """A verifier that does as the token says: its algorithm, its key, and the published one for an HMAC."""
    header, _, signature = (compact.decoded(part) for part in given.split("."))
    read, signed = json.loads(header or b""), given.rpartition(".")[0].encode()
    if read["alg"] == "none":
        return signature is None
    if read["alg"] == "HS256":
        return signature == hmac.digest(published(), signed, "sha256")
    found = issuer.algorithm(read["alg"])
    return bool(found.verify(signed, found.from_jwk(read["jwk"]), signature))


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(ATTACKS[1].values[0], id="none"),
        pytest.param(with_the_public_key_as_secret, id="HMAC with the public key"),
        pytest.param(lambda: resigned({"jwk": MINE}), id="the key in the header"),
    ],
)
def test_a_verifier_that_believes_the_header_is_taken_in(made: Callable[[], str]) -> None:
    assert believing(made())
    assert said(made()) != "ok"


@pytest.mark.parametrize(("made", "code"), ATTACKS)
def test_what_a_token_gets(made: Callable[[], str], code: str) -> None:
    assert said(made()) == code


def test_a_signature_that_held_is_another_keys_no_more() -> None:
    """What is remembered of a token goes with its key: the same key's name, then somebody else's key."""
    held = [jwks_of(private("P-256")), jwks_of(private("P-256", 1)), jwks_of(private("P-256"))]

    async def story() -> list[str]:
        now, found = [0.0], []

        async def fetch() -> bytes:
            return held.pop(0)

        of = OAuth(SETTINGS, ROUTES, fetch, now=lambda: NOW, clock=lambda: now[0])
        await of.start()
        for step in range(3):
            for _ in range(2):
                answer = await of.check(head(f"Bearer {GOOD}"))
                found.append(answer.code if isinstance(answer, Refused) else "ok")
            now[0] += 4000 * (step + 1)
        await of.close()
        return found

    assert asyncio.run(story()) == ["ok", "ok", "token-signature", "token-signature", "ok", "ok"]


def test_no_other_token_passes_beside_one_that_held() -> None:
    """Neither other claims with its signature nor its claims with another one."""
    others = (f"{HEAD}.{b64(json.dumps(claims(sub='x')))}.{SIGNATURE}", f"{HEAD}.{CLAIMS}.{b64(bytes(64))}")
    found = ask(server(), *(head(f"Bearer {one}") for one in (GOOD, *others)))
    assert isinstance(found[0], Principal)
    assert [one.code for one in found[1:]] == ["token-signature"] * 2


def test_one_signature_has_one_spelling() -> None:
    """The last letter has bits to spare: most decoders take sixteen tokens for one."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [f"{GOOD[:-1]}{one}" for one in letters if one != GOOD[-1]]
    assert {said(one) for one in others} <= {"token-form", "token-signature"}
    assert said(GOOD) == "ok"


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        pytest.param(None, "no-token", id="none"),
        pytest.param("", "token-scheme", id="empty"),
        pytest.param("Basic YTpi", "token-scheme", id="another scheme"),
        pytest.param(GOOD, "token-scheme", id="no scheme"),
        pytest.param(f"Bearer  {GOOD}", "token-form", id="two spaces"),
        pytest.param(f"Bearer {GOOD}, Bearer {GOOD}", "token-form", id="two tokens"),
        pytest.param(f"DPoP {GOOD}", "token-bound", id="a bearer's token as a bound one"),
    ],
)
def test_other_credentials(authorization: str | None, code: str) -> None:
    found = ask(server(), head(authorization))
    assert (found.status, found.code) == (401, code)


def test_a_token_opens_no_other_route() -> None:
    both = head(f"Bearer {GOOD}"), head(f"Bearer {GOOD}", "files")
    here, there = ask(server(), *both)
    assert isinstance(here, Principal)
    assert there.code == "token-audience"


def test_scopes_of_one_route_mean_nothing_on_another() -> None:
    of = server(audience=["team"])
    wide = token(aud="team", scope="mcp:all")
    assert [said(wide, of), said(wide, server(audience=["team"]), "files")] == ["ok", "insufficient-scope"]


@pytest.mark.parametrize(
    ("granted", "tools"),
    [
        pytest.param({"scope": "mcp:write"}, ("create_*",), id="one"),
        pytest.param({"scope": "mcp:write openid mcp:read"}, ("create_*", "get_*", "list_*"), id="both"),
        pytest.param({"scope": "mcp:all mcp:read"}, None, id="all"),
        pytest.param({"scope": None, "scp": ["mcp:write"]}, ("create_*",), id="as a list"),
        pytest.param({"scope": None, "scp": "mcp:write"}, ("create_*",), id="by its other name"),
        pytest.param({"scope": "mcp:write", "scp": "mcp:all"}, ("create_*",), id="the standard's counts"),
    ],
)
def test_scopes_are_tools(granted: dict[str, Any], tools: tuple[str, ...] | None) -> None:
    assert ask(server(), head(f"Bearer {token(**granted)}")).tools == tools


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"sub": "a/b", "client_id": None}, {"sub": "a", "client_id": "b"}, id="a slash"),
        pytest.param({"sub": "a%2Fb"}, {"sub": "a/b"}, id="an escaped slash"),
        pytest.param({"client_id": "x"}, {"client_id": "y"}, id="two clients of one user"),
        pytest.param({"sub": "Ann"}, {"sub": "ann"}, id="case"),
        pytest.param({"sub": "\u0430nn"}, {"sub": "ann"}, id="a letter that looks like another"),
    ],
)
def test_two_are_two(one: dict[str, Any], other: dict[str, Any]) -> None:
    names = [found.name for found in ask(server(), *(head(f"Bearer {token(**it)}") for it in (one, other)))]
    assert names[0] != names[1]
    assert all(name.isascii() and name.isprintable() for name in names)


@pytest.mark.parametrize("claim", ["client_id", "azp", "appid", "cid"])
def test_a_client_by_whatever_name_its_issuer_has_for_it(claim: str) -> None:
    given = {"client_id": None, claim: "desk"}
    assert ask(server(), head(f"Bearer {token(**given)}")).name == "ann/desk"


def test_a_clients_controls_are_not_in_its_name() -> None:
    assert ask(server(), head(f"Bearer {token(sub=chr(27) + '[31m')}")).name == "%1B%5B31m/desk"


def test_what_an_unknown_client_is_told() -> None:
    none, bad, narrow = ask(
        server(), head(None), head(f"Bearer {token(exp=1)}"), head(f"Bearer {token(scope='x')}")
    )
    at = f'resource_metadata="{RESOURCE}/.well-known/oauth-protected-resource/github/mcp"'
    scope = 'scope="mcp:all mcp:read mcp:write"'
    assert none.headers == (("WWW-Authenticate", f"Bearer {at}, {scope}"),)
    assert 'error="invalid_token", error_description="the token has expired"' in bad.headers[0][1]
    assert (narrow.status, 'error="insufficient_scope"' in narrow.headers[0][1]) == (403, True)


@pytest.mark.parametrize("given", [one.values[0] for one in ATTACKS[1:]])
def test_no_refusal_repeats_the_token(given: Callable[[], str]) -> None:
    made = given()
    found = ask(server(), head(f"Bearer {made}"))
    for part in filter(lambda one: len(one) > 8, made.split(".")):
        assert part not in repr(found)


@given(st.text(max_size=60) | st.binary(max_size=60).map(b64))
def test_whatever_is_no_token_is_a_fault(text: str) -> None:
    for made in (text, f"{text}.{text}.{text}", f"{HEAD}.{text}.{SIGNATURE}"):
        try:
            compact.read(made)
        except Fault:
            continue


@given(st.binary(min_size=1, max_size=80))
def test_base64url_has_one_spelling(content: bytes) -> None:
    assert compact.decoded(compact.encoded(content)) == content
