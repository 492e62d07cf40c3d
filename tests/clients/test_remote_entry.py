"""Entries that are URLs: what a client starts in their place, and what comes back."""

from __future__ import annotations

import copy
import shlex
from typing import Any, NamedTuple

import pytest

from sandbox.choice import choose
from sandbox.cli import options
from sandbox.clients import shapes
from sandbox.clients.remote_entry import Reached, is_remote, unwrapped, wrapped
from sandbox.clients.table import ROWS
from sandbox.clients.words import Entry
from sandbox.clients.wrapping import Fit, Left
from tests.cli.test_options import parsed

PROGRAM = "/opt/mcp-sandbox"
URL = "https://a.example/mcp"
TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"  # noqa: S105 - nobody's
KEY = "ZDAxNzQ5Y2QtNzE2My00Nm"
SHAPE_OF = {row.id: row for row in ROWS}


def entry_of(client: str, members: dict[str, Any]) -> Entry:
    """The entry `a` as that client reads it."""
    row = SHAPE_OF[client]
    data: Any = {"a": members}
    for name in reversed(row.keys[0]):
        data = {name: data}
    (entry,) = shapes.entries(row, data)
    return entry


class Case(NamedTuple):
    client: str
    members: dict[str, Any]
    args: str
    """The arguments between `run --name a` and `-- URL`."""
    env: dict[str, str] | None = None
    url: str = URL
    more: dict[str, Any] | None = None


HEADER = "--secret MCP_HEADER_AUTHORIZATION --header-from authorization=MCP_HEADER_AUTHORIZATION"
MAYBE = HEADER.replace("AUTHORIZATION --", "AUTHORIZATION? --")
CASES = [
    pytest.param(Case("cursor", {"url": URL}, ""), id="a URL alone"),
    pytest.param(Case("windsurf", {"serverUrl": URL}, ""), id="by another name"),
    pytest.param(Case("claude-code", {"type": "http", "url": URL}, "", more={"type": "stdio"}), id="a type"),
    pytest.param(Case("gemini", {"httpUrl": URL, "trust": False}, "", more={"trust": False}), id="gemini"),
    pytest.param(
        Case("cursor", {"url": URL, "headers": {"Authorization": f"Bearer {TOKEN}"}}, HEADER,
             {"MCP_HEADER_AUTHORIZATION": f"Bearer {TOKEN}"}),
        id="a credential",
    ),
    pytest.param(
        Case("cursor", {"url": URL, "headers": {"Authorization": "Bearer ${env:T}"}}, MAYBE,
             {"MCP_HEADER_AUTHORIZATION": "Bearer ${env:T}"}),
        id="what the client fills in",
    ),
    pytest.param(
        Case("vscode", {"type": "sse", "url": f"{URL}?apiKey=${{input:key}}"}, "--secret MCP_URL_1?",
             {"MCP_URL_1": "${input:key}"}, f"{URL}?apiKey={{MCP_URL_1}}", {"type": "stdio"}),
        id="in the URL",
    ),
    pytest.param(
        Case("cursor", {"url": f"{URL}?api_key=q7%2Fw9Zx81Lm&v=2"}, "--secret MCP_URL_1",
             {"MCP_URL_1": "q7/w9Zx81Lm"}, f"{URL}?api_key={{MCP_URL_1}}&v=2"),
        id="a key in the URL",
    ),
    pytest.param(
        Case("cursor", {"url": f"https://a.example/s/{KEY}/mcp"}, "--secret MCP_URL_1", {"MCP_URL_1": KEY},
             "https://a.example/s/{MCP_URL_1}/mcp"),
        id="a key in the path",
    ),
    pytest.param(
        Case("cursor", {"url": URL, "headers": {"X-Team": "blue"}},
             "--allow-env MCP_HEADER_X_TEAM --header-from x-team=MCP_HEADER_X_TEAM",
             {"MCP_HEADER_X_TEAM": "blue"}),
        id="no secret",
    ),
    pytest.param(
        Case("cursor", {"url": URL, "headers": {"X-MCP-Toolsets": "repos"}},
             "--header 'x-mcp-toolsets: repos'"),
        id="plain by its name",
    ),
    pytest.param(
        Case("cursor", {"url": f"{URL}?token=zzz"}, "--secret MCP_URL_1", {"MCP_URL_1": "zzz"},
             f"{URL}?token={{MCP_URL_1}}"),
        id="a short key in the URL",
    ),
    pytest.param(
        Case("cursor", {"url": "http://localhost:3000/sse"}, "--allow-net localhost:3000",
             url="http://localhost:3000/sse"),
        id="this machine's own",
    ),
    pytest.param(
        Case("codex", {"url": URL, "bearer_token_env_var": "T", "env_http_headers": {"X-K": "K"}},
             "--secret K? --header-from x-k=K --secret T? --header 'authorization: Bearer ${T}'",
             more={"env_vars": ["K", "T"]}),
        id="codex's variables",
    ),
    pytest.param(
        Case("goose", {"type": "streamable_http", "uri": URL, "headers": {"Authorization": TOKEN}}, HEADER,
             {"MCP_HEADER_AUTHORIZATION": TOKEN}, more={"type": "stdio"}),
        id="goose",
    ),
]  # fmt: skip


def made(client: str, members: dict[str, Any], **fit: Any) -> Reached | Left:
    return wrapped(entry_of(client, members), members, PROGRAM, Fit(**fit))


