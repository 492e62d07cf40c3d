"""Who we are for an issuer: an id that a person gave, or one that it makes for this login (RFC 7591)."""

from __future__ import annotations

import json
import re
from typing import Any

from sandbox.login.fetch import Asking, document
from sandbox.login.grant import Client
from sandbox.login.metadata import METHODS, Issuer
from sandbox.login.refused import LoginRefused, shown

_ID = re.compile(r"[\x21-\x7e]{1,2048}")


def given(issuer: Issuer, client_id: str, secret: str) -> Client:
    """The client that a person names; an https URL is a client-id metadata document of theirs."""
    if not _ID.fullmatch(client_id):
        raise LoginRefused("login-client", f"`{shown(client_id)}` is no client id")
    if not secret:
        return Client(client_id)
    return Client(
        client_id, next((one for one in issuer.methods if one != "none"), "client_secret_basic"), secret
    )


def made(asking: Asking, issuer: Issuer, redirect: str, scopes: tuple[str, ...]) -> Client:
    """A client of our own, made for this one login: its redirect is known to nobody else."""
    if issuer.registration is None:
        raise LoginRefused(
            "login-client",
            f"`{shown(issuer.name)}` makes no clients on request",
            hint="register one there with the redirect `http://127.0.0.1/callback`, then `--client-id ID`",
        )
    if not issuer.methods:
        raise LoginRefused(
            "login-client", f"`{shown(issuer.name)}` knows no way to show a client that we know"
        )
    wish = _wish(redirect, issuer.methods[0], scopes)
    answer = asking.post(issuer.registration, json.dumps(wish).encode(), "application/json")
    found = document(answer)
    if answer.status not in (200, 201) or found is None:
        said = shown((found or {}).get("error_description") or (found or {}).get("error") or "")
        what = f"`{shown(issuer.name)}` made no client for us: status {answer.status} {said}".rstrip()
        raise LoginRefused("login-client", what, hint="register one there, then `--client-id ID`")
    return _client(found, issuer, redirect)


def _wish(redirect: str, method: str, scopes: tuple[str, ...]) -> dict[str, Any]:
    wish: dict[str, Any] = {
        "client_name": "mcp-sandbox",
        "application_type": "native",
        "redirect_uris": [redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    return {**wish, "scope": " ".join(scopes)} if scopes else wish


def _client(found: dict[str, Any], issuer: Issuer, redirect: str) -> Client:
    name, secret = found.get("client_id"), found.get("client_secret") or ""
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise LoginRefused("login-client", f"`{shown(issuer.name)}` gave no client id")
    if not isinstance(secret, str) or (secret and not _ID.fullmatch(secret)):
        raise LoginRefused("login-client", f"`{shown(issuer.name)}` gave a client secret that is none")
    if found.get("redirect_uris", [redirect]) != [redirect]:
        raise LoginRefused("login-client", f"`{shown(issuer.name)}` would send the browser elsewhere")
    method = found.get("token_endpoint_auth_method") or issuer.methods[0]
    if method not in METHODS or (method != "none" and not secret):
        raise LoginRefused("login-client", f"`{shown(issuer.name)}` wants `{shown(method)}`, which we cannot")
    return Client(name, method, secret if method != "none" else "")
