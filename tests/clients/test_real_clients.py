"""Real clients, each from its own config file that `clients wrap` rewrote: their servers start, contained.

Claude Code, Gemini CLI, OpenCode and Qwen Code start them for a list, Codex for its app server, which editors
use; the Copilot CLI reads its file and starts nothing without an account. Claude Code, Gemini CLI, OpenCode
and Continue then work for a model of the test's own, which calls what it is told to. No account is used.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.app_server import AppServer
from tests.clients.fake_model import DONE, Model
from tests.clients.real import (
    AGENTS,
    CLAUDE,
    CLIENTS,
    CODEX_CLI,
    INSPECTOR,
    SDK,
    SERVERS,
    Agent,
    Real,
    installed,
    newer_node,
)
from tests.conftest import Require
from tests.e2e.caller import PROGRAM
from tests.talking import TELLS

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.timeout(900)]

IN_MEMORY = {"MCP_INSPECTOR_SECRET_STORE": "memory"}
HERE = Path(__file__).parent
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
READ = {"path": "{project}/notes.txt"}
CALLS: dict[str, list[list[Any]]] = {
    "memory": [["read_graph", {}]],
    "filesystem": [["read_text_file", READ], ["list_allowed_directories", {}]],
}


@dataclass(frozen=True)
class House:
    """A home and a project that no other test knows, and the environment of a client there."""

    home: Path
    project: Path

    @property
    def environ(self) -> dict[str, str]:
        """What a login gives; where packages come from is this machine's business."""
        kept = {
            name: value for name, value in os.environ.items() if name in ("PATH", "NPM_CONFIG_USERCONFIG")
        }
        return {**kept, "HOME": str(self.home), "TERM": "dumb", "LANG": "C.UTF-8", "USER": "someone"}

    def run(self, *argv: str, **more: str) -> str:
        """The stdout of a program of this user, which must succeed."""
        return self.ran(argv, more).stdout

    def ran(self, argv: Sequence[str], more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """All that it wrote, without colours."""
        done = subprocess.run(
            argv, cwd=self.project, env={**self.environ, **more}, capture_output=True, text=True, timeout=300,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, (argv, done.stdout, done.stderr)
        done.stdout, done.stderr = COLOUR.sub("", done.stdout), COLOUR.sub("", done.stderr)
        return done

    def events(self) -> dict[str, list[dict[str, Any]]]:
        """The logs of all sessions, by server."""
        found: dict[str, list[dict[str, Any]]] = {}
        for log in sorted((self.home / ".local/state/mcp-sandbox/audit").glob("*.jsonl")):
            for line in log.read_text().splitlines():
                event = json.loads(line)
                found.setdefault(event["server"], []).append(event)
        return found


@pytest.fixture(scope="session")
def ground(shared_cache: Path) -> Path:
    """Where clients are installed; it lasts where a cache was chosen."""
    return shared_cache / "clients"


@pytest.fixture
def house(own_home: Path, tmp_path: Path, shared_cache: Path, require: Require) -> House:
    """The client's user has used these servers before: their packages are in the store."""
    require("native")
    require("npm")
    store = shared_cache / "mcp-sandbox"
    store.mkdir(parents=True, exist_ok=True)
    (own_home / ".cache").mkdir()
    (own_home / ".cache/mcp-sandbox").symlink_to(store)
    project = tmp_path / "project"
    project.mkdir()
    (project / "notes.txt").write_text("a note")
    return House(own_home, project)


def wrapped(house: House, place: Path, content: str) -> bytes:
    """Writes a client's file, has it wrapped, and gives back what it is now."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content.encode())
    house.run(PROGRAM, "clients", "wrap", "--yes")
    now = place.read_bytes()
    assert now.count(PROGRAM.encode()) == len(SERVERS)
    return now


def taken_back(house: House, place: Path, content: str, now: bytes) -> None:
    """Unwraps; a file that its client left alone is what it was, in any other nothing of ours is left."""
    untouched = place.read_bytes() == now
    house.run(PROGRAM, "clients", "unwrap", "--yes")
    left = place.read_bytes()
    assert PROGRAM.encode() not in left
    assert left == content.encode() or not untouched
    assert left.count(b"@modelcontextprotocol/server-") == content.count("@modelcontextprotocol/server-")


def contained(house: House, *, called: bool) -> None:
    """Both servers ran under their own profiles, saw what was named to them, and nothing was found."""
    # The first start of a package on this machine builds it, in a sandbox with a log of its own.
    seen = {name: events for name, events in house.events().items() if name != "build"}
    assert set(seen) == set(SERVERS)
    for name, events in seen.items():
        kinds = [event["kind"] for event in events]
        starts = [event["detail"] for event in events if event["kind"] == "session.start"]
        assert {start["profile"] for start in starts} == {name}
        assert "session.ready" in kinds
        asked = {event["detail"].get("method") for event in events if event["kind"] == "relay.request"}
        assert ("tools/call" in asked) == called, name
        assert not set(kinds) & {*TELLS, "egress.deny", "quota.breach", "syscall.deny"}
    (binds,) = {
        json.dumps(event["detail"]["binds"]) for event in seen["filesystem"] if event["kind"] == "spec"
    }
    assert str(house.project) in binds


def argv(client: Real, ground: Path) -> list[str]:
    """The client's program."""
    program = installed(ground, client.id, client.packages, scripts=client.scripts) / client.program
    assert program.exists()
    return [newer_node(ground), str(program)] if client.node else [str(program)]


@pytest.mark.parametrize("client", [pytest.param(one, id=one.id) for one in CLIENTS])
def test_a_client_finds_its_servers_behind_the_file_that_was_wrapped(
    client: Real, house: House, ground: Path
) -> None:
    place, content = house.home / client.config, client.written(house.project)
    program = argv(client, ground)
    now = wrapped(house, place, content)
    done = house.ran([*program, *client.words], client.env)
    told = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    for name in SERVERS:
        said = [one.format(name=name) for one in client.says]
        assert any(all(one in line for one in said) for line in told), (name, told)
    if client.starts:
        contained(house, called=False)
    taken_back(house, place, content, now)


@pytest.mark.parametrize("agent", [pytest.param(one, id=one.client.id) for one in AGENTS])
def test_an_agent_reads_and_writes_through_wrapped_servers_as_it_would_without(
    agent: Agent, house: House, ground: Path
) -> None:
    place, written = house.home / agent.client.config, house.project / "new.txt"
    calls = [*_calls(house)["memory"], *_calls(house)["filesystem"][:1]]
    calls.append(["write_file", {"path": str(written), "content": "a line"}])
    with Model([(tool, given) for tool, given in calls]) as model:
        content = agent.client.written(house.project).replace("{url}", model.url)
        now = wrapped(house, place, content)
        env = {name: value.replace("{url}", model.url) for name, value in agent.env.items()}
        words = [word.replace("{config}", str(place)) for word in agent.words]
        done = house.ran([*argv(agent.client, ground), *words], env)
    assert DONE in done.stdout
    graph, note, saved = model.answers
    assert "entities" in graph
    assert "a note" in note
    assert "Successfully wrote" in saved
    assert written.read_text() == "a line"
    contained(house, called=True)
    taken_back(house, place, content, now)


def test_wrapped_a_server_takes_neither_the_model_s_key_nor_other_servers_tokens_as_it_does_without(
    house: House, ground: Path
) -> None:
    place, program = house.home / CLAUDE.config, house.project / "weather.py"
    program.write_text((HERE / "weather.py").read_text().replace("/nonexistent", str(place)))
    servers = {
        "weather": {"command": "/usr/bin/python3", "args": [str(program)]},
        "other": {
            "command": "/usr/bin/false",
            "args": [],
            "env": {"SOME_TOKEN": "of-another-server"},
        },
    }
    place.write_text(json.dumps({"mcpServers": servers}))
    bare = _stolen(house, ground)
    assert "sk-of-the-user" in bare
    assert "of-another-server" in bare
    house.run(PROGRAM, "clients", "wrap", "--yes", "claude-code", "weather")
    wrapped = _stolen(house, ground)
    assert "sk-of-the-user" not in wrapped
    assert "of-another-server" not in wrapped
    assert "No such file" in wrapped


def _stolen(house: House, ground: Path) -> str:
    """What `weather.py` finds, and hands to whoever calls it."""
    (agent,) = (one for one in AGENTS if one.client == CLAUDE)
    with Model([("forecast", {})]) as model:
        env = {name: value.replace("{url}", model.url) for name, value in agent.env.items()}
        words = ("-p", "look", "--allowedTools", "mcp__weather")
        house.ran([*argv(CLAUDE, ground), *words], {**env, "ANTHROPIC_API_KEY": "sk-of-the-user"})
    (answer,) = model.answers
    return answer


def test_codex_calls_the_tools_of_wrapped_servers(house: House, ground: Path) -> None:
    place, content = house.home / CODEX_CLI.config, CODEX_CLI.written(house.project)
    now = wrapped(house, place, content)
    with AppServer([*argv(CODEX_CLI, ground), "app-server"], house.project, house.environ) as codex:
        listed = {one["name"]: one["tools"] for one in codex.ask("mcpServerStatus/list", {})["data"]}
        assert "read_graph" in listed["memory"]
        thread = codex.ask("thread/start", {"ephemeral": True})["thread"]["id"]
        answers = {
            name: [
                codex.ask(
                    "mcpServer/tool/call",
                    {"threadId": thread, "server": name, "tool": tool, "arguments": given},
                )
                for tool, given in _calls(house)[name]
            ]
            for name in SERVERS
        }
    _answered(house, answers)
    contained(house, called=True)
    taken_back(house, place, content, now)


def test_the_inspector_calls_the_tools_of_wrapped_servers(house: House, ground: Path) -> None:
    place = house.home / ".cursor/mcp.json"
    content = json.dumps({"mcpServers": SERVERS}, indent=2).replace("{project}", str(house.project))
    now = wrapped(house, place, content)
    program = installed(ground, "inspector", (INSPECTOR,)) / ".bin/mcp-inspector"
    inspector = [newer_node(ground), str(program.resolve()), "--cli", "--config", str(place)]

    def call(name: str, tool: str, given: dict[str, str]) -> Any:
        pairs = [word for key, value in given.items() for word in ("--tool-arg", f"{key}={value}")]
        asks = ["--server", name, "--method", "tools/call", "--tool-name", tool, *pairs]
        return json.loads(house.run(*inspector, *asks, **IN_MEMORY))

    calls = _calls(house)
    _answered(house, {name: [call(name, tool, given) for tool, given in calls[name]] for name in SERVERS})
    contained(house, called=True)
    taken_back(house, place, content, now)


def test_the_python_sdk_speaks_to_the_servers_of_a_wrapped_file(house: House) -> None:
    place = house.home / ".config/Claude/claude_desktop_config.json"
    content = json.dumps({"globalShortcut": "Alt+C", "mcpServers": SERVERS}).replace(
        "{project}", str(house.project)
    )
    now = wrapped(house, place, content)
    script = {"file": str(place), "key": "mcpServers", "env": {}, "calls": _calls(house)}
    found = json.loads(house.run(sys.executable, str(HERE / "sdk_client.py"), json.dumps(script)))
    assert "read_graph" in found["memory"]["tools"]
    _answered(house, {name: one["answers"] for name, one in found.items()})
    contained(house, called=True)
    taken_back(house, place, content, now)


CODE = """// the servers of this workspace
{
\t"inputs": [{ "type": "promptString", "id": "log", "description": "Level", "password": false }],
\t"servers": {
\t\t"memory": {
\t\t\t"type": "stdio", "command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory"],
\t\t\t"env": { "LOG_LEVEL": "${input:log}" }, // asked for once
\t\t},
\t\t/* what it may read */
\t\t"filesystem": {
\t\t\t"command": "npx",
\t\t\t"args": ["-y", "@modelcontextprotocol/server-filesystem", "${workspaceFolder}"]
\t\t},
\t},
}
"""


def test_the_npm_sdk_and_the_parser_of_vs_code_read_a_wrapped_file_as_the_editor_does(
    house: House, ground: Path
) -> None:
    place = house.project / ".vscode/mcp.json"
    now = wrapped(house, place, CODE)
    modules = installed(ground, "sdk", SDK)
    variables = {"workspaceFolder": str(house.project), "input:log": "warn"}
    script = {"file": str(place), "key": "servers", "variables": variables, "calls": _calls(house)}
    told = json.loads(house.run("node", str(HERE / "sdk_client.mjs"), str(modules), json.dumps(script)))
    assert [one["id"] for one in told["inputs"]] == ["log"]
    _answered(house, {name: one["answers"] for name, one in told["found"].items()})
    contained(house, called=True)
    taken_back(house, place, CODE, now)


def _calls(house: House) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = json.loads(json.dumps(CALLS).replace("{project}", str(house.project)))
    return found


def _answered(house: House, answers: dict[str, list[dict[str, Any]]]) -> None:
    """Each call did its job."""
    assert not any(one.get("isError") for given in answers.values() for one in given), answers
    (graph,), (note, directories) = answers["memory"], answers["filesystem"]
    assert "entities" in graph["content"][0]["text"]
    assert note["content"][0]["text"] == "a note"
    assert str(house.project) in directories["content"][0]["text"]