@pytest.mark.parametrize("case", CASES)
def test_what_is_started_in_its_place(case: Case) -> None:
    found = made(case.client, case.members)
    assert isinstance(found, Reached)
    after = dict(found.members)
    shape = shapes.SHAPES[SHAPE_OF[case.client].shape]
    assert after.pop(shape.command) == PROGRAM
    words = ["run", "--name", "a", *shlex.split(case.args), "--", case.url]
    assert after.pop(shape.args) == words
    assert after.pop(shape.env, None) == case.env
    assert after == (case.more or {})
    # And `run` reads it so.
    wish = options.wish(parsed(*words[1:]), {"T": "1", "K": "2", **(case.env or {})}, "/")
    assert choose(wish).policy.server.url == case.url


def test_opencode_has_one_list() -> None:
    found = made("opencode", {"type": "remote", "url": URL, "enabled": True})
    assert isinstance(found, Reached)
    command = [PROGRAM, "run", "--name", "a", "--", URL]
    assert found.members == {"type": "local", "command": command, "enabled": True}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("known", [True, False], ids=["remembered", "forgotten"])
def test_and_back(case: Case, known: bool) -> None:
    found = made(case.client, case.members)
    assert isinstance(found, Reached)
    before = copy.deepcopy(case.members)
    entry = entry_of(case.client, dict(found.members))
    assert is_remote(entry)
    back = unwrapped(entry, found.members, before if known else None)
    if known:
        assert back == before
        return
    # Headers' names come back in lower case, which is the same name, and the way of speaking may be another.
    again, first = entry_of(case.client, back), entry_of(case.client, before)
    assert (again.url, again.command) == (first.url, "")
    assert _sent(back) == _sent(before)


def _sent(members: dict[str, Any]) -> dict[str, str]:
    tables = (members.get(name, {}) for name in ("headers", "http_headers", "env_http_headers"))
    return {name.lower(): value.strip("${}") for table in tables for name, value in table.items()}


@pytest.mark.parametrize(
    ("members", "stranger", "why"),
    [
        pytest.param({"url": "http://a.example/"}, False, "not encrypted", id="without TLS"),
        pytest.param({"url": "https://${env:HOST}/"}, False, "host", id="a host filled in"),
        pytest.param({"url": "https://u:p@a.example/"}, False, "login", id="a login"),
        pytest.param({"url": "wss://a.example/"}, False, "begins with", id="another scheme"),
        pytest.param({"url": URL, "headers": {"Host": "b"}}, False, "itself", id="a header of ours"),
        pytest.param({"url": URL, "headers": {"A": "1", "a": "2"}}, False, "twice", id="a header twice"),
        pytest.param({"url": URL, "headers": ["A: 1"]}, False, "not a table", id="a list"),
        pytest.param({"url": URL, "headers": {"A": 1}}, False, "not a table", id="a number"),
        pytest.param({"url": URL, "headers": {"--profile": "x"}}, False, "not the name", id="an option"),
        pytest.param({"url": URL, "headersHelper": "/bin/x"}, False, "a program", id="headers by a program"),
        pytest.param({"url": "http://localhost:1/"}, True, "project's file", id="a project's: here"),
        pytest.param({"url": "https://10.0.0.1/"}, True, "project's file", id="a project's: near"),
    ],
)
def test_what_is_left(members: dict[str, Any], stranger: bool, why: str) -> None:
    found = made("cursor", members, stranger=stranger)
    assert isinstance(found, Left)
    assert why in found.why


@pytest.mark.parametrize("client", ["cursor", "codex", "goose", "opencode"])
@pytest.mark.parametrize("stranger", [False, True])
def test_what_meant_nothing_beside_a_url_does_not_begin_to(client: str, stranger: bool) -> None:
    """Its client would start our own program with it, outside of any sandbox."""
    shape = shapes.SHAPES[SHAPE_OF[client].shape]
    evil = {"LD_PRELOAD": "/project/evil.so", "PYTHONPATH": "/project", "SSL_CERT_FILE": "/project/ca.pem"}
    members = {
        "uri" if client == "goose" else "url": URL, shape.env: evil, "env": evil, "cwd": "/project",
        "envFile": "/project/.env", "args": ["--profile", "/project/p.toml"],
        "headers": {"X-Key": "q7w9Zx81LmPq2"},
        **({shape.passed: ["LD_PRELOAD"]} if shape.passed else {}),
    }  # fmt: skip
    found = made(client, members, stranger=stranger)
    assert isinstance(found, Reached)
    entry = entry_of(client, dict(found.members))
    assert set(dict(entry.env)) == {"MCP_HEADER_X_KEY"}
    assert (entry.cwd, entry.env_file, entry.passed) == ("", "", ())
    assert "/project" not in repr(found.members)
    assert unwrapped(entry, found.members, members) == members


def test_a_projects_public_url_is_wrapped() -> None:
    assert isinstance(made("cursor", {"url": URL}, stranger=True), Reached)


def test_a_login_of_the_clients_own_is_told_of() -> None:
    found = made("cursor", {"url": URL, "auth": {"CLIENT_ID": "x"}})
    assert isinstance(found, Reached)
    assert f"the client's own login is not used any more: `mcp-sandbox login {URL}`" in found.notes
    assert found.members["auth"] == {"CLIENT_ID": "x"}
