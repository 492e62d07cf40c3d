"""What clients are told and what issuers tell: where metadata lies, what it says (RFC 9728, RFC 8414) (P)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandbox.serve.oauth import place
from sandbox.serve.oauth.settings import Settings
from sandbox.wire.strict import Refusal, read_object

OURS: Final = "/.well-known/oauth-protected-resource"
_ISSUERS: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"


def documents(settings: Settings, routes: Iterable[str]) -> dict[str, bytes]:
    """By path the document of each route; a reverse proxy may have taken the front's own prefix away."""
    found: dict[str, bytes] = {}
    named = sorted(routes)
    prefix = place.resource(settings.resource).path
    for route in named:
        own = f"/{route}/mcp" if route else "/mcp"
        document = json.dumps(_document(settings, route)).encode()
        found |= {f"{OURS}{prefix}{own}": document, f"{OURS}{own}": document}
    if len(named) == 1:
        # Clients ask there where the path has none; with several routes it would name the wrong one.
        found[OURS] = found[f"{OURS}/{named[0]}/mcp" if named[0] else f"{OURS}/mcp"]
    return found


def _document(settings: Settings, route: str) -> dict[str, Any]:
    return {
        "resource": settings.url(route),
        "authorization_servers": [settings.issuer],
        "scopes_supported": sorted(settings.of(route)),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(settings.algorithms),
        "dpop_bound_access_tokens_required": settings.dpop == "required",
    }


def document_url(settings: Settings, route: str) -> str:
    """Where a client finds the route's document."""
    base = place.resource(settings.resource)
    own = f"/{route}/mcp" if route else "/mcp"
    return f"{base.base}{OURS}{base.path}{own}"


def challenge(
    settings: Settings, route: str, error: str = "", why: str = "", *, proven: bool = False
) -> tuple[tuple[str, str], ...]:
    """What an unknown or a too narrow client is to do (RFC 6750, section 3; RFC 9728, 5.1; RFC 9449, 7.1).

    `why` is our own words: they stand between quotation marks. `proven` clients speak DPoP.
    """
    said = [f'resource_metadata="{document_url(settings, route)}"']
    said.append(f'scope="{" ".join(sorted(settings.of(route)))}"')
    if error:
        said += [f'error="{error}"', f'error_description="{why.replace("`", "")}"']
    # Bearer first and mostly alone: not every client looks for its own among several.
    bearer = ("WWW-Authenticate", f"Bearer {', '.join(said)}")
    dpop = ("WWW-Authenticate", f'DPoP algs="{" ".join(settings.algorithms)}", {", ".join(said)}')
    if settings.dpop == "required":
        return (dpop,)
    return (bearer, dpop) if proven else (bearer,)


def candidates(issuer: place.Place) -> list[place.Place]:
    """Where the issuer's metadata may be, in the order in which it is looked for (RFC 8414, 3.1 and 5)."""
    path = issuer.path.rstrip("/")
    paths = [f"{_ISSUERS}{path}", f"{_OPENID}{path}", f"{path}{_OPENID}"]
    return [place.secure(f"{issuer.base}{one}") for one in dict.fromkeys(paths)]


def keys_in(document: bytes, issuer: str) -> place.Place:
    """Where the issuer's keys are; ValueError for a document that is another's or names no such place."""
    try:
        found: Mapping[str, Any] = read_object(document)
    except Refusal as why:
        raise ValueError(f"is not strict JSON: {why.reason}") from None
    if found.get("issuer") != issuer:
        raise ValueError("is of another issuer")
    where = found.get("jwks_uri")
    if not isinstance(where, str):
        raise ValueError("names no `jwks_uri`")
    try:
        return place.secure(where)
    except ValueError as why:
        raise ValueError(f"names a `jwks_uri` that {why}") from None
