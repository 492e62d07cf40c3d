"""Two documents say where a login goes: the resource's (RFC 9728) and the issuer's (RFC 8414) (P)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.login.address import Address, Reach, checked
from sandbox.login.refused import LoginRefused, shown

_RESOURCE = "/.well-known/oauth-protected-resource"
_ISSUER = "/.well-known/oauth-authorization-server"
_OPENID = "/.well-known/openid-configuration"
_LONGEST_LIST = 256
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")
_SCOPES_CHARS = 4096
# The form before the header where both are known: the Python SDK's servers revoke nothing by the header.
METHODS = ("none", "client_secret_post", "client_secret_basic")
_UNSAID = ("none", "client_secret_basic")  # RFC 8414 2 has the header for an issuer that says nothing


@dataclass(frozen=True, slots=True)
class Resource:
    """What a server says of itself: its name, who gives out its tokens, and what may be asked for."""

    name: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authorization server, every address of it checked."""

    name: str
    authorization: Address
    token: Address
    registration: Address | None
    revocation: Address | None
    scopes: tuple[str, ...]
    methods: tuple[str, ...]
    """How a client may show who it is, of those that we know."""
    names_itself: bool
    """It promises to say who it is in its answer (RFC 9207)."""


# --- where they are ----------------------------------------------------------------------------------


def places_of_resource(server: Address) -> list[str]:
    """Where a server's own document may be: for its path, then for all of its origin."""
    places = [f"{server.origin}{_RESOURCE}{_trimmed(server.path)}", f"{server.origin}{_RESOURCE}"]
    return list(dict.fromkeys(places))


def places_of_issuer(issuer: Address) -> list[str]:
    """Where an issuer's document may be, in MCP's order (2025-11-25, Authorization)."""
    origin, path = issuer.origin, _trimmed(issuer.path)
    places = [f"{origin}{_ISSUER}{path}", f"{origin}{_OPENID}{path}", f"{origin}{path}{_OPENID}"]
    return list(dict.fromkeys(places))


def _trimmed(path: str) -> str:
    return path.rstrip("/")


# --- what they say -----------------------------------------------------------------------------------


def resource_of(document: Mapping[str, Any], server: Address) -> Resource:
    """What the document of the server's says, if it is about this server."""
    name = document.get("resource")
    found = checked(
        name, "the name that the server gives itself (`resource`)", Reach(loopback=server.loopback)
    )
    if not _covers(found, server):
        raise LoginRefused(
            "login-resource",
            f"the server's metadata is about `{shown(name)}`, which is not `{server}`",
            rule="a token is asked for the server that it is sent to (RFC 9728 3.3)",
        )
    issuers = _texts(document, "authorization_servers")
    return Resource(str(name), issuers, scopes(" ".join(_texts(document, "scopes_supported"))))


def _covers(resource: Address, server: Address) -> bool:
    """Whether it is the server's URL, or one above it on the same origin."""
    if resource.origin != server.origin or resource.query not in (None, server.query):
        return False
    upper, path = _trimmed(resource.path), _trimmed(server.path)
    return path == upper or path.startswith(f"{upper}/")


def issuer_of(document: Mapping[str, Any], expected: str, reach: Reach) -> Issuer:
    """What an issuer's document says, if it is that issuer's and a login there is safe."""
    named = document.get("issuer")
    if not isinstance(named, str) or not same_issuer(named, expected):
        raise LoginRefused(
            "login-issuer",
            f"the metadata of `{shown(expected)}` says that it is `{shown(named)}`",
            rule="an issuer vouches for itself alone (RFC 8414 3.3)",
        )
    _check_abilities(document, named)

    def address(key: str) -> Address | None:
        value = document.get(key)
        return None if value is None else checked(value, f"the `{key}` of `{shown(named)}`", reach)

    authorization, token = address("authorization_endpoint"), address("token_endpoint")
    if authorization is None or token is None:
        raise _lacking(named, "no `authorization_endpoint` or no `token_endpoint`", "both are needed")
    methods = _texts(document, "token_endpoint_auth_methods_supported") or _UNSAID
    return Issuer(
        named,
        authorization,
        token,
        address("registration_endpoint"),
        address("revocation_endpoint"),
        _texts(document, "scopes_supported"),
        tuple(method for method in METHODS if method in methods),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def _check_abilities(document: Mapping[str, Any], named: str) -> None:
    if "S256" not in _texts(document, "code_challenge_methods_supported"):
        why = "a code that somebody else sees must be of no use to them (OAuth 2.1, PKCE)"
        raise _lacking(named, "no `S256` in `code_challenge_methods_supported`", why)
    if "code" not in (_texts(document, "response_types_supported") or ("code",)):
        raise _lacking(
            named, "no `code` in `response_types_supported`", "there is no other kind of login here"
        )


def same_issuer(one: str, other: str) -> bool:
    """Whether two names are the same, letter by letter; no path and the path `/` are one (RFC 3986 6.2.3)."""
    return _rooted(one) == _rooted(other)


def _rooted(name: str) -> str:
    bare = name.removesuffix("/")
    return bare if bare.count("/") == 2 else name


def scopes(text: object) -> tuple[str, ...]:
    """The words of a scope; a text that is none stands for no wish at all."""
    if not isinstance(text, str) or len(text) > _SCOPES_CHARS:
        return ()
    words = tuple(dict.fromkeys(text.split(" ")))
    return tuple(word for word in words if _SCOPE.fullmatch(word))


def _texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = document.get(key)
    if not isinstance(found, list) or len(found) > _LONGEST_LIST:
        return ()
    return tuple(one for one in found if isinstance(one, str))


def _lacking(named: str, what: str, rule: str) -> LoginRefused:
    return LoginRefused("login-metadata", f"the metadata of `{shown(named)}` has {what}", rule=rule)
