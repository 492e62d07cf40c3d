"""The authorization code grant with PKCE: what is asked, and what answer counts (OAuth 2.1, RFC 8707) (P)."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from sandbox.digest import sha256
from sandbox.login.address import Address, Reach, checked
from sandbox.login.metadata import Issuer
from sandbox.login.refused import LoginRefused, shown

_ACCESS = re.compile(r"[A-Za-z0-9._~+/-]{1,32768}=*", re.ASCII)
"""A token as a header carries it (RFC 6750 2.1)."""
_OPAQUE = re.compile(r"[\x20-\x7e]{1,32768}")
_FIELDS = 20
_LONGEST_PAGE = 8192  # of what some servers ask, dozens of scopes, each an address of its own
_LONGEST_S = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are for an issuer, and how we show it (RFC 6749 2.3.1)."""

    id: str
    method: str = "none"
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one login asks an issuer for; state and verifier are of this login alone."""

    client: Client
    redirect: str
    resource: str
    scopes: tuple[str, ...]
    state: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an issuer gave; `seconds` is how long it is good for, None where nothing was said."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    seconds: int | None
    scopes: str


# --- the browser's part ------------------------------------------------------------------------------


def page(issuer: Issuer, wanted: Wanted, reach: Reach) -> Address:
    """The address that a person opens; checked again as a whole, since a program is given it."""
    params = {
        "response_type": "code",
        "client_id": wanted.client.id,
        "redirect_uri": wanted.redirect,
        "state": wanted.state,
        "code_challenge": challenge(wanted.verifier),
        "code_challenge_method": "S256",
        "resource": wanted.resource,
    }
    if wanted.scopes:
        params["scope"] = " ".join(wanted.scopes)
    if "offline_access" in wanted.scopes:
        params["prompt"] = "consent"  # OpenID Connect 11: without it the wish may be passed over
    before = issuer.authorization.query
    if before and {name for name, _ in parse_qsl(before, keep_blank_values=True)} & {*params, "scope"}:
        raise LoginRefused(
            "login-metadata",
            f"the `authorization_endpoint` of `{shown(issuer.name)}` brings parameters that are ours to set",
        )
    query = urlencode(params, quote_via=quote, safe="")
    whole = str(issuer.authorization) + (f"&{query}" if before else f"?{query}" if before is None else query)
    if len(whole) > _LONGEST_PAGE:
        what = f"the address of the page would be {len(whole)} characters long"
        raise LoginRefused("login-scopes", what, hint='--scope "WHAT YOU NEED"')
    return checked(whole, "the page to log in at", reach, most=_LONGEST_PAGE)


def challenge(verifier: str) -> str:
    """What is shown of a verifier before it is (RFC 7636 4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


def belongs(query: str, state: str) -> bool:
    """Whether what a browser brings is the answer to this login, and not somebody else's attempt."""
    given = _fields(query).get("state", "")
    return hmac.compare_digest(given.encode(), state.encode())


def code_of(query: str, issuer: Issuer) -> str:
    """The code in an answer that belongs to this login, if this issuer gave it (RFC 9207)."""
    found = _fields(query)
    named = found.get("iss")
    if not _is_from(named, issuer):
        raise LoginRefused(
            "login-issuer",
            f"the answer comes from `{shown(named or 'nobody')}`, and `{shown(issuer.name)}` was asked",
            rule="an answer that another issuer had a hand in is not used (RFC 9207 2.4)",
        )
    if "error" in found:
        said = ": ".join(filter(None, (found["error"], found.get("error_description"))))
        raise LoginRefused("login-denied", f"`{shown(issuer.name)}` refused the login: {shown(said)}")
    code = found.get("code", "")
    if not _OPAQUE.fullmatch(code):
        raise LoginRefused("login-answer", f"the answer of `{shown(issuer.name)}` holds no code")
    return code


def _is_from(named: str | None, issuer: Issuer) -> bool:
    """Whether an answer is this issuer's: to the letter where it says whose it is, as it does if promised."""
    return not issuer.names_itself if named is None else named == issuer.name


def _fields(query: str) -> dict[str, str]:
    """The fields of a query; none at all where one comes twice or it cannot be read."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=_FIELDS)
    except ValueError:
        return {}
    found = dict(pairs)
    return found if len(found) == len(pairs) else {}


# --- the token's part --------------------------------------------------------------------------------


def redeemed(wanted: Wanted, code: str) -> dict[str, str]:
    """What turns a code into tokens."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": wanted.redirect,
        "code_verifier": wanted.verifier,
        "resource": wanted.resource,
    }


def renewed(refresh: str, resource: str) -> dict[str, str]:
    """What turns a refresh token into tokens."""
    return {"grant_type": "refresh_token", "refresh_token": refresh, "resource": resource}


def form(fields: Mapping[str, str], client: Client) -> tuple[bytes, tuple[tuple[str, str], ...]]:
    """The body and the further fields of a question that a client asks in its own name."""
    # Said in the form in any case (RFC 6749 3.2.1): some look for it there, whatever the header has.
    own = {**fields, "client_id": client.id}
    if client.method == "client_secret_basic":
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}".encode()
        return urlencode(own).encode(), (("Authorization", f"Basic {b64encode(pair).decode()}"),)
    if client.method == "client_secret_post":
        own["client_secret"] = client.secret
    return urlencode(own).encode(), ()


def tokens_of(document: Mapping[str, Any] | None, whose: str) -> Tokens:
    """The tokens in an issuer's answer; one that no header can carry, or of another kind, is none."""
    found = document or {}
    kind, access, refresh = found.get("token_type"), found.get("access_token"), found.get("refresh_token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        what = f"`{shown(whose)}` gave a token of the kind `{shown(kind)}`"
        raise LoginRefused("login-answer", what, rule="bearer tokens alone (RFC 6750)")
    if not isinstance(access, str) or not _ACCESS.fullmatch(access):
        raise LoginRefused("login-answer", f"`{shown(whose)}` gave no token that a header can carry")
    if refresh is not None and not (isinstance(refresh, str) and _OPAQUE.fullmatch(refresh)):
        raise LoginRefused("login-answer", f"`{shown(whose)}` gave a refresh token that is none")
    scope = found.get("scope")
    said = scope if isinstance(scope, str) and _OPAQUE.fullmatch(scope) else ""
    return Tokens(access, refresh or "", _seconds(found.get("expires_in")), said)


def _seconds(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        value = int(value)  # some send it as a text
    if isinstance(value, float) and value == value // 1:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return None
    return min(value, _LONGEST_S)
