"""The file of `--oauth`: a fault is named with its line, and no route is open that it does not speak of."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sandbox.errors import CannotEnforce, UsageError
from sandbox.serve.oauth import metadata, place, signature
from sandbox.serve.oauth.server import load
from sandbox.serve.oauth.settings import read

GOOD = """\
schema = 1
issuer = "https://login.example.com/team"
resource = "https://mcp.example.com/tools"

[routes.github]
"mcp:read" = ["get_*"]
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "oauth.toml"
    path.write_text(text)
    return str(path)


FAULTS = [
    pytest.param("schema = 1", "schema = 2", ":1: `schema`", id="another schema"),
    pytest.param("schema = 1\n", "", "`schema` is missing", id="no schema"),
    pytest.param("issuer", "isuer", ":2: `isuer` is not a key", id="a key misspelt"),
    pytest.param(
        "https://login", "http://login", ":2: `issuer` is not an `https://`", id="an issuer without TLS"
    ),
    pytest.param("/team", "/team?x=1", ":2: `issuer` has a query", id="an issuer with a query"),
    pytest.param(
        "login.example.com", "a@login.example.com", ":2: `issuer` is not a plain", id="an issuer's user"
    ),
    pytest.param(
        "https://mcp", "http://mcp", ":3: `resource` is not an `https://`", id="a front without TLS"
    ),
    pytest.param("/tools", "/tools/", ":3: `resource` ends in", id="a front with a slash"),
    pytest.param('["get_*"]', "[]", ":6: `routes.github.mcp:read`", id="a scope for no tool"),
    pytest.param('["get_*"]', '[""]', ":6: `routes.github.mcp:read.0`", id="a tool without a name"),
    pytest.param('"mcp:read"', '"mcp read"', "`routes.github.mcp read`", id="two words as a scope"),
    pytest.param("[routes.github]", "[routes.gitlab]", "`routes.gitlab` is no route", id="a route misspelt"),
    pytest.param(
        '[routes.github]\n"mcp:read" = ["get_*"]', "", "no scope opens the route", id="a route forgotten"
    ),
    pytest.param(
        "\n[routes", 'algorithms = ["HS256"]\n[routes', ":4: `algorithms.0` must be one of", id="an HMAC"
    ),
    pytest.param("\n[routes", 'algorithms = ["none"]\n[routes', ":4: `algorithms.0` must be", id="none"),
    pytest.param("\n[routes", "algorithms = []\n[routes", ":4: `algorithms`", id="no algorithm"),
    pytest.param(
        "\n[routes", 'jwks = "http://a.example/k"\n[routes', ":4: `jwks` is not", id="keys without TLS"
    ),
    pytest.param("\n[routes", 'jwks = "file:///k"\n[routes', ":4: `jwks` is not", id="keys in a file"),
    pytest.param("\n[routes", 'audience = [""]\n[routes', ":4: `audience.0`", id="an empty audience"),
    pytest.param("\n[routes", 'dpop = "off"\n[routes', ":4: `dpop`", id="a word that is none"),
    pytest.param("schema = 1", "schema = ", "not TOML", id="no TOML"),
    pytest.param("team", "te\x1bam", "not TOML", id="a control character"),
]


def test_what_is_read(tmp_path: Path) -> None:
    settings = read(written(tmp_path, GOOD), ["github"])
    assert settings.audiences("github") == ("https://mcp.example.com/tools/github/mcp",)
    assert settings.of("github") == {"mcp:read": ["get_*"]}


@pytest.mark.parametrize(("old", "new", "said"), FAULTS)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        read(written(tmp_path, GOOD.replace(old, new, 1)), ["github"])
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_scopes_without_a_route_are_for_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + '[scopes]\nany = ["*"]\n')
    settings = read(path, ["github", "files", ""])
    assert settings.of("github") == {"mcp:read": ["get_*"]}
    assert settings.of("files") == settings.of("") == {"any": ["*"]}
    with pytest.raises(UsageError, match="no scope opens the route"):
        read(written(tmp_path, GOOD), ["github", "files"])


@pytest.mark.parametrize("kind", ["missing", "fifo", "folder", "huge", "latin"])
def test_what_is_no_file_of_settings(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"#" * (2 << 20) if kind == "huge" else b"\xff")
    with pytest.raises(UsageError):
        read(str(path), ["github"])


def test_certificates_that_are_none(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("\n[routes", f'ca = "{tmp_path}/none"\n[routes'))
    with pytest.raises(UsageError, match="not a file of certificates"):
        load(path, ["github"], {})


def test_without_the_library_nothing_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signature.require()
    monkeypatch.setitem(__import__("sys").modules, "jwt.algorithms", None)
    with pytest.raises(CannotEnforce, match="not installed"):
        load(written(tmp_path, GOOD), ["github"], {})


def test_each_route_has_its_document(tmp_path: Path) -> None:
    settings = read(written(tmp_path, GOOD), ["github"])
    found = metadata.documents(settings, ["github"])
    assert set(found) == {
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/github/mcp",
        "/.well-known/oauth-protected-resource/tools/github/mcp",
    }
    assert json.loads(found["/.well-known/oauth-protected-resource"]) == {
        "resource": "https://mcp.example.com/tools/github/mcp",
        "authorization_servers": ["https://login.example.com/team"],
        "scopes_supported": ["mcp:read"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": [
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
            "EdDSA", "Ed25519"
        ],
        "dpop_bound_access_tokens_required": False,
    }  # fmt: skip
    assert metadata.document_url(settings, "github") == (
        "https://mcp.example.com/.well-known/oauth-protected-resource/tools/github/mcp"
    )


def test_with_several_routes_none_is_the_front(tmp_path: Path) -> None:
    settings = read(written(tmp_path, GOOD + '[scopes]\nany = ["*"]\n'), ["github", "files"])
    assert metadata.OURS not in metadata.documents(settings, ["github", "files"])


@pytest.mark.parametrize(
    ("url", "found"),
    [
        pytest.param("https://a.example", ("https", "a.example", 443, ""), id="a host"),
        pytest.param("https://A.example:8443/x", ("https", "a.example", 8443, "/x"), id="port and path"),
        pytest.param("https://[::1]:1/", ("https", "::1", 1, "/"), id="an address"),
        *(
            pytest.param(url, None, id=url or "empty")
            for url in (
                "", "https://", "https:///x", "//a.example", "https://a:b@c", "https://a.example#f",
                "https://a.example:0", "https://a.example:99999", "https://a b", "https://a\n", "ftp://a",
                "HTTPS://a.example", "https://a.example\\@b", "https://-a", "https://a" + "a" * 1100,
            )
        ),
    ],
)  # fmt: skip
def test_urls(url: str, found: tuple[str, str, int, str] | None) -> None:
    try:
        made = place.parse(url)
    except ValueError:
        assert found is None
    else:
        assert (made.scheme, made.host, made.port, made.path) == found
