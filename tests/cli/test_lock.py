"""`lock`, and what `run`, `plan`, `check` and `trust` make of it: a program and a package, really started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.cli.main import main
from tests.e2e.caller import PROGRAM
from tests.supply import registry
from tests.terminal import at_terminal

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
SERVER = """
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answer = {"tools": [{"name": "look", "inputSchema": {"type": "object"}}]}
    if asked["method"] == "initialize":
        answer = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "ours", "version": "1"}}
        answer |= {"instructions": os.environ["SAY"]} if "SAY" in os.environ else {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": answer}), flush=True)
"""
SCRIPT = """#!/usr/bin/env node
const lines = require('readline').createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const asked = JSON.parse(line);
  if (asked.id === undefined) return;
  const result = asked.method === 'initialize'
    ? { protocolVersion: asked.params.protocolVersion, capabilities: { tools: {} },
        serverInfo: { name: 'ours', version: 'VERSION' } }
    : { tools: [] };
  process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id: asked.id, result }) + '\\n');
});
lines.on('close', () => process.exit(0));
"""


@pytest.fixture
def place(tmp_path: Path, require: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> Path:
    require("native")
    place = tmp_path / "project"
    (place / ".git").mkdir(parents=True)
    (place / "server.py").write_text(SERVER)
    monkeypatch.chdir(place)
    return place


def run(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "run", *words], input=json.dumps(HELLO) + "\n", capture_output=True, text=True, timeout=60,
        **more,
    )  # fmt: skip


def version(done: subprocess.CompletedProcess[str]) -> str:
    answer = json.loads(done.stdout.splitlines()[0])
    assert "result" in answer, done.stderr
    return str(answer["result"]["serverInfo"]["version"])


def locked(*words: str) -> dict[str, Any]:
    done = subprocess.run([PROGRAM, "lock", "--json", *words], capture_output=True, text=True, timeout=60)
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == found["locked"], done.stderr
    return found


def test_a_program_is_locked_where_it_lies(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = locked("--project", "--name", "ours", "--", "python3", "server.py")
    assert (found["server"], found["pins"] > 0, found["kind"]) == ("ours 1", True, "program")
    assert found["file"] == str(place / ".mcp-sandbox/ours.lock")
    command = ("--", "python3", "server.py", "--an-argument")
    assert version(run("--locked", *command)) == "1"
    os.symlink(place, place.parent / "same")
    assert version(run("--locked", "--", "python3", str(place.parent / "same/server.py"))) == "1"
    assert version(run("--locked", "--", "env", "LEVEL=1", *command[1:])) == "1"
    assert "not locked: `nice` is what starts here" in run("--", "nice", *command[1:]).stderr
    for option in ("-cprint(1)", "-i"):  # what an interpreter runs besides is not the script
        assert "lock-mismatch" in run("--", "python3", option, "server.py").stderr

    assert main(["plan", *command]) == 0
    assert "held to the lock `ours`" in capsys.readouterr().out
    assert main(["check", "--deep"]) == 0
    assert main(["lock", "--list"]) == 0
    assert main(["lock", "--name", "again", "--project", *command]) == 2  # `update` shows what changes

    (place / "server.py").write_text(SERVER.replace("look", "hook"))
    done = run(*command)
    assert done.returncode == 125
    assert str(place / "server.py") in done.stderr
    assert "tree-changed" in json.loads(done.stdout)["error"]["message"]
    assert main(["check", "--deep"]) == 1
    assert main(["lock", "--remove", "ours", "--yes"]) == 0
    assert version(run(*command)) == "1"
    said = run("--", "env", "SAY=a b", *command[1:])
    assert json.loads(said.stdout.splitlines()[0])["result"]["instructions"] == "a b"
    assert "not locked" not in run("--", "nice", *command[1:]).stderr


def test_a_projects_lock_is_trusted_at_a_terminal_alone(place: Path, tmp_path: Path) -> None:
    locked("--project", "--name", "ours", "--", "python3", "server.py")
    file = place / ".mcp-sandbox/ours.lock"
    os.unlink(Path(os.environ["HOME"]) / ".config/mcp-sandbox/locks.json")  # as on another's machine
    assert "untrusted-lock" in run("--", "python3", "server.py").stderr
    assert main(["trust"]) == 2
    status, shown = at_terminal([PROGRAM, "trust", str(file)], os.environ, "no")
    assert status == 1
    assert "ours: python3" in shown
    status, _ = at_terminal([PROGRAM, "trust"], os.environ, "yes", cwd=str(place))
    assert status == 0
    assert version(run("--", "python3", "server.py")) == "1"
    file.write_text(file.read_text().replace('by = "', 'by = "x'))
    assert "lock-changed" in run("--", "python3", "server.py").stderr


def test_a_package_starts_at_its_locked_version(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                require: Callable[[str], None]) -> None:  # fmt: skip
    """The control: without the lock the newer version is what starts."""
    require("npm")
    node = os.path.dirname(os.path.realpath(shutil.which("node") or ""))
    with registry.npm() as served:
        for name, value in {
            "npm_config_registry": served.url, "no_proxy": "127.0.0.1",
            "XDG_CACHE_HOME": f"{tmp_path}/cache", "PATH": f"{node}:{os.environ['PATH']}",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        served.publish("ours", "1.0.0", {"m.js": SCRIPT.replace("VERSION", "1.0.0")}, bin={"ours": "m.js"})
        command = ("--", "npx", "-y", "ours")
        assert "not-locked" in run("--locked", *command).stderr
        found = locked(*command)
        served.publish("ours", "2.0.0", {"m.js": SCRIPT.replace("VERSION", "2.0.0")}, bin={"ours": "m.js"})
        assert version(run(*command, env={**os.environ, "XDG_CONFIG_HOME": f"{tmp_path}/none"})) == "1.0.0"
        elsewhere = {**os.environ, "XDG_CONFIG_HOME": f"{tmp_path}/none"}
        assert version(run("--refresh", *command, env=elsewhere)) == "2.0.0"
        assert version(run("--refresh", *command)) == "1.0.0"
    shutil.rmtree(f"{tmp_path}/cache/mcp-sandbox/policies", ignore_errors=True)
    assert version(run(*command)) == "1.0.0"  # and without its registry
    tree = Path(f"{tmp_path}/cache/mcp-sandbox/store/trees/{found['trees'][0]['digest']}/tree")
    file = tree / "node_modules/ours/m.js"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("tools", "fools"))
    done = run(*command)
    assert (done.returncode, str(file) in done.stderr) == (125, True)


def test_what_nobody_asks_a_person_about_needs_one(place: Path) -> None:
    done = subprocess.run(
        [PROGRAM, "lock", "--remove", "none"], capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert (done.returncode, "no-such-lock" in done.stderr) == (2, True)
    locked("--name", "ours", "--", "python3", "server.py")
    done = subprocess.run(
        [PROGRAM, "lock", "--remove", "ours"], input="yes\n", capture_output=True, text=True, timeout=60
    )  # fmt: skip
    assert (done.returncode, "no-terminal" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("env", "-i", "python3", "server.py"), id="a program that starts another"),
        pytest.param(("python3", "-c", "print(1)"), id="a program that is an argument"),
        pytest.param(("sh", "-ec", "python3 server.py; true"), id="a shell's script"),
    ],
)
def test_what_no_file_holds_is_not_locked(
    place: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lock", "--blind", "--", *command]) == 2
    assert "nothing-to-lock" in capsys.readouterr().err


def test_what_an_argument_names_is_said_to_be_open(place: Path) -> None:
    found = locked("--blind", "--name", "ours", "--", "python3", "server.py", "server.py")
    assert found["unchecked"] == ["its arguments name server.py, which may be changed"]


def test_what_runs_elsewhere_has_nothing_to_lock(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lock", "--", "https://mcp.example/mcp"]) == 2
    assert "nothing-to-lock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status"),
    [
        pytest.param(["--profile", "nobody's"], 2, id="no profile"),
        pytest.param(["--", "npx", "-y", "./here"], 125, id="no package of a registry"),
    ],
)
def test_a_program_gets_its_one_document_where_nothing_is_locked(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lock", "--json", *words]) == status
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert (told["locked"], told["file"]) == (False, None)
    assert f"error: {told['failed'].partition(':')[0]}" in shown.err
