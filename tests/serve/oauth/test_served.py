"""The front with an issuer: how clients find it, whose session is whose, and that no token goes further."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sandbox.audit.sink import Sink
from sandbox.serve import http
from sandbox.serve.address import parse
from sandbox.serve.front import Front, Options
from sandbox.serve.oauth.claims import SKEW
from sandbox.serve.oauth.server import load
from sandbox.serve.service import Service
from tests.serve.asking import FAKE
from tests.serve.oauth.issuer import RESOURCE, Documents, algorithm, compact, fresh, private, settings_file
from tests.serve.serving import Answer, Served, Sessions, running

ROUTES = {"github": ("--profile=github",)}
OPEN = {
    "jsonrpc": "2.0", "id": 0, "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"},
    },
}  # fmt: skip


@contextmanager
def fronted(
    where: Path, site: Documents, ca: str, program: tuple[str, ...] = FAKE, resource: str = RESOURCE
) -> Iterator[Served]:
    """A front in whose children's place the fake server of the sessions' tests runs."""
    address, file = parse("127.0.0.1:0"), where / "oauth.toml"
    options = Options(routes=ROUTES, address=address, oauth=lambda: load(str(file), ROUTES, {}))
    log, service = where / "front.jsonl", Service(ROUTES, program=program)
    with http.bound(address) as sock, Sink("front", "serve", environ={}, path=str(log)) as sink:
        front = Front(options, sock, None, sink, os.environ)
        settings_file(file, site.url, f'ca = "{ca}"', resource.format(port=sock.getsockname()[1]))
        with running(front, service) as (loop, ended):  # type: ignore[arg-type]
            yield Served(address, sock.getsockname()[1], Sessions(), log, front, loop, ended)


def token(site: Documents, **changed: Any) -> str:
    head = {"alg": "ES256", "kid": "ES256", "typ": "at+jwt"}
    key = private("P-256")
    return compact(head, fresh(iss=site.url, **changed), lambda signed: algorithm("ES256").sign(signed, key))


def ask(front: Served, given: str | None, message: Any, session: str = "", more: str = "") -> Answer:
    headers = f"Mcp-Session-Id: {session}\r\n" if session else ""
    body = json.dumps(message).encode()
    return front.send(front.post(body, headers + more, given, "/github/mcp"))


def opened(front: Served, given: str) -> str:
    found = ask(front, given, OPEN)
    assert found.status == 200, found
    return found.headers["mcp-session-id"]


def heard(front: Served, given: str, session: str) -> dict[str, Any]:
    found = ask(front, given, {"jsonrpc": "2.0", "id": 1, "method": "heard", "params": {}}, session)
    made: dict[str, Any] = json.loads(found.body)["result"]
    return made


def test_a_client_finds_the_issuer(tmp_path: Path, site: Documents, ca: str) -> None:
    with fronted(tmp_path, site, ca) as front:
        unknown = ask(front, None, OPEN)
        told = re.search(r'resource_metadata="([^"]+)"', unknown.headers["www-authenticate"])
        assert unknown.status == 401
        assert told is not None
        path = told[1].removeprefix(RESOURCE)
        document = front.send(front.head("GET", token=None, path=path))
        found = json.loads(document.body)
        assert (document.status, document.headers["content-type"]) == (200, "application/json")
        assert found["resource"] == f"{RESOURCE}/github/mcp"
        assert found["authorization_servers"] == [site.url]
        assert opened(front, token(site, aud=found["resource"], scope=found["scopes_supported"][0]))


@pytest.mark.parametrize(
    ("changed", "status", "rule"),
    [
        pytest.param({}, 200, None, id="control"),
        pytest.param({"groups": "g" * 5000}, 200, None, id="control: as long as tokens get"),
        pytest.param({"groups": "g" * 6000}, 401, "token-size", id="too long"),
        pytest.param({"exp": 1}, 401, "token-expired", id="expired"),
        pytest.param({"aud": "https://api.example"}, 401, "token-audience", id="for another"),
        pytest.param({"scope": "openid"}, 403, "insufficient-scope", id="too narrow"),
    ],
)
def test_a_refusal_is_logged_without_the_token(
    tmp_path: Path, site: Documents, ca: str, changed: dict[str, Any], status: int, rule: str | None
) -> None:
    given = token(site, **changed)
    with fronted(tmp_path, site, ca) as front:
        assert ask(front, given, OPEN).status == status
        assert front.refusals() == ([rule] if rule else [])
        log = front.log.read_text()
    assert not [part for part in given.split(".") if part in log]


def test_a_token_in_the_url_is_none(tmp_path: Path, site: Documents, ca: str) -> None:
    with fronted(tmp_path, site, ca) as front:
        given = token(site)
        body = json.dumps(OPEN).encode()
        asked = front.post(body, token=None, path=f"/github/mcp?access_token={given}")
        assert front.send(asked).status in (401, 404)
        assert given not in front.log.read_text()
        assert front.send(front.post(body, token=given, path="/github/mcp")).status == 200


def test_no_token_reaches_a_child(tmp_path: Path, site: Documents, ca: str) -> None:
    """Not by its environment, its arguments or what it reads; what the client says does reach it."""
    given = token(site)
    with fronted(tmp_path, site, ca) as front:
        session = opened(front, given)
        call = {"jsonrpc": "2.0", "id": 5, "method": "echo", "params": {"canary": "parrot"}}
        more = f"DPoP: {given}\r\nCookie: a={given}\r\nProxy-Authorization: Bearer {given}\r\n"
        assert ask(front, given, call, session, more).status == 200
        found = heard(front, given, session)
        process = Path(f"/proc/{found['pid']}")
        seen = process.joinpath("environ").read_bytes() + process.joinpath("cmdline").read_bytes()
        seen += json.dumps(found["heard"]).encode()
    assert b"parrot" in seen
    assert b"--only-tools=get_*" in seen
    assert not [part for part in given.split(".") if part.encode() in seen]


@pytest.mark.parametrize(
    ("other", "status"),
    [
        pytest.param({}, 200, id="control: a fresh token of the same"),
        pytest.param({"sub": "bob"}, 404, id="another user's"),
        pytest.param({"client_id": "other"}, 404, id="another client's"),
        pytest.param({"scope": "mcp:all"}, 404, id="a wider one"),
        pytest.param({"scope": "mcp:write"}, 404, id="another scope"),
        pytest.param({"scope": "mcp:read openid"}, 200, id="the same tools"),
    ],
)
def test_a_session_is_its_principals(
    tmp_path: Path, site: Documents, ca: str, other: dict[str, Any], status: int
) -> None:
    with fronted(tmp_path, site, ca) as front:
        session = opened(front, token(site))
        call = {"jsonrpc": "2.0", "id": 1, "method": "echo", "params": {}}
        assert ask(front, token(site, jti="2", **other), call, session).status == status


def test_stateless_requests_of_two_scopes_have_two_sandboxes(
    tmp_path: Path, site: Documents, ca: str
) -> None:
    more = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: heard\r\n"
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    message = {"jsonrpc": "2.0", "id": 1, "method": "heard", "params": {"_meta": meta}}
    with fronted(tmp_path, site, ca) as front:
        found = [
            json.loads(ask(front, token(site, scope=scope), message, more=more).body)["result"]
            for scope in ("mcp:read", "mcp:all", "mcp:read")
        ]
    assert found[0]["pid"] == found[2]["pid"] != found[1]["pid"]
    assert found[0]["argv"] == ["run", "--only-tools=get_*", "--only-tools=list_*", "--profile=github"]
    assert found[1]["argv"] == ["run", "--profile=github"]


def test_without_the_issuer_nothing_is_served(tmp_path: Path, site: Documents, ca: str) -> None:
    site.found.clear()
    with pytest.raises(Exception, match="are not to be had"), fronted(tmp_path, site, ca):
        pass


def listening(front: Served, given: str, session: str) -> socket.socket:
    """The open stream of a GET."""
    one = front.connect()
    more = f"Mcp-Session-Id: {session}\r\nAccept: text/event-stream\r\n"
    one.sendall(front.head("GET", more, given, "/github/mcp"))
    return one


def at_hand(one: socket.socket) -> bytes:
    """What was said on a stream that is still open."""
    found = b""
    one.setblocking(False)
    with suppress(BlockingIOError):
        while more := one.recv(1 << 16):
            found += more
        raise AssertionError("the stream has ended")
    return found


def test_who_listens_is_sent_away_when_the_token_ends(tmp_path: Path, site: Documents, ca: str) -> None:
    """In order, so that the client comes back with its next token; until then it hears."""
    ends = time.time() + 1
    with fronted(tmp_path, site, ca) as front:
        short, long = token(site, exp=ends - SKEW), token(site, sub="bob")
        streams = [listening(front, given, opened(front, given)) for given in (short, long)]
        heard = b""
        while more := streams[0].recv(1 << 16):
            heard += more
            if heard.endswith(b"0\r\n\r\n"):
                break
        assert heard.startswith(b"HTTP/1.1 200")
        assert heard.endswith(b"0\r\n\r\n")
        assert 0 <= time.time() - ends < 5
        assert not at_hand(streams[1]).endswith(b"0\r\n\r\n")
        for one in streams:
            one.close()
