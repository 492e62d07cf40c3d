"""What is asked of an issuer and a browser, and which of their answers count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.login import grant
from sandbox.login.address import Reach
from sandbox.login.metadata import Issuer, issuer_of, scopes
from sandbox.login.refused import LoginRefused

NAME = "https://auth.test"
METADATA: dict[str, Any] = {
    "issuer": NAME,
    "authorization_endpoint": f"{NAME}/authorize",
    "token_endpoint": f"{NAME}/token",
    "code_challenge_methods_supported": ["S256"],
}
WANTED = grant.Wanted(
    grant.Client("id & more"),
    "http://127.0.0.1:5/callback/x",
    "https://mcp.test/mcp",
    ("a", "$(id)"),
    "st",
    "v" * 43,
)


def issuer(**more: object) -> Issuer:
    return issuer_of(METADATA | more, NAME, Reach())


def test_the_challenge_is_that_of_the_rfc() -> None:
    assert grant.challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == (
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


@pytest.mark.parametrize("before", ["", "?", "?tenant=1", "?tenant=1&x=%24"])
def test_the_page_holds_what_is_asked_and_nothing_for_a_shell(before: str) -> None:
    page = str(grant.page(issuer(authorization_endpoint=f"{NAME}/authorize{before}"), WANTED, Reach()))
    asked = parse_qs(page.partition("?")[2])
    assert asked["client_id"] == ["id & more"]
    assert asked["scope"] == ["a $(id)"]
    assert asked["redirect_uri"] == ["http://127.0.0.1:5/callback/x"]
    assert not set(page) & set("$()'\"` ;|<>\\")
    assert page.startswith(f"{NAME}/authorize{before.rstrip('?')}")


def test_a_server_may_ask_for_much_and_not_for_everything() -> None:
    many = tuple(f"https://www.example.com/auth/scope-{n}" for n in range(80))
    page = grant.page(issuer(), replace(WANTED, scopes=many), Reach())
    assert parse_qs(str(page).partition("?")[2])["scope"] == [" ".join(many)]
    with pytest.raises(LoginRefused, match="characters long") as refused:
        grant.page(issuer(), replace(WANTED, scopes=many * 3), Reach())
    assert refused.value.hint.startswith("--scope")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "state", "scope", "code_challenge_method"])
def test_an_endpoint_sets_none_of_our_parameters(name: str) -> None:
    with pytest.raises(LoginRefused, match="ours to set"):
        grant.page(issuer(authorization_endpoint=f"{NAME}/authorize?{name}=theirs"), WANTED, Reach())


@pytest.mark.parametrize(
    ("query", "belongs"),
    [
        pytest.param("state=st&code=c", True, id="ours"),
        pytest.param("state=su&code=c", False, id="another state"),
        pytest.param("code=c", False, id="no state"),
        pytest.param("state=st&state=st&code=c", False, id="a state twice"),
        pytest.param("state=st&code=c&code=d", False, id="a code twice"),
        pytest.param("state=st&code", False, id="a field without a value"),
        pytest.param("", False, id="nothing"),
        pytest.param("state=st&" + "&".join(f"a{n}=1" for n in range(30)), False, id="too many fields"),
        pytest.param("state=%ff", False, id="no text"),
    ],
)
def test_which_answers_belong_to_a_login(query: str, *, belongs: bool) -> None:
    assert grant.belongs(query, "st") is belongs


@pytest.mark.parametrize(
    ("fields", "promised", "why"),
    [
        pytest.param({"code": "c", "iss": NAME}, True, "", id="named as promised"),
        pytest.param({"code": "c", "iss": NAME + "/"}, True, "auth.test/", id="with a last slash"),
        pytest.param({"code": "c"}, False, "", id="not named and not promised"),
        pytest.param({"code": "c"}, True, "nobody", id="promised and not named"),
        pytest.param({"code": "c", "iss": "https://evil.test"}, False, "evil.test", id="another issuer's"),
        pytest.param({"code": "c", "iss": NAME + "/x"}, True, "/x", id="another of the same origin"),
        pytest.param({"error": "e", "iss": "https://evil.test"}, True, "evil.test", id="another's refusal"),
        pytest.param({"error": "e", "iss": NAME}, True, "refused the login: e", id="a refusal"),
        pytest.param({"iss": NAME}, True, "no code", id="nothing"),
        pytest.param({"code": "a\r\nb", "iss": NAME}, True, "no code", id="a code that is none"),
    ],
)
def test_which_codes_count(fields: dict[str, str], promised: bool, why: str) -> None:
    one = issuer(authorization_response_iss_parameter_supported=promised)
    if not why:
        assert grant.code_of(urlencode(fields), one) == "c"
        return
    with pytest.raises(LoginRefused, match=why):
        grant.code_of(urlencode(fields), one)


GIVEN = {"access_token": "a.b-c", "token_type": "bearer"}


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        pytest.param({}, None, id="nothing said"),
        pytest.param({"expires_in": 60}, 60, id="a number"),
        pytest.param({"expires_in": "60"}, 60, id="a number as a text"),
        pytest.param({"expires_in": 60.0}, 60, id="a number with a point"),
        pytest.param({"expires_in": 10**30}, 315360000, id="for ever"),
        pytest.param({"expires_in": -1}, None, id="a negative one"),
        pytest.param({"expires_in": True}, None, id="a truth"),
        pytest.param({"expires_in": []}, None, id="a list"),
    ],
)
def test_how_long_a_token_is_good(more: dict[str, Any], seconds: int | None) -> None:
    assert grant.tokens_of(GIVEN | more, NAME).seconds == seconds


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="no document"),
        pytest.param({}, id="nothing"),
        pytest.param(GIVEN | {"token_type": "DPoP"}, id="bound to a key"),
        pytest.param(GIVEN | {"token_type": None}, id="of no kind"),
        pytest.param(GIVEN | {"access_token": "a\r\nX-Evil: 1"}, id="a header in the token"),
        pytest.param(GIVEN | {"access_token": ""}, id="an empty one"),
        pytest.param(GIVEN | {"access_token": "a" * 40000}, id="a huge one"),
        pytest.param(GIVEN | {"access_token": ["a"]}, id="a list"),
        pytest.param(GIVEN | {"refresh_token": "a\nb"}, id="a refresh token that is none"),
        pytest.param(GIVEN | {"refresh_token": 5}, id="a refresh token that is a number"),
    ],
)
def test_tokens_that_count_for_nothing(document: dict[str, Any] | None) -> None:
    with pytest.raises(LoginRefused) as refused:
        grant.tokens_of(document, NAME)
    assert "a\r\n" not in str(refused.value)


@given(st.dictionaries(st.sampled_from([*METADATA, "scopes_supported", "registration_endpoint"]), st.one_of(
    st.none(), st.integers(), st.text(max_size=30), st.lists(st.text(max_size=9), max_size=3), st.booleans()
)))  # fmt: skip
def test_any_metadata_is_read_or_refused(document: dict[str, Any]) -> None:
    try:
        found = issuer_of(METADATA | document, NAME, Reach())
    except LoginRefused:
        return
    assert found.authorization.scheme == found.token.scheme == "https"


@given(st.text(max_size=80))
def test_any_text_is_read_as_scopes(text: str) -> None:
    assert all(one.isascii() and one.isprintable() and " " not in one for one in scopes(text))
