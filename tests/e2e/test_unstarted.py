"""Where nothing can be started a client shows why, as the error of its `initialize`, and does not wait."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from sandbox.errors import NOT_BUILT, NOT_EXECUTABLE, NOT_FOUND, USAGE

PYTHON = """
import json, sys
import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client

async def connect(shown, name, argv, env):
    server = StdioServerParameters(command=argv[0], args=argv[1:], env=env)
    async with stdio_client(server) as streams, ClientSession(*streams) as session:
        try:
            await session.initialize()
        except Exception as error:
            shown[name] = str(error)

async def main(servers):
    shown = {}
    async with anyio.create_task_group() as group:
        for name, (argv, env) in servers.items():
            group.start_soon(connect, shown, name, argv, env)
    print(json.dumps(shown))

anyio.run(main, json.loads(sys.argv[1]))
"""
NODE = """
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
const [, sdk, text] = process.argv;
const require = createRequire(pathToFileURL(`${sdk}/`));
const load = async (name) => import(pathToFileURL(require.resolve(`@modelcontextprotocol/sdk/${name}`)));
const { Client } = await load("client/index.js");
const { StdioClientTransport } = await load("client/stdio.js");
const shown = {};
await Promise.all(Object.entries(JSON.parse(text)).map(async ([name, [[command, ...args], env]]) => {
  const client = new Client({ name: "unlucky", version: "1" }, { capabilities: {} });
  try {
    await client.connect(new StdioClientTransport({ command, args, env }));
  } catch (error) {
    shown[name] = error.message;
  }
}));
console.log(JSON.stringify(shown));
"""
RUN = [str(Path(sys.executable).with_name("mcp-sandbox")), "run"]
PATIENCE_S = 30.0

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(params=["python", pytest.param("npm", marks=pytest.mark.long)])
def client(request: pytest.FixtureRequest) -> list[str]:
    """The command that plays a client of this SDK."""
    if request.param == "python":
        return [sys.executable, "-c", PYTHON]
    program = Path(request.getfixturevalue("inspector"))
    return [
        "node",
        "--input-type=module",
        "-e",
        NODE,
        str(program.parent.parent / "@modelcontextprotocol/sdk"),
    ]


def environ(**more: str) -> dict[str, str]:
    return {"HOME": os.environ["HOME"], "PATH": "/usr/bin:/bin", **more}


@dataclass(frozen=True)
class Case:
    """A start that fails, its status, and what is said of it."""

    words: tuple[str, ...]
    status: int
    said: tuple[str, ...]
    profile: str = ""
    env: tuple[tuple[str, str], ...] = ()

    def argv(self, place: Path) -> list[str]:
        """The command line that a client would be given."""
        if not self.profile:
            return [*RUN, *self.words]
        (place / "case.toml").write_text(self.profile)
        return [*RUN, "--profile", str(place / "case.toml"), *self.words]


NO_STATE = (("XDG_STATE_HOME", "/proc"),)
CASES = [
    pytest.param(Case(("--bogus", "--", "cat"), USAGE, ("unknown-option", "--bogus")), id="2, an option"),
    pytest.param(
        Case(("--", "cat"), USAGE, ("fiels", "case.toml"), 'schema = 1\nextends = "base"\n[fiels]\n'),
        id="2, a profile",
    ),
    pytest.param(
        Case(("--", "cat"), NOT_BUILT, ("state-not-writable",), env=NO_STATE),
        id="125, no place for the lease",
    ),
    pytest.param(
        Case(
            ("--", "cat"),
            NOT_BUILT,
            ("state-not-writable",),
            'schema = 1\nextends = "base"\n[server]\nrestart = "on-crash"\n',
            NO_STATE,
        ),
        id="125, with restarts",
    ),
    pytest.param(Case(("--", "/etc/passwd"), NOT_EXECUTABLE, ("not-executable",)), id="126"),
    pytest.param(Case(("--", "npx-of-nobody"), NOT_FOUND, ("command-not-found", "PATH")), id="127"),
]


def test_the_client_shows_why(client: list[str], tmp_path: Path) -> None:
    """All starts at once, by one client."""
    servers: dict[str, object] = {}
    for name, case in all_cases():
        (place := tmp_path / str(len(servers))).mkdir()
        servers[name] = [case.argv(place), environ(**dict(case.env))]
    done = subprocess.run([*client, json.dumps(servers)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    for name, case in all_cases():
        assert [words for words in ("mcp-sandbox: ", *case.said) if words not in shown[name]] == []
    assert done.stderr.count("error: ") == len(CASES)


def all_cases() -> list[tuple[str, Case]]:
    return [(str(one.id), cast(Case, one.values[0])) for one in CASES]


@dataclass
class Started:
    """The start itself, and a hand on its stdin."""

    process: subprocess.Popen[str]
    began: float

    def ended(self, status: int, within: float) -> str:
        """What it said on stdout, once it has ended by itself."""
        said, log = self.process.communicate(timeout=PATIENCE_S)
        assert (self.process.returncode, time.monotonic() - self.began < within) == (status, True), log
        assert [line.count("error: ") for line in log.splitlines()][-1:] == [log.count("error: ")] == [1], log
        return said


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    made: list[Started] = []

    def start(case: Case) -> Started:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            case.argv(tmp_path),
            env=environ(**dict(case.env)),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        made.append(Started(process, time.monotonic()))
        return made[0]

    yield start
    for one in made:
        one.process.kill()
        one.process.wait()
        for stream in (one.process.stdin, one.process.stdout, one.process.stderr):
            if stream:
                stream.close()


@pytest.mark.parametrize("case", CASES)
def test_without_a_request_stdout_stays_empty(case: Case, started: Any) -> None:
    assert started(case).ended(case.status, within=10.0) == ""


def test_a_client_that_says_nothing_is_not_waited_for_long(started: Any) -> None:
    found = started(Case(("--", "npx-of-nobody"), NOT_FOUND, ()))
    assert found.process.wait(10.0) == NOT_FOUND, "its stdin is still open"
    assert found.ended(NOT_FOUND, within=10.0) == ""


@pytest.mark.parametrize("case", CASES)
def test_the_log_has_one_line_and_the_answer_the_same_words(case: Case, started: Any) -> None:
    found = started(case)
    request = {"jsonrpc": "2.0", "id": "first", "method": "server/discover", "params": {}}
    found.process.stdin.write(json.dumps(request) + "\n")
    found.process.stdin.flush()
    answer = json.loads(found.ended(case.status, within=10.0))
    assert answer["id"] == "first"
    assert answer["error"]["data"]["mcp-sandbox/not-started"]["status"] == case.status
