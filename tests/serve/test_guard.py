"""Verdicts on heads: a table, and deny where nothing fits."""

from __future__ import annotations

import pytest

from sandbox.serve import guard
from sandbox.serve.guard import Rules
from sandbox.serve.reading import Asked
from sandbox.serve.words import Head, Refused

RULES = Rules(frozenset({"", "github"}), "http", frozenset({"localhost:1"}), frozenset({"https://page"}), 100)
BOTH = "application/json, text/event-stream"
JSON = {"content-type": "application/json", "accept": BOTH}


def asked(method: str = "POST", target: str = "/mcp", size: int | None = 2, **headers: str) -> Asked:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(method, target, "1.1", {"host": "localhost:1", **named}, size)


def status(verdict: object) -> int:
    return verdict.status if isinstance(verdict, Refused) else 0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, 0, id="no page"),
        pytest.param({"host": "LocalHost:1"}, 0, id="a host in other letters"),
        pytest.param({"host": "evil.example:1"}, 421, id="another host"),
        pytest.param({"host": "localhost"}, 421, id="a host without the port"),
        pytest.param({"host": "localhost:1.evil.example"}, 421, id="a host that begins like ours"),
        pytest.param({"host": ""}, 421, id="an empty host"),
        pytest.param({"origin": "http://localhost:1"}, 0, id="our own origin"),
        pytest.param({"origin": "https://localhost:1"}, 403, id="our own origin by another scheme"),
        pytest.param({"origin": "http://localhost:2"}, 403, id="another port of this machine"),
        pytest.param({"origin": "https://page"}, 0, id="a page that was named"),
        pytest.param({"origin": "https://page.evil"}, 403, id="a page that begins like it"),
        pytest.param({"origin": "null"}, 403, id="a page without an origin"),
        pytest.param({"origin": ""}, 403, id="an empty origin"),
        pytest.param({"sec_fetch_site": "cross-site"}, 403, id="a page that hides its origin"),
        pytest.param({"sec_fetch_site": "none"}, 0, id="typed by a person"),
        pytest.param({"host": "evil.example:1", "origin": "http://evil.example:1"}, 421, id="rebinding"),
    ],
)
def test_who_is_meant_and_which_page_asks(headers: dict[str, str], expected: int) -> None:
    assert status(guard.meant(asked(**headers), RULES)) == expected


@pytest.mark.parametrize("target", ["*", "http://localhost:1/mcp", "mcp"])
def test_a_target_is_a_path(target: str) -> None:
    assert status(guard.meant(asked(target=target), RULES)) == 400


@pytest.mark.parametrize(
    ("target", "route"),
    [
        ("/mcp", ""), ("/github/mcp", "github"), ("/", None), ("/mcp/", None), ("/mcp?x", None),
        ("/MCP", None), ("/github", None), ("/github/mcp/", None), ("//mcp", None), ("/other/mcp", None),
        ("/github/../mcp", None), ("/%6dcp", None), ("/./mcp", None), ("/github/github/mcp", None),
        ("/mcp/mcp", None), ("github/mcp", None),
    ],
)  # fmt: skip
def test_an_endpoint_is_spelt_in_one_way(target: str, route: str | None) -> None:
    assert guard.route_of(target, RULES.routes) == route
    assert status(guard.head_of(asked(target=target), RULES)) == (404 if route is None else 0)


def test_without_a_route_of_its_own_there_is_no_bare_endpoint() -> None:
    assert guard.route_of("/mcp", frozenset({"github"})) is None


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post"])
def test_other_methods(method: str) -> None:
    refused = guard.head_of(asked(method), RULES)
    assert isinstance(refused, Refused)
    assert refused.status == 405
    assert dict(refused.headers)["Allow"] == "POST, GET, DELETE"


