"""From a server's URL to the issuer of its tokens: asks one, then the other, and checks what each says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.login.address import Address, checked
from sandbox.login.challenge import bearer
from sandbox.login.fetch import Answer, Asking, document
from sandbox.login.metadata import (
    Issuer,
    Resource,
    issuer_of,
    places_of_issuer,
    places_of_resource,
    resource_of,
    scopes,
)
from sandbox.login.refused import LoginRefused, Unreachable, shown

# A question that opens no session, whatever the server's era: most refuse it before they read it.
_QUESTION = b'{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{}}'


@dataclass(frozen=True, slots=True)
class Found:
    """Where a login goes, what the token is to be for, and what may be asked for."""

    resource: str
    issuer: Issuer
    scopes: tuple[str, ...]


def discover(asking: Asking, server: Address, wanted_issuer: str = "") -> Found:
    """All that a login has to know, every address of it checked."""
    said = _challenged(asking, server)
    resource = _resource(asking, server, said)
    name = _chosen(resource, server, wanted_issuer)
    issuer = _issuer(asking, name, itself=not resource.issuers)
    # What the server wants of this very request comes before all that there is (MCP, scope selection).
    return Found(resource.name, issuer, scopes(said.get("scope")) or resource.scopes)


def _challenged(asking: Asking, server: Address) -> Mapping[str, str]:
    answer = asking.post(server, _QUESTION, "application/json", most=0)
    if answer.status >= 500:
        raise Unreachable("login-unreachable", f"`{server}` gave no usable answer: status {answer.status}")
    return bearer(answer.all("www-authenticate")) if answer.status == 401 else {}


def _resource(asking: Asking, server: Address, said: Mapping[str, str]) -> Resource:
    named = said.get("resource_metadata")
    if named is not None:
        place = checked(named, "the address of the server's metadata", asking.reach)
        if place.origin != server.origin:
            raise LoginRefused(
                "login-resource",
                f"the server has its metadata elsewhere: `{shown(place)}`",
                rule="a server speaks for itself on its own origin (RFC 9728 3.1)",
            )
        found = _got(asking, [place])
    else:
        found = _got(asking, [checked(one, "", asking.reach) for one in places_of_resource(server)])
    if found is None:
        # Before 2025-06-18 a server was its own issuer, and had no document of its own.
        return Resource(str(server), (), ())
    return resource_of(found, server)


def _chosen(resource: Resource, server: Address, wanted: str) -> str:
    issuers = resource.issuers or (server.origin,)
    if wanted and wanted not in issuers:
        listed = ", ".join(shown(one) for one in issuers[:8])
        raise LoginRefused(
            "login-issuer", f"the server names other issuers: {listed}", hint="leave `--issuer` out"
        )
    return wanted or issuers[0]


def _issuer(asking: Asking, name: str, *, itself: bool) -> Issuer:
    address = checked(name, "the issuer that the server names", asking.reach)
    if address.query is not None:
        raise LoginRefused("login-issuer", f"an issuer has no query: `{shown(name)}`", rule="RFC 8414 2")
    found = _got(asking, [checked(one, "", asking.reach) for one in places_of_issuer(address)])
    if found is None:
        raise LoginRefused(
            "login-metadata",
            f"`{address}` has no metadata, so this server has no login that can be checked",
            rule="RFC 8414 or OpenID Connect Discovery",
            hint="if it takes a key instead, give that as a header: see docs/remote.md",
        )
    said = found.get("issuer")
    # A server that is its own issuer may have put that below its root; another's name it may not use.
    if (
        itself
        and said is not None
        and checked(said, "the issuer's name", asking.reach).origin == address.origin
    ):
        name = str(said)
    return issuer_of(found, name, asking.reach)


def _got(asking: Asking, places: list[Address]) -> dict[str, Any] | None:
    """The first document among some places; one that is none is taken for a page about its absence."""
    for place in places:
        answer = asking.get(place)
        _refuse_trouble(place, answer)
        if answer.status == 200 and (found := document(answer)) is not None:
            return found
    return None


def _refuse_trouble(place: Address, answer: Answer) -> None:
    if 300 <= answer.status < 400:
        raise LoginRefused(
            "login-redirected",
            f"`{place}` sends us elsewhere: status {answer.status}",
            rule="no redirect is followed during a login",
        )
    if answer.status >= 500 or answer.status == 429:
        raise Unreachable("login-unreachable", f"`{place}` gave no usable answer: status {answer.status}")
