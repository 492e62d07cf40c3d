"""A token for a token: how a login goes on (RFC 6749 6) and how it ends (RFC 7009)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from sandbox.login import grant
from sandbox.login.address import Address, Reach, checked, typed
from sandbox.login.fetch import Answer, Asking, document
from sandbox.login.keeping import Login, Secrets
from sandbox.login.refused import LoginRefused, Unreachable, shown

FORM = "application/x-www-form-urlencoded"


def renew(login: Login, environ: Mapping[str, str]) -> Login:
    """The login with a fresh token; `Unreachable` where that may go better later."""
    fields = grant.renewed(login.secrets.refresh, login.resource)
    asking = _asking(login, environ)
    endpoint = checked(login.token_endpoint, "the token endpoint", asking.reach)
    tokens = tokens_from(asking, endpoint, fields, _client(login), login.issuer)
    return replace(
        login,
        scopes=tokens.scopes or login.scopes,
        # Who gives no new one leaves the old one good (RFC 6749 6).
        secrets=Secrets(
            tokens.access, tokens.refresh or login.secrets.refresh, login.secrets.client, until(tokens)
        ),
    )


def revoke(login: Login, environ: Mapping[str, str]) -> bool:
    """Whether the issuer was told and agreed that the tokens are good for nothing any more."""
    token = login.secrets.refresh or login.secrets.access
    if not login.revocation_endpoint or not token:
        return False
    asking = _asking(login, environ)
    try:
        endpoint = checked(login.revocation_endpoint, "the revocation endpoint", asking.reach)
        body, extra = grant.form({"token": token}, _client(login))
        return asking.post(endpoint, body, FORM, extra).status == 200
    except LoginRefused:
        return False


def tokens_from(
    asking: Asking, endpoint: Address, fields: Mapping[str, str], client: grant.Client, whose: str
) -> grant.Tokens:
    """What a token endpoint gives; its refusal in its own words, made harmless."""
    body, extra = grant.form(fields, client)
    answer = asking.post(endpoint, body, FORM, extra)
    if answer.status == 200:
        return grant.tokens_of(document(answer), whose)
    if answer.status == 429 or answer.status >= 500:
        raise Unreachable("login-unreachable", f"`{endpoint.origin}` gave no usable answer: {answer.status}")
    raise LoginRefused("login-denied", f"`{shown(whose)}` gave no token: {_said(answer)}")


def until(tokens: grant.Tokens) -> int | None:
    """When a token ends, in seconds of the epoch."""
    return None if tokens.seconds is None else int(time.time()) + tokens.seconds


def _said(answer: Answer) -> str:
    found = document(answer) or {}
    words = [found.get(key) for key in ("error", "error_description")]
    return ": ".join(shown(word) for word in words if isinstance(word, str)) or f"status {answer.status}"


def _asking(login: Login, environ: Mapping[str, str]) -> Asking:
    reach = Reach(loopback=typed(login.url).loopback, private=login.private)
    return Asking(reach, environ, login.ca)


def _client(login: Login) -> grant.Client:
    return grant.Client(login.client_id, login.method, login.secrets.client)
