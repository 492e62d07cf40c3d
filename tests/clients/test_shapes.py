"""Entries of every shape, what no client can read, and the edits that start another program."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.clients.shapes import entries, started_by
from sandbox.clients.table import ROWS, row, variables
from sandbox.clients.words import REMOVED, Edit, Entry


def only(id: str, data: Any) -> Entry:
    found = row(id)
    assert found
    (entry,) = entries(found, data)
    return entry


def under(id: str, value: Any) -> dict[str, Any]:
    found = row(id)
    assert found
    data: Any = {"n": value}
    for name in reversed(found.keys[0]):
        data = {name: data}
    return dict(data)


@pytest.mark.parametrize(
    ("id", "value", "command", "args"),
    [
        pytest.param("cursor", {"command": "npx", "args": ["-y"]}, "npx", ("-y",), id="flat"),
        pytest.param("cursor", {"command": "npx"}, "npx", (), id="no arguments"),
        pytest.param("opencode", {"type": "local", "command": ["npx", "-y"]}, "npx", ("-y",), id="a list"),
        pytest.param("goose", {"type": "stdio", "cmd": "uvx", "args": ["a"]}, "uvx", ("a",), id="goose"),
        pytest.param("zed", {"command": {"path": "node", "args": ["x"]}}, "node", ("x",), id="old zed"),
        pytest.param("zed", {"source": "custom", "command": "node"}, "node", (), id="zed"),
        pytest.param(
            "continue", {"transport": {"command": "uvx", "args": ["a"]}}, "uvx", ("a",), id="continue"
        ),
    ],
)  # fmt: skip
def test_a_command_is_read(id: str, value: Any, command: str, args: tuple[str, ...]) -> None:
    entry = only(id, under(id, value))
    assert (entry.name, entry.command, entry.args, entry.kind, entry.faults) == (
        "n",
        command,
        args,
        "stdio",
        (),
    )


@pytest.mark.parametrize(
    ("id", "value", "kind", "url"),
    [
        pytest.param("cursor", {"url": "https://a"}, "http", "https://a", id="an address alone"),
        pytest.param("claude-code", {"type": "sse", "url": "https://a"}, "sse", "https://a", id="said sse"),
        pytest.param("windsurf", {"serverUrl": "https://a"}, "http", "https://a", id="windsurf"),
        pytest.param("gemini", {"url": "https://a"}, "sse", "https://a", id="gemini's url is sse"),
        pytest.param("gemini", {"httpUrl": "https://a"}, "http", "https://a", id="gemini's httpUrl"),
        pytest.param("gemini", {"httpUrl": "b", "url": "a"}, "http", "b", id="gemini's httpUrl before url"),
        pytest.param(
            "gemini", {"type": "http", "url": "https://a"}, "http", "https://a", id="gemini said http"
        ),
        pytest.param(
            "goose", {"type": "streamable_http", "uri": "https://a"}, "http", "https://a", id="goose"
        ),
        pytest.param("goose", {"type": "builtin"}, "other", "", id="part of the client"),
        pytest.param("opencode", {"type": "remote", "url": "https://a"}, "http", "https://a", id="opencode"),
        pytest.param("zed", {"source": "extension", "settings": {}}, "other", "", id="from an extension"),
        pytest.param("cursor", {"disabled": True}, "other", "", id="neither"),
        pytest.param("cursor", {"type": 7, "command": "x"}, "stdio", "", id="a type of another type"),
        pytest.param("vscode", {"type": "http", "command": "x"}, "stdio", "", id="http beside a command"),
    ],
)
def test_what_is_not_started_by_a_command_says_so(id: str, value: Any, kind: str, url: str) -> None:
    entry = only(id, under(id, value))
    assert (entry.kind, entry.url) == (kind, url)


@pytest.mark.parametrize(
    ("id", "value", "off"),
    [
        pytest.param("cline", {"command": "x", "disabled": True}, True, id="disabled"),
        pytest.param("cline", {"command": "x", "disabled": False}, False, id="not disabled"),
        pytest.param("codex", {"command": "x", "enabled": False}, True, id="not enabled"),
        pytest.param("codex", {"command": "x", "enabled": "false"}, False, id="a text is no truth value"),
        pytest.param("codex", {"command": "x"}, False, id="nothing said"),
    ],
)
def test_what_is_switched_off(id: str, value: Any, *, off: bool) -> None:
    assert only(id, under(id, value)).disabled is off


def test_environment_directory_and_the_rest() -> None:
    entry = only(
        "vscode",
        under("vscode", {
            "command": "x", "env": {"A": "${input:a}", "N": 5, "T": True, "U": None}, "cwd": "/w",
            "envFile": ".env", "dev": {"watch": "*"}, "name": "other",
        }),
    )  # fmt: skip
    assert entry.env == (("A", "${input:a}"), ("N", "5"), ("T", "true"))
    assert (entry.cwd, entry.env_file, entry.extra) == ("/w", ".env", {"dev": {"watch": "*"}})


@pytest.mark.parametrize(
    ("id", "value", "names"),
    [
        pytest.param("codex", {"command": "x", "env_vars": ["A", {"name": "B"}]}, ("A", "B"), id="codex"),
        pytest.param("goose", {"cmd": "x", "env_keys": ["A"]}, ("A",), id="goose"),
        pytest.param("cursor", {"command": "x", "env_vars": ["A"]}, (), id="others have none"),
    ],
)
def test_variables_that_are_passed_on(id: str, value: Any, names: tuple[str, ...]) -> None:
    assert only(id, under(id, value)).passed == names


@pytest.mark.parametrize(
    ("id", "value", "fault"),
    [
        pytest.param("cursor", {"command": ["npx", "-y"]}, "`command` is not text", id="a list"),
        pytest.param("cursor", {"command": "x", "args": "-y"}, "`args` is not a list", id="a text"),
        pytest.param("cursor", {"command": "x", "args": ["-p", 80]}, "`args` is not a list", id="a number"),
        pytest.param("cursor", {"command": "x", "env": ["A=1"]}, "`env` is not a table", id="variables"),
        pytest.param("opencode", {"type": "local", "command": "npx -y"}, "a list of texts", id="a line"),
        pytest.param("goose", {"cmd": {}, "type": "stdio"}, "`cmd` is not text", id="a table for a command"),
        pytest.param("continue", {"<<": {}, "command": "x"}, "merges", id="a merge key"),
    ],
)  # fmt: skip
def test_what_no_client_reads_is_a_fault(id: str, value: Any, fault: str) -> None:
    (told,) = only(id, under(id, value)).faults
    assert fault in told


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(value, id=json.dumps(value))
        for value in (
            None, [], 1, "x", {"mcpServers": None}, {"mcpServers": 1},
            {"mcpServers": {"a": 1, "b": [], "c": {}}},
            {"mcpServers": [1, [], {}]}, {"mcpservers": {"a": {"command": "x"}}},
        )
    ],
)  # fmt: skip
def test_what_holds_no_server_gives_none(data: Any) -> None:
    for one in ROWS:
        assert entries(one, data) == []


def test_a_table_of_servers_is_no_server() -> None:
    found = row("opencode")
    assert found
    nested = {
        "mcp": {
            "servers": {"command": {"command": ["x"]}, "type": {"command": ["y"]}},
            "z": {"command": ["z"]},
        }
    }
    assert [(one.name, one.path) for one in entries(found, nested)] == [
        ("z", ("mcp", "z")),
        ("command", ("mcp", "servers", "command")),
        ("type", ("mcp", "servers", "type")),
    ]


# --- edits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "value", "args", "edits"),
    [
        pytest.param(
            "cursor", {"command": "npx"}, ["a"],
            [Edit(("mcpServers", "n", "command"), "P"), Edit(("mcpServers", "n", "args"), ["a"], "command")],
            id="flat",
        ),
        pytest.param(
            "cursor", {"command": "npx"}, None,
            [
                Edit(("mcpServers", "n", "command"), "P"),
                Edit(("mcpServers", "n", "args"), REMOVED, "command"),
            ],
            id="without arguments",
        ),
        pytest.param(
            "opencode", {"command": ["npx"]}, ["a"], [Edit(("mcp", "n", "command"), ["P", "a"])], id="a list",
        ),
        pytest.param(
            "goose", {"cmd": "npx"}, [],
            [Edit(("extensions", "n", "cmd"), "P"), Edit(("extensions", "n", "args"), [], "cmd")], id="goose",
        ),
        pytest.param(
            "zed", {"command": {"path": "npx"}}, ["a"],
            [
                Edit(("context_servers", "n", "command", "path"), "P"),
                Edit(("context_servers", "n", "command", "args"), ["a"], "path"),
            ],
            id="zed before 2025",
        ),
    ],
)  # fmt: skip
def test_edits_that_start_another_program(
    id: str, value: Any, args: list[str] | None, edits: list[Edit]
) -> None:
    assert started_by(only(id, under(id, value)), "P", args) == edits


# --- what clients expand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "text", "found"),
    [
        pytest.param("claude-code", "${A}/${B:-x y}", (("env", "A"), ("env", "B")), id="a shell's"),
        pytest.param("claude-code", "$A ${env:B}", (), id="and nothing else"),
        pytest.param("cursor", "${env:A}${userHome}", (("env", "A"), ("other", "userHome")), id="cursor"),
        pytest.param("vscode", "${input:a-b}", (("input", "a-b"),), id="an input"),
        pytest.param("gemini", "$A ${B} ${C:-d}", (("env", "A"), ("env", "B"), ("env", "C")), id="a dollar"),
        pytest.param("opencode", "{env:A} {file:~/x}", (("env", "A"), ("other", "~/x")), id="braces"),
        pytest.param("continue", "${{ secrets.A }}${{inputs.B}}", (("input", "A"), ("input", "B")), id="two"),
        pytest.param("claude-desktop", "${A} $B {env:C}", (), id="no variables at all"),
    ],
)  # fmt: skip
def test_variables_of_a_client(id: str, text: str, found: tuple[tuple[str, str], ...]) -> None:
    client = row(id)
    assert client
    assert variables(client, text) == found


def test_rows_are_told_apart() -> None:
    assert len({one.id for one in ROWS}) == len(ROWS)
    assert row("nobody") is None
    for one in ROWS:
        assert one.files.windows or one.files.linux or one.project
        assert all(
            path.startswith(("~/", "{", "/"))
            for system in (one.files.linux, one.files.mac)
            for path in system
        )
        assert not any(path.startswith(("~", "{", "/")) for path in one.project)
