"""A whole login against a real server, its real issuer and a browser; what is told, sent and kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.login import keeping
from sandbox.login.refused import LoginRefused
from sandbox.login.tokens import token_for
from tests.login.conftest import Login
from tests.login.sites import Browser, Issuer, Server, Told


def test_a_login_ends_with_a_token_that_the_server_takes(
    login: Login, server: Server, issuer: Issuer, browser: Browser
) -> None:
    kept = login()
    assert kept.secrets.access in issuer.accesses
    assert token_for(server.url, os.environ) == kept.secrets.access
    assert "can be closed" in browser.pages[0]
    asked = issuer.seen[[one.path for one in issuer.seen].index("/authorize")].query
    assert asked["resource"] == server.url
    assert asked["redirect_uri"].startswith("http://127.0.0.1:")
    (client,) = issuer.clients.values()
    assert client["application_type"] == "native"
    assert client["redirect_uris"] == [asked["redirect_uri"]]


def test_what_is_kept_is_for_its_owner_alone(login: Login, server: Server) -> None:
    kept = login()
    path = Path(keeping.path_of(server.url, os.environ))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert json.loads(path.read_text())["secrets"]["access"] == kept.secrets.access


def test_nothing_that_is_said_holds_a_secret(login: Login, issuer: Issuer, browser: Browser) -> None:
    kept = login()
    said = "\n".join(browser.said)
    verifier = next(one.form["code_verifier"] for one in issuer.seen if one.path == "/token")
    assert not [one for one in (kept.secrets.access, kept.secrets.refresh, verifier) if one in said]
    assert kept.secrets.access not in repr(kept)
    assert issuer.origin in said


def test_a_token_is_for_the_url_it_was_given_for(login: Login, server: Server) -> None:
    login()
    for other in (f"{server.origin}/other", f"{server.url}/", f"{server.url}?tenant=2"):
        assert token_for(other, os.environ) is None
    assert token_for(server.url.replace("localhost", "LOCALHOST"), os.environ) is not None


def test_no_path_and_a_slash_are_one_server(login: Login, server: Server) -> None:
    server.routes["POST", "/"] = server.routes["POST", "/mcp"]
    server.routes["GET", "/.well-known/oauth-protected-resource"] = lambda _: Told(body=server.metadata())
    server.extra["resource"] = server.origin
    kept = login(url=server.origin)
    assert token_for(f"{server.origin}/", os.environ) == kept.secrets.access


def _openid(issuer: Issuer, _: Server) -> None:
    route = issuer.routes.pop(("GET", "/.well-known/oauth-authorization-server"))
    issuer.routes["GET", "/.well-known/openid-configuration"] = route


def _path(issuer: Issuer, _: Server) -> None:
    issuer.path = "/tenant"
    route = issuer.routes.pop(("GET", "/.well-known/oauth-authorization-server"))
    issuer.routes["GET", "/.well-known/oauth-authorization-server/tenant"] = route


def _openid_path(issuer: Issuer, _: Server) -> None:
    issuer.path = "/tenant"
    route = issuer.routes.pop(("GET", "/.well-known/oauth-authorization-server"))
    issuer.routes["GET", "/tenant/.well-known/openid-configuration"] = route


def _root(_: Issuer, server: Server) -> None:
    route = server.routes.pop(("GET", "/.well-known/oauth-protected-resource/mcp"))
    server.routes["GET", "/.well-known/oauth-protected-resource"] = route
    server.extra["resource"] = server.origin


def _named(_: Issuer, server: Server) -> None:
    server.routes["GET", "/meta"] = server.routes.pop(("GET", "/.well-known/oauth-protected-resource/mcp"))
    server.says = f'Basic realm="x", Bearer error="invalid_token", resource_metadata="{server.origin}/meta"'


def _before_2025_06_18(issuer: Issuer, server: Server) -> None:
    del server.routes["GET", "/.well-known/oauth-protected-resource/mcp"]
    route = issuer.routes["GET", "/.well-known/oauth-authorization-server"]
    server.routes["GET", "/.well-known/oauth-authorization-server"] = route
    issuer.extra["issuer"] = server.origin
    issuer.without = ("authorization_response_iss_parameter_supported",)
    issuer.brings = {"iss": ""}


def _below_its_root(issuer: Issuer, server: Server) -> None:
    _before_2025_06_18(issuer, server)
    issuer.extra["issuer"] = f"{server.origin}/oauth"


def _slash(_: Issuer, server: Server) -> None:
    server.extra["authorization_servers"] = [server.issuer.origin + "/"]


def _pages_for_all(issuer: Issuer, server: Server) -> None:
    _openid(issuer, server)
    issuer.routes["GET", "/.well-known/oauth-authorization-server"] = lambda _: Told(body="<!doctype html>")


def _no_iss(issuer: Issuer, _: Server) -> None:
    issuer.without = ("authorization_response_iss_parameter_supported",)
    issuer.brings = {"iss": ""}


def _open_server(_: Issuer, server: Server) -> None:
    server.routes["POST", "/mcp"] = lambda _: Told(body={"jsonrpc": "2.0", "id": 1, "result": {}})


def _secret_basic(issuer: Issuer, _: Server) -> None:
    issuer.extra["token_endpoint_auth_methods_supported"] = ["client_secret_basic"]


def _secret_post(issuer: Issuer, _: Server) -> None:
    issuer.extra["token_endpoint_auth_methods_supported"] = ["private_key_jwt", "client_secret_post"]


def _says_no_methods(issuer: Issuer, _: Server) -> None:
    issuer.without = ("token_endpoint_auth_methods_supported",)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_openid, id="OpenID Connect's place"),
        pytest.param(_path, id="an issuer with a path"),
        pytest.param(_openid_path, id="OpenID Connect's own way with a path"),
        pytest.param(_root, id="the metadata of all of the origin"),
        pytest.param(_named, id="the server says where its metadata is, after another challenge"),
        pytest.param(_before_2025_06_18, id="a server that is its own issuer, as before 2025-06-18"),
        pytest.param(_below_its_root, id="one that is its own issuer below its root"),
        pytest.param(_slash, id="an issuer with and without its last slash"),
        pytest.param(_pages_for_all, id="a site that answers every path with a page"),
        pytest.param(_no_iss, id="an issuer that does not say who it is in its answer"),
        pytest.param(_open_server, id="a server that also works without"),
        pytest.param(_secret_basic, id="a client with a secret in a header"),
        pytest.param(_secret_post, id="a client with a secret in the form"),
        pytest.param(_says_no_methods, id="nothing is said of how a client shows who it is"),
    ],
)
def test_servers_and_issuers_of_all_kinds(
    change: Callable[[Issuer, Server], None], login: Login, server: Server, issuer: Issuer
) -> None:
    change(issuer, server)
    assert login().secrets.access in issuer.accesses


@pytest.mark.parametrize(
    ("says", "listed", "typed", "asked"),
    [
        pytest.param('Bearer scope="a b"', ["c"], "", "a b", id="what the request wanted comes first"),
        pytest.param("Bearer", ["c", "d"], "", "c d", id="else all that the server lists"),
        pytest.param("Bearer", [], "", None, id="else nothing is said"),
        pytest.param('Bearer scope="a"', ["c"], "x:y", "x:y", id="a person's word counts"),
        pytest.param('Bearer scope="a \x7f"', [], "", "a", id="a word that is none is left out"),
    ],
)
def test_scopes(
    says: str, listed: list[str], typed: str, asked: str | None, login: Login, server: Server, issuer: Issuer
) -> None:
    server.says, server.extra = says, {"scopes_supported": listed}
    login(scope=typed)
    query = next(one.query for one in issuer.seen if one.path == "/authorize")
    assert query.get("scope") == asked


def test_more_is_asked_for_besides_what_one_has(login: Login, server: Server, issuer: Issuer) -> None:
    server.says = 'Bearer scope="read"'
    assert login().scopes == "read"
    assert login(scope="write read").scopes == "read write"
    assert login().scopes == "read"


def test_a_refresh_token_is_asked_for_where_that_takes_a_scope(login: Login, issuer: Issuer) -> None:
    issuer.extra["scopes_supported"] = ["openid", "offline_access"]
    login()
    query = next(one.query for one in issuer.seen if one.path == "/authorize")
    assert (query["scope"], query["prompt"]) == ("offline_access", "consent")


def test_a_client_of_ones_own_is_used_with_its_registered_path(login: Login, issuer: Issuer) -> None:
    issuer.without = ("registration_endpoint",)
    issuer.clients["mine"] = {"client_secret": "s3cret+/"}
    login(client_id="mine", client_secret="s3cret+/")  # noqa: S106 - nobody's
    query = next(one.query for one in issuer.seen if one.path == "/authorize")
    assert query["redirect_uri"].endswith("/callback")
    assert query["client_id"] == "mine"
    assert "POST /register" not in issuer.paths()


def test_without_registration_a_client_is_asked_for(login: Login, issuer: Issuer) -> None:
    issuer.without = ("registration_endpoint",)
    with pytest.raises(LoginRefused, match="makes no clients") as refused:
        login()
    assert "--client-id" in refused.value.hint


def test_one_of_several_issuers_can_be_chosen(login: Login, server: Server, issuer: Issuer) -> None:
    server.extra["authorization_servers"] = ["https://first.test", issuer.origin]
    assert login(issuer=issuer.origin).issuer == issuer.origin
    with pytest.raises(LoginRefused, match="names other issuers"):
        login(issuer="https://third.test")


def test_a_login_that_is_refused_says_so(login: Login, issuer: Issuer) -> None:
    issuer.brings = {"code": "", "error": "access_denied", "error_description": "not you\x1b[2J\n`x"}
    with pytest.raises(LoginRefused) as refused:
        login()
    assert refused.value.what.endswith("refused the login: access_denied: not you\\x1b[2J\\n'x")


def test_where_nobody_logs_in_the_wait_has_an_end(server: Server, login: Login) -> None:
    with pytest.raises(LoginRefused, match="nobody logged in within 0 s"):
        login(patience=0.0)
    assert not keeping.known(server.url, os.environ)
