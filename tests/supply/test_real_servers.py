"""Seven servers people run: frozen by the build sandbox, then started with no network, npm or uv."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.build import builder
from sandbox.host.probe import probe
from tests.supply.toolchain import frozen, offline

SERVERS = [
    pytest.param("npx -y @modelcontextprotocol/server-everything", "echo", id="everything"),
    pytest.param(
        "npx -y @modelcontextprotocol/server-filesystem {tmp}",
        "read_text_file",
        id="filesystem",
        marks=pytest.mark.long,
    ),
    pytest.param(
        "npx -y @modelcontextprotocol/server-memory", "read_graph", id="memory", marks=pytest.mark.long
    ),
    pytest.param(
        "npx -y @modelcontextprotocol/server-sequential-thinking",
        "sequentialthinking",
        id="sequential-thinking",
        marks=pytest.mark.long,
    ),
    pytest.param("uvx mcp-server-time", "get_current_time", id="time"),
    pytest.param("uvx mcp-server-git", "git_status", id="git", marks=pytest.mark.long),
    pytest.param(
        "uvx --with mcp<2 mcp-server-sqlite --db-path {tmp}/x.db",
        "read_query",
        id="sqlite",
        marks=pytest.mark.long,
    ),
]
OPENING = (
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "0"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


def _environ() -> dict[str, str]:
    """As the caller's, with the python that runs the tests before any shim of a version switcher."""
    python = os.path.dirname(os.path.realpath(sys._base_executable))  # type: ignore[attr-defined]
    node = os.path.dirname(os.path.realpath(shutil.which("node") or "/usr/bin/node"))
    return {**os.environ, "PATH": f"{python}:{node}:/usr/bin:/bin"}


def _tools(server: subprocess.Popen[str]) -> set[str]:
    """Opens a session and names the tools."""
    assert server.stdin is not None
    assert server.stdout is not None
    for message in OPENING:
        server.stdin.write(json.dumps(message) + "\n")
    server.stdin.flush()
    for line in server.stdout:
        answer = json.loads(line)
        if answer.get("id") == 2:
            return {tool["name"] for tool in answer["result"]["tools"]}
    return set()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("command", "tool"), SERVERS)
def test_a_frozen_server_answers_offline_as_one_process(
    command: str, tool: str, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("native")
    require("node")
    environ, words = _environ(), command.format(tmp=tmp_path)
    made = frozen(words, environ, builder(probe(), environ))
    started = time.monotonic()
    again = frozen(words, environ, lambda job: pytest.fail("nothing is built twice"))
    assert time.monotonic() - started < 0.5
    assert (again.argv, again.digest, again.reused) == (made.argv, made.digest, True)
    server = subprocess.Popen(
        offline(made.tree, *made.argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert tool in _tools(server)
        assert os.path.realpath(f"/proc/{server.pid}/exe") == os.path.realpath(made.interpreter)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert children == []
    finally:
        server.kill()
        server.communicate()
