"""What a request's head must say before anything else of it is looked at; pure, deny is the fall-through.

The order is who is meant (Host), which page asks (Origin), what for (path, method): all of it before a token
is compared. The form of an MCP message is judged only of somebody who is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from sandbox.records import dataclass
from sandbox.serve.reading import Asked
from sandbox.serve.words import Head, Headers, Refused
from sandbox.wire.mcp_headers import is_session_id

METHODS = ("POST", "GET", "DELETE")
_ALLOW: Headers = (("Allow", ", ".join(METHODS)),)
_VERSION = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}")
_WORD = re.compile(r"[\x20-\x7e]{0,2048}")
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie", "dpop"})
_OF_THE_HOP = frozenset({"connection", "keep-alive", "te", "transfer-encoding", "upgrade", "expect"})
_FOR_BROWSERS = ", ".join(METHODS)
_SENT_BY_PAGES = (
    "Authorization, Content-Type, Accept, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, "
    "Mcp-Name"
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What this front answers to: `hosts` as Host spells them (None: any, over a unix socket)."""

    routes: frozenset[str]
    scheme: str
    hosts: frozenset[str] | None
    origins: frozenset[str]
    body_max: int


def route_of(path: str, routes: frozenset[str]) -> str | None:
    """The route whose endpoint is exactly this path."""
    if path == "/mcp":
        return "" if "" in routes else None
    name = path[1:].removesuffix("/mcp")
    return name if name and name in routes and path == f"/{name}/mcp" else None


def meant(asked: Asked, rules: Rules) -> Refused | None:
    """Whether we are the host that is asked, and the page that asks may."""
    host = asked.headers["host"].lower()
    if not asked.target.startswith("/"):
        return Refused(400, "bad-target", "a target that is no path")
    if rules.hosts is not None and host not in rules.hosts:
        return Refused(421, "wrong-host", "this server does not answer to the name in Host")
    return _page(asked.headers, rules, f"{rules.scheme}://{host}")


def _page(headers: Mapping[str, str], rules: Rules, own: str) -> Refused | None:
    """A browser says where its page is from; no page has a place here but those that were named."""
    origin = headers.get("origin")
    if origin is None:
        site = headers.get("sec-fetch-site", "none")
        if site in ("none", "same-origin"):
            return None
        return Refused(403, "wrong-origin", "a page of another site may not ask")
    if origin.lower() in rules.origins or (rules.hosts is not None and origin.lower() == own):
        return None
    return Refused(
        403, "wrong-origin", "the page in Origin may not ask; `--allow-origin` names those that may"
    )


def head_of(asked: Asked, rules: Rules) -> Head | Refused:
    """What is asked for, of an endpoint that exists by a method that it has."""
    route = route_of(asked.target, rules.routes)
    if route is None:
        return Refused(404, "no-such-path", "nothing is served at this path")
    if asked.method not in METHODS:
        return Refused(405, "wrong-method", "an MCP endpoint takes POST, GET and DELETE", _ALLOW)
    origin = f"{rules.scheme}://{asked.headers['host'].lower()}" if rules.hosts is not None else ""
    return Head(asked.method, asked.target, route, asked.headers, origin)


def form(asked: Asked, rules: Rules) -> Refused | None:
    """Whether a known client's request has the form of MCP's streamable HTTP (2025-11-25, Transports)."""
    if asked.method == "POST":
        wrong = _content(asked, rules) or _accepts(asked, "application/json", "text/event-stream")
    else:
        wrong = _no_body(asked) or (_accepts(asked, "text/event-stream") if asked.method == "GET" else None)
    return wrong or _mcp(asked.headers)


def _content(asked: Asked, rules: Rules) -> Refused | None:
    kind, _, parameters = asked.headers.get("content-type", "").lower().partition(";")
    if kind.strip() != "application/json" or parameters.strip(' \t"') not in (
        "",
        "charset=utf-8",
        'charset="utf-8',
    ):
        return Refused(415, "wrong-content-type", "the body of a POST is `application/json`")
    if asked.headers.get("content-encoding", "identity").lower() != "identity":
        return Refused(415, "encoded", "a body is taken only as it is, without Content-Encoding")
    if asked.size is not None and asked.size > rules.body_max:
        return Refused(413, "body-too-large", f"a body of more than {rules.body_max} bytes")
    return None


def _no_body(asked: Asked) -> Refused | None:
    if asked.size == 0:
        return None
    return Refused(400, "body", f"a {asked.method} with a body")


def _accepts(asked: Asked, *kinds: str) -> Refused | None:
    taken = {kind for kind, weight in _ranges(asked.headers.get("accept", "*/*")) if weight}
    if all({kind, kind.partition("/")[0] + "/*", "*/*"} & taken for kind in kinds):
        return None
    wanted = " and ".join(f"`{kind}`" for kind in kinds)
    return Refused(406, "wrong-accept", f"a client of MCP says in Accept that it takes {wanted}")


@lru_cache(maxsize=16)
def _ranges(accept: str) -> list[tuple[str, bool]]:
    """Each media range, and whether its weight is above 0."""
    found = []
    for one in accept.lower().split(","):
        kind, *parameters = [part.strip() for part in one.split(";")]
        weights = [part[2:] for part in parameters if part.startswith("q=")]
        found.append((kind, not weights or weights[-1].strip("0.") != ""))
    return found


def _mcp(headers: Mapping[str, str]) -> Refused | None:
    """The form of MCP's own headers; whether they agree with the body is said where the body is read."""
    version, session = headers.get("mcp-protocol-version"), headers.get("mcp-session-id")
    # Which revisions there are is the server's to say, with the words that the protocol has for it.
    if version is not None and not _VERSION.fullmatch(version):
        return Refused(400, "bad-version", "`MCP-Protocol-Version` is no revision of MCP")
    if session is not None and not is_session_id(session):
        return Refused(400, "bad-session-id", "`Mcp-Session-Id` is not visible ASCII of bounded length")
    odd = next((one for one in headers if _is_ours(one) and not _WORD.fullmatch(headers[one])), None)
    if odd is not None:
        return Refused(400, "bad-mcp-header", f"`{odd}` has other characters than printable ASCII")
    return None


def _is_ours(name: str) -> bool:
    return name.startswith("mcp-") or name == "last-event-id"


def handed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers without what proves who asks, which nobody behind the front has use for."""
    return {name: value for name, value in headers.items() if name not in _CREDENTIALS | _OF_THE_HOP}


# --- pages that were named ------------------------------------------------------------------------------


def preflight(asked: Asked, rules: Rules) -> Headers | None:
    """What a browser is told that asks whether its page may ask; None where it does not ask that."""
    if asked.method != "OPTIONS" or "access-control-request-method" not in asked.headers:
        return None
    if asked.headers.get("origin", "").lower() not in rules.origins:
        return None
    return (
        ("Access-Control-Allow-Methods", _FOR_BROWSERS),
        ("Access-Control-Allow-Headers", _SENT_BY_PAGES),
        ("Access-Control-Max-Age", "600"),
    )


def shared(asked: Asked, rules: Rules) -> Headers:
    """The headers that let a named page read the answer; none for any other."""
    origin = asked.headers.get("origin", "")
    if not origin or origin.lower() not in rules.origins:
        return ()
    return (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate"),
        ("Vary", "Origin"),
    )
