"""The Python SDK's own OAuth client against the front: our 401 and 403 alone lead it in."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)

import sandbox
from tests.serve.oauth.issuer import Documents
from tests.serve.oauth.test_served import fronted, token

TINY = Path(sandbox.__file__).with_name("demo") / "tiny_server.py"


class Storage:
    """The SDK's tokens, in memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def answering(
    site: Documents, made: Callable[[bytes], dict[str, Any]]
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        said = json.dumps(made(body)).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(said)))
        handler.end_headers()
        handler.wfile.write(said)

    return answer


def authorizing(site: Documents) -> dict[str, str]:
    """Makes the issuer one that gives tokens; what a client asked for is kept."""
    asked: dict[str, str] = {}
    site.found["/.well-known/oauth-authorization-server"] = json.dumps({
        "issuer": site.url, "jwks_uri": f"{site.url}/keys", "authorization_endpoint": f"{site.url}/authorize",
        "token_endpoint": f"{site.url}/token", "registration_endpoint": f"{site.url}/register",
        "response_types_supported": ["code"], "grant_types_supported": ["authorization_code"],
        "code_challenge_methods_supported": ["S256"], "token_endpoint_auth_methods_supported": ["none"],
    }).encode()  # fmt: skip

    def give(body: bytes) -> dict[str, Any]:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        asked.update(form)
        given = token(site, aud=form["resource"], scope=asked["scope"], client_id="sdk")
        return {"access_token": given, "token_type": "Bearer", "expires_in": 300, "scope": asked["scope"]}

    site.found["/register"] = answering(site, lambda body: {**json.loads(body), "client_id": "sdk"})
    site.found["/token"] = answering(site, give)
    return asked


async def tools(url: str, ca: str, asked: dict[str, str], scope: str, storage: Storage) -> list[str]:
    """The tools that the SDK's client is told of once it is in; its user agrees to `scope`."""
    codes: list[AuthorizationCodeResult] = []

    async def agree(where: str) -> None:
        asked.update({name: values[0] for name, values in parse_qs(urlsplit(where).query).items()})
        asked["asked_scope"], asked["scope"] = asked["scope"], scope
        codes.append(AuthorizationCodeResult(code="c", state=asked["state"]))

    async def code() -> AuthorizationCodeResult:
        return codes.pop()

    about = OAuthClientMetadata.model_validate(
        {
            "redirect_uris": ["http://127.0.0.1:1/back"],
            "client_name": "t",
            "token_endpoint_auth_method": "none",
        }
    )
    auth = OAuthClientProvider(url, about, storage, agree, code)
    verify = ssl.create_default_context(cafile=ca)
    async with (
        httpx2.AsyncClient(auth=auth, verify=verify) as client,
        streamable_http_client(url, http_client=client) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return [one.name for one in (await session.list_tools()).tools]


def test_the_sdks_client_finds_its_way_in(tmp_path: Path, site: Documents, ca: str) -> None:
    (tmp_path / "root").mkdir()
    program = (sys.executable, "-I", str(TINY), str(tmp_path / "root"))
    asked = authorizing(site)
    with fronted(tmp_path, site, ca, program, "http://127.0.0.1:{port}") as front:
        url = f"http://127.0.0.1:{front.port}/github/mcp"
        assert asyncio.run(tools(url, ca, asked, "mcp:read", Storage())) == [
            "read_text_file",
            "list_directory",
        ]
    assert asked["resource"] == url
    assert asked["asked_scope"] == "mcp:all mcp:read mcp:write"
    assert asked["code_challenge_method"] == "S256"


def test_a_token_that_is_too_narrow_is_asked_for_again(tmp_path: Path, site: Documents, ca: str) -> None:
    (tmp_path / "root").mkdir()
    program = (sys.executable, "-I", str(TINY), str(tmp_path / "root"))
    asked, storage = authorizing(site), Storage()
    with fronted(tmp_path, site, ca, program, "http://127.0.0.1:{port}") as front:
        url = f"http://127.0.0.1:{front.port}/github/mcp"
        narrow = token(site, aud=url, scope="openid", client_id="sdk")
        storage.tokens = OAuthToken(access_token=narrow, expires_in=300, scope="openid")
        known = {"redirect_uris": ["http://127.0.0.1:1/back"], "client_id": "sdk", "issuer": site.url}
        storage.client = OAuthClientInformationFull.model_validate(known)
        found = asyncio.run(tools(url, ca, asked, "mcp:write", storage))
        assert found == ["read_text_file", "list_directory"]
        assert front.refusals() == ["insufficient-scope"]
    assert set(asked["asked_scope"].split()) == {"openid", "mcp:all", "mcp:read", "mcp:write"}
