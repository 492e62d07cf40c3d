"""Real servers, driven by real clients, answer through the sandbox as they do without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.prepare import prepare
from sandbox.prepared import Wish
from sandbox.supply.job import MOUNT
from tests.e2e.caller import Caller
from tests.e2e.servers import ADA, SERVERS, THOUGHT, Server, said

CLIENT = str(Path(__file__).with_name("client.py"))
HOME_INSIDE = "/home/mcp"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "printf", "version": "1"},
    },
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.backends(docker="user")]
each_server = pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.profile)


@dataclass(frozen=True)
class Bare:
    """A server without us: the program of its frozen tree, or of npx and uvx themselves."""

    argv: tuple[str, ...]
    env: dict[str, str]
    resolved: tuple[str, ...]


@pytest.fixture(scope="session")
def bare_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where bare servers start; a repository, since the git server starts in nothing else."""
    home = tmp_path_factory.mktemp("bare-home")
    subprocess.run(["git", "init", "-q", str(home)], check=True)
    return home


def bare(profile: str, home: Path) -> Bare:
    """The profile's command outside any sandbox, started where its package was frozen."""
    found = prepare(Wish((), os.environ, str(home), profile=profile), lambda _text: None)
    assert found.frozen is not None
    outside = ((MOUNT, found.frozen.tree), (HOME_INSIDE, str(home)))

    def moved(word: str) -> str:
        for inside, place in outside:
            word = place + word.removeprefix(inside) if word.startswith(f"{inside}/") else word
        return word

    env = {name: moved(value) for name, value in found.policy.env.fixed}
    return Bare(tuple(map(moved, found.frozen.argv)), {**os.environ, **env}, found.frozen.resolved)


def played(
    python: str,
    argv: list[str],
    *,
    cwd: Path,
    env: dict[str, str],
    calls: list[tuple[str, dict[str, Any]]],
    era: str = "legacy",
    prefix: tuple[str, ...] = (),
) -> dict[str, Any]:
    """What the client on `python` saw of the server; the client itself runs as the caller, too."""
    script = {"argv": argv, "cwd": str(cwd), "env": env, "calls": calls, "era": era, "roots": [str(cwd)]}
    done = subprocess.run(
        [*prefix, python, CLIENT, json.dumps(script)],
        cwd=cwd, env=env, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def drive(
    caller: Caller, python: str, *words: str, cwd: Path, calls: list[Any], era: str = "legacy"
) -> dict[str, Any]:
    """The client of `caller` on the server that `mcp-sandbox run WORDS` starts."""
    argv = caller.sandboxed(*words)
    seen = played(python, argv, cwd=cwd, env=caller.environ, calls=calls, era=era, prefix=caller.prefix)
    assert refused_calls(caller) == [], "an honest server needs a call that the filter refuses"
    return seen


def refused_calls(caller: Caller) -> list[Any]:
    """What the logs of this caller's sessions say of system calls that were not made, natively."""
    logs = [*Path(caller.environ["HOME"]).glob(".local/state/mcp-sandbox/**/*.jsonl")]
    assert logs
    events = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [event["detail"] for event in events if event["kind"] == "syscall.deny"]


@pytest.fixture(scope="session")
def bare_tools() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The bare server's tools as one client saw them: asked once for every caller."""
    return {}


# --- a pipe --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "unpinned", "pin"),
    [
        pytest.param(["npx", "-y"], "@modelcontextprotocol/server-everything", "@", id="npx"),
        pytest.param(["uvx"], "mcp-server-time", "==", id="uvx"),
    ],
)
def test_one_request_through_a_pipe_is_answered_as_by_the_bare_server(
    command: list[str], unpinned: str, pin: str, caller: Caller, tmp_path: Path
) -> None:
    request = json.dumps(INITIALIZE) + "\n"
    place = caller.directory()
    done = caller.run(*caller.sandboxed("--", *command, unpinned), cwd=place, text=request, timeout=180)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    # The bare runner is asked for the version that was frozen: a registry may have a newer one by now.
    version = _resolved(caller, [*command, unpinned]).rpartition(pin)[2]
    runner = [str(Path(sys.executable).with_name("uvx"))] if command[0] == "uvx" else command
    assert json.loads(line) == _first_answer([*runner, f"{unpinned}{pin}{version}"], request, tmp_path)


def _resolved(caller: Caller, command: list[str]) -> str:
    logs = Path(caller.environ["HOME"]).glob(".local/state/mcp-sandbox/**/*.jsonl")
    log = next(log for log in logs if "-build-" not in log.name)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (built,) = [event for event in events if event["kind"] in ("supply.build", "supply.reuse")]
    return str(built["detail"]["resolved"][0])