def test_what_is_known_of_a_request() -> None:
    head = guard.head_of(asked(target="/github/mcp"), RULES)
    assert isinstance(head, Head)
    assert (head.method, head.path, head.route, head.origin) == (
        "POST",
        "/github/mcp",
        "github",
        "http://localhost:1",
    )


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({}, 0, id="as MCP says"),
        pytest.param({"content_type": "application/json; charset=utf-8"}, 0, id="with a charset"),
        pytest.param({"content_type": 'Application/JSON;charset="UTF-8"'}, 0, id="in other letters"),
        pytest.param({"content_type": "application/json; charset=latin-1"}, 415, id="another charset"),
        pytest.param({"content_type": "text/plain"}, 415, id="what a form can send"),
        pytest.param({"content_type": "application/jsonp"}, 415, id="begins alike"),
        pytest.param({"content_type": ""}, 415, id="no type"),
        pytest.param({"content_encoding": "gzip"}, 415, id="packed"),
        pytest.param({"accept": "*/*"}, 0, id="anything"),
        pytest.param({"accept": "application/*, text/*"}, 0, id="by half"),
        pytest.param({"accept": "text/event-stream;q=0.5,application/json;q=0.1"}, 0, id="by weight"),
        pytest.param({"accept": "application/json"}, 406, id="JSON alone"),
        pytest.param({"accept": "text/event-stream, application/json;q=0"}, 406, id="JSON not"),
        pytest.param({"accept": "text/html"}, 406, id="a page"),
        pytest.param({"mcp_protocol_version": "2025-11-25"}, 0, id="a revision"),
        pytest.param({"mcp_protocol_version": "a b"}, 400, id="no revision"),
        pytest.param({"mcp_protocol_version": "v999.0.0"}, 0, id="a revision for the server to refuse"),
        pytest.param({"mcp_protocol_version": "2025-11-25, 2025-06-18"}, 400, id="two revisions"),
        pytest.param({"mcp_session_id": "a b"}, 400, id="a session's id with a space"),
        pytest.param({"mcp_session_id": "a" * 5000}, 400, id="a session's id without an end"),
        pytest.param({"mcp_name": "caf\xe9"}, 400, id="an MCP header beyond ASCII"),
        pytest.param({"last_event_id": "1\t"}, 400, id="an event's id with a tab"),
    ],
)
def test_the_form_of_a_post(headers: dict[str, str], expected: int) -> None:
    given = {"content_type": "application/json", "accept": BOTH, **headers}
    assert status(guard.form(asked(**given), RULES)) == expected


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param(asked(size=101, content_type="application/json", accept=BOTH), 413, id="too long"),
        pytest.param(asked(size=100, content_type="application/json", accept=BOTH), 0, id="long"),
        pytest.param(asked("GET", size=0, accept="text/event-stream"), 0, id="GET"),
        pytest.param(asked("GET", size=0, accept="application/json"), 406, id="GET of JSON"),
        pytest.param(asked("GET", size=3, accept="text/event-stream"), 400, id="GET with a body"),
        pytest.param(asked("GET", size=None, accept="text/event-stream"), 400, id="GET in chunks"),
        pytest.param(asked("DELETE", size=0), 0, id="DELETE"),
        pytest.param(asked("DELETE", size=1), 400, id="DELETE with a body"),
    ],
)
def test_the_form_of_others(request_: Asked, expected: int) -> None:
    assert status(guard.form(request_, RULES)) == expected


def test_no_credential_is_handed_on() -> None:
    given = asked(authorization="Bearer t", cookie="c", dpop="d", mcp_method="m", te="trailers").headers
    assert guard.handed_on(given) == {"host": "localhost:1", "mcp-method": "m"}


@pytest.mark.parametrize(
    ("origin", "told"), [("https://page", True), ("https://evil", False), ("", False), ("null", False)]
)
def test_only_a_named_page_is_told_that_it_may_ask(origin: str, told: bool) -> None:
    given = asked("OPTIONS", size=0, origin=origin, access_control_request_method="POST")
    assert (guard.preflight(given, RULES) is not None) is told
    assert bool(guard.shared(given, RULES)) is told


def test_over_a_unix_socket_no_name_is_asked_for_but_pages_are() -> None:
    rules = Rules(frozenset({""}), "http", None, frozenset(), 100)
    assert guard.meant(asked(host="anything"), rules) is None
    assert status(guard.meant(asked(host="anything", origin="http://anything"), rules)) == 403
