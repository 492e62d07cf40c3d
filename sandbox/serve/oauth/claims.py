"""What a token has to claim: whose it is, for whom and for when (RFC 9068, RFC 8707) (P)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from sandbox.records import dataclass
from sandbox.serve.oauth.faults import Fault

SKEW: Final = 60.0
"""Seconds that the issuer's clock and ours may differ."""
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})
# RFC 9068's, then those of OpenID Connect, of Entra ID's older tokens and of Okta's.
_CLIENT: Final = ("client_id", "azp", "appid", "cid")
_LONGEST: Final = 255
_MOST_SCOPES: Final = 200
# Latest time that is a time: a token for ever is not one.
_LATEST: Final = 1e11


@dataclass(frozen=True, slots=True)
class Granted:
    """Who a good token is for, and what it stands for."""

    name: str
    scopes: frozenset[str]
    until: float
    bound: str | None
    """The thumbprint of the client's key that has to be proven, None for a bearer's token."""


def check_type(header: Mapping[str, Any]) -> None:
    """A token made for something else is no access token, whoever signed it (RFC 8725, 3.11)."""
    found = header.get("typ", "JWT")
    if not isinstance(found, str) or found.lower() not in _TYPES:
        raise Fault("token-type", "the token is not an access token")


def judge(claims: Mapping[str, Any], issuer: str, audiences: Sequence[str], now: float) -> Granted:
    """What the claims grant; Fault for the first that is missing or wrong."""
    if claims.get("iss") != issuer:
        raise Fault("token-issuer", "the token is of another issuer")
    if not set(audiences) & set(_audience(claims.get("aud"))):
        raise Fault("token-audience", "the token is for another resource")
    until = _times(claims, now)
    return Granted(_name(claims), _scopes(claims), until, _bound(claims))


def _audience(found: Any) -> list[str]:
    listed = found if isinstance(found, list) else [found]
    if not all(isinstance(one, str) for one in listed):
        raise Fault("token-audience", "the token's audience is not text")
    return listed


def _times(claims: Mapping[str, Any], now: float) -> float:
    until = _time(claims, "exp")
    if until is None:
        raise Fault("token-expired", "the token has no end")
    if now >= until + SKEW:
        raise Fault("token-expired", "the token has expired")
    for name in ("nbf", "iat"):
        start = _time(claims, name)
        if start is not None and start > now + SKEW:
            raise Fault("token-early", f"the token is of the future: `{name}`")
    return until


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    found = claims[name]
    # Not `isinstance`: `true` would be a number.
    if type(found) not in (int, float) or not 0 <= found < _LATEST:
        raise Fault("token-time", f"`{name}` is not a time")
    return float(found)


def _name(claims: Mapping[str, Any]) -> str:
    """The user and the client, each in letters that mean themselves; a client's users are not another's."""
    subject = _word(claims.get("sub"), "sub")
    client = next((claims[name] for name in _CLIENT if claims.get(name) is not None), None)
    return subject if client is None else f"{subject}/{_word(client, 'client_id')}"


def _word(found: Any, name: str) -> str:
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST:
        raise Fault("token-subject", f"`{name}` is not a name of 1 to {_LONGEST} characters")
    return quote(found, safe="@:|+=,")


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """`scope` (RFC 9068), else `scp` as some issuers have it: words in one text, or a list of them."""
    found = claims.get("scope", claims.get("scp", ""))
    listed = found.split(" ") if isinstance(found, str) else found
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise Fault("token-scope", "the token's scopes are not words")
    if len(listed) > _MOST_SCOPES:
        raise Fault("token-scope", f"the token has more than {_MOST_SCOPES} scopes")
    return frozenset(filter(None, listed))


def _bound(claims: Mapping[str, Any]) -> str | None:
    """How the token is bound to its client; one that we cannot hold to it must not pass as a bearer's."""
    if "cnf" not in claims:
        return None
    found = claims["cnf"]
    if not isinstance(found, dict) or found.keys() != {"jkt"} or not isinstance(found["jkt"], str):
        raise Fault("token-bound", "the token is bound to its client in a way that is not known here")
    return str(found["jkt"])
