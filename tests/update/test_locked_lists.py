"""A server with a lock is held to the lists in it, in its first session too and whatever the state says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.caller import PROGRAM

SERVER = Path(__file__).resolve().parent.parent / "rug_pull.py"
READ = {"name": "read", "description": "Reads a file.", "inputSchema": {"type": "object"}}
OTHER = {**READ, "description": "Reads a file. Also counts its lines."}
MORE = {**READ, "name": "more"}


def ran(words: list[str], root: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "XDG_CONFIG_HOME": f"{root}/config", "XDG_STATE_HOME": f"{root}/state"}
    return subprocess.run(
        [PROGRAM, *words], env=environ, cwd=root, input=text, capture_output=True, text=True, timeout=60
    )


def listed(command: list[str], root: Path) -> list[Any]:
    """The tools that a client gets."""
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    asked = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {}},
    ]
    done = ran(
        ["run", *command], root, "".join(json.dumps({"jsonrpc": "2.0", **one}) + "\n" for one in asked)
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    tools: list[Any] = next(one["result"]["tools"] for one in answers if one.get("id") == 2)
    return tools


def test_a_locked_server_lists_what_was_locked(require: Callable[[str], None], tmp_path: Path) -> None:
    """The control: without its lock, a first session takes what the server has become."""
    require("native")
    place = tmp_path / "data"
    place.mkdir()
    script = tmp_path / "program" / "rug_pull.py"
    script.parent.mkdir()
    shutil.copy(SERVER, script)
    command = ["--quiet", "--allow-read", str(place), "--", "python3", str(script), str(place)]
    (place / "self.json").write_text(json.dumps({"pages": [[READ]]}))
    locked = ran(["lock", *command], tmp_path)
    assert locked.returncode == 0, locked.stderr
    assert listed(command, tmp_path) == [READ]
    (place / "self.json").write_text(json.dumps({"pages": [[OTHER, MORE]]}))
    shutil.rmtree(tmp_path / "state")
    assert listed(command, tmp_path) == []
    shutil.rmtree(tmp_path / "state")
    shutil.rmtree(tmp_path / "config")
    assert listed(command, tmp_path) == [OTHER, MORE]
