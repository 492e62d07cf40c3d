"""A home with servers of Cursor's, and the commands of `mcp-sandbox clients` on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.main import main

PROGRAM = "/opt/mcp-sandbox/bin/mcp-sandbox"

TOKEN = "q8Zr2LmW0pXc5Tn7"  # noqa: S105 - made up

CURSOR = {
    "mcpServers": {
        "time": {"command": "uvx", "args": ["mcp-server-time"]},
        "odd": {"command": "my-server", "args": ["--token", TOKEN], "env": {"API_KEY": TOKEN}},
        "far": {"url": "https://x.example/mcp"},
    }
}


def commands(home: Path) -> dict[str, str]:
    servers = json.loads((home / ".cursor" / "mcp.json").read_text())["mcpServers"]
    return {name: one.get("command", "") for name, one in servers.items()}


def wrap(*words: str) -> int:
    return main(["clients", "wrap", "--program", PROGRAM, *words])


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert next(iter(found)) == "schema"
    return found