def _first_answer(argv: list[str], request: str, cwd: Path) -> dict[str, Any]:
    """The first line of a bare server; stdin stays open until it came, as npx's server ends with it."""
    with subprocess.Popen(
        argv, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as bare_server:
        assert bare_server.stdin
        assert bare_server.stdout
        bare_server.stdin.write(request)
        bare_server.stdin.flush()
        line = bare_server.stdout.readline()
        bare_server.terminate()
    found: dict[str, Any] = json.loads(line)
    return found


# --- the Python SDK ------------------------------------------------------------------------------


@each_server
def test_the_sdk_sees_the_bare_server_s_tools_and_they_do_their_job(
    server: Server, sdk: str, caller: Caller, bare_home: Path, bare_tools: dict[Any, Any]
) -> None:
    place = caller.directory()
    server.prepare(caller, place)
    words = (*server.flags, "--profile", server.profile)
    found = drive(caller, sdk, *words, cwd=place, calls=server.calls(place))
    server.check(place, found["calls"])
    if (server.profile, sdk) not in bare_tools:
        alone = bare(server.profile, bare_home)
        seen = played(sdk, list(alone.argv), cwd=bare_home, env=alone.env, calls=[])
        bare_tools[server.profile, sdk] = seen["tools"]
    assert found["tools"] == bare_tools[server.profile, sdk]
    assert len(found["tools"]) > 0


@pytest.mark.parametrize(
    ("profile", "call", "version"),
    [
        pytest.param("time", ("get_current_time", {"timezone": "Etc/UTC"}), "2026-07-28", id="modern"),
        pytest.param("sequential-thinking", ("sequentialthinking", THOUGHT), "2025-11-25", id="legacy"),
    ],
)
def test_a_client_that_discovers_first_speaks_with_servers_of_both_eras(
    profile: str, call: tuple[str, dict[str, Any]], version: str, caller: Caller
) -> None:
    found = drive(
        caller, sys.executable, "--profile", profile, cwd=caller.directory(), calls=[call], era="auto"
    )
    assert found["version"] == version
    assert said(found["calls"][0])


def test_progress_arrives_while_a_call_runs_and_stderr_is_passed_on(caller: Caller, sdk: str) -> None:
    calls = [("trigger-long-running-operation", {"duration": 0.6, "steps": 4})]
    found = drive(caller, sdk, "--profile", "everything", cwd=caller.directory(), calls=calls)
    assert found["progress"] == [1, 2, 3, 4]
    assert "Starting default (STDIO) server" in found["stderr"]


def test_the_server_s_own_request_for_roots_is_asked_and_answered(caller: Caller, sdk: str) -> None:
    place = caller.directory()
    calls: list[Any] = [("list_allowed_directories", {})]
    found = drive(caller, sdk, "--profile", "filesystem", cwd=place, calls=calls)
    assert found["roots_asked"] == 1
    assert "Updated allowed directories from MCP roots: 1" in found["stderr"]
    assert said(found["calls"][0]).splitlines()[1:] == [str(place)]


def test_the_server_s_requests_of_a_model_and_of_a_person_are_passed_on(caller: Caller, sdk: str) -> None:
    calls = [
        ("trigger-sampling-request", {"prompt": "why?", "maxTokens": 5}),
        ("trigger-elicitation-request", {}),
    ]
    found = drive(caller, sdk, "--profile", "everything", cwd=caller.directory(), calls=calls)
    sampled, elicited = map(said, found["calls"])
    assert "a model was asked" in sampled
    assert "why?" in sampled
    assert "declined" in elicited


# --- what lasts, and what does not ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "before", "after", "kept"),
    [
        pytest.param(
            "memory", ("create_entities", {"entities": [ADA]}), ("read_graph", {}), "ada", id="memory"
        ),
        pytest.param(
            "sqlite",
            ("create_table", {"query": "CREATE TABLE kept (x)"}),
            ("list_tables", {}),
            "kept",
            id="sqlite",
        ),
    ],
)
def test_what_a_profile_persists_is_there_in_the_next_session(
    profile: str, before: tuple[str, Any], after: tuple[str, Any], kept: str, caller: Caller
) -> None:
    place = caller.directory()
    drive(caller, sys.executable, "--profile", profile, cwd=place, calls=[before])
    again = drive(caller, sys.executable, "--profile", profile, cwd=place, calls=[after])
    assert kept in said(again["calls"][0])


def test_a_directory_mounted_to_read_is_not_written(caller: Caller) -> None:
    place = caller.directory()
    calls: list[Any] = [("write_file", {"path": f"{place}/new.txt", "content": "x"})]
    found = drive(caller, sys.executable, "--profile", "filesystem", cwd=place, calls=calls)
    assert found["calls"][0]["isError"]
    assert "EROFS" in found["calls"][0]["content"][0]["text"]
    assert not (place / "new.txt").exists()


@pytest.mark.backends(docker="root user")
def test_what_a_server_writes_belongs_to_the_caller(caller: Caller) -> None:
    place = caller.directory()
    calls: list[Any] = [("write_file", {"path": f"{place}/new.txt", "content": "x"})]
    drive(caller, sys.executable, "--allow-write", ".", "--profile", "filesystem", cwd=place, calls=calls)
    status = (place / "new.txt").stat()
    assert (status.st_uid, status.st_gid) == (caller.uid, caller.gid)


# --- the inspector -------------------------------------------------------------------------------


@pytest.mark.backends  # another client of the same wrapper: what is behind it has been seen above
@each_server
def test_the_inspector_lists_the_bare_server_s_tools(
    server: Server, inspector: str, caller: Caller, bare_home: Path, bare_tools: dict[Any, Any]
) -> None:
    place = caller.directory()
    if not caller.reaches(inspector):
        pytest.skip("the unprivileged user cannot enter the chosen cache: proved by the run as that user")
    server.prepare(caller, place)
    words = ["--method", "tools/list"]
    argv = [inspector, "--cli", *caller.sandboxed("--profile", server.profile)]
    inside = _listed(caller.run(*argv, *words, cwd=place, timeout=120))
    if (server.profile, inspector) not in bare_tools:
        alone = bare(server.profile, bare_home)
        outside = subprocess.run(
            [inspector, "--cli", *alone.argv, *words],
            cwd=bare_home, env=alone.env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        bare_tools[server.profile, inspector] = _listed(outside)
    assert inside == bare_tools[server.profile, inspector]


def _listed(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["tools"]
    assert found
    return found
