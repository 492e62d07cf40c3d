"""Servers that people run, which start without a network or an account, and an honest call of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Public:
    """`{here}` in its command, its flags and its calls is a directory of the test's own."""

    name: str
    command: str
    flags: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    profile: str = ""
    """What its profile says beside the defaults."""

    def words(self, here: str) -> list[str]:
        """The options and the command of `run`."""
        return [
            *self.flags.replace("{here}", here).split(),
            "--",
            *self.command.replace("{here}", here).split(),
        ]

    def asked(self, here: str) -> list[tuple[str, dict[str, Any]]]:
        """The calls."""
        return [(tool, json.loads(json.dumps(given).replace("{here}", here))) for tool, given in self.calls]


PUBLIC = (
    Public(
        "everything",
        "npx -y @modelcontextprotocol/server-everything",
        calls=(("echo", {"message": "hällo\u2028wörld"}), ("get-sum", {"a": 1, "b": 2})),
    ),
    Public(
        "filesystem",
        "npx -y @modelcontextprotocol/server-filesystem {here}",
        "--allow-write {here}",
        (
            ("write_file", {"path": "{here}/a.txt", "content": "a line\n"}),
            ("list_directory", {"path": "{here}"}),
        ),
    ),
    Public("memory", "npx -y @modelcontextprotocol/server-memory", calls=(("read_graph", {}),)),
    Public(
        "sequential-thinking",
        "npx -y @modelcontextprotocol/server-sequential-thinking",
        calls=(
            (
                "sequentialthinking",
                {"thought": "one", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1},
            ),
        ),
    ),
    Public("playwright", "npx -y @playwright/mcp"),
    Public("chrome-devtools", "npx -y chrome-devtools-mcp"),
    Public("context7", "npx -y @upstash/context7-mcp"),
    Public("drawio", "npx -y @drawio/mcp"),
    Public("mongodb", "npx -y mongodb-mcp-server"),
    Public("desktop-commander", "npx -y @wonderwhy-er/desktop-commander"),
    Public("excel (go)", "npx -y @negokaz/excel-mcp-server"),
    Public("git (node)", "npx -y @cyanheads/git-mcp-server"),
    Public("github", "npx -y @modelcontextprotocol/server-github"),
    Public("puppeteer", "npx -y @modelcontextprotocol/server-puppeteer"),
    Public(
        "git",
        "uvx mcp-server-git",
        calls=(("git_status", {"repo_path": "{here}"}),),
        flags="--allow-read {here}",
    ),
    Public("time", "uvx mcp-server-time", calls=(("get_current_time", {"timezone": "Asia/Tokyo"}),)),
    Public("fetch", "uvx mcp-server-fetch"),
    Public(
        "sqlite",
        "uvx --with mcp<2 mcp-server-sqlite --db-path {here}/x.db",
        "--allow-write {here}",
        (
            ("create_table", {"query": "CREATE TABLE IF NOT EXISTS people (name TEXT)"}),
            ("read_query", {"query": "SELECT name FROM people"}),
        ),
    ),
    Public("duckdb", "uvx --with mcp<2 mcp-server-duckdb --db-path {here}/x.db", "--allow-write {here}"),
    Public("excel", "uvx excel-mcp-server stdio"),
    Public("pandoc", "uvx mcp-pandoc", profile="[supply]\nscripts = ['pandoc']\n"),
    Public("markitdown", "uvx markitdown-mcp"),
    Public("office-word", "uvx --from office-word-mcp-server word_mcp_server"),
    Public("chroma", "uvx --with pydantic<2.12 chroma-mcp"),
    Public("calculator", "uvx mcp-server-calculator", calls=(("calculate", {"expression": "2*21"}),)),
)
