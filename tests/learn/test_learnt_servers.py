"""Five servers that people run: the learnt profile is as tight as the shipped one, and they work under it."""

from __future__ import annotations

import functools
import http.server
import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.policy.load import load
from sandbox.policy.model import Policy
from sandbox.policy.score import exposure
from sandbox.prepare import prepare
from sandbox.prepared import Wish

CODE = "import sys; from sandbox.cli.main import main; sys.exit(main(sys.argv[1:]))"

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Server:
    """`{here}` is a directory of the test's own, `{port}` a web server's."""

    profile: str
    command: str
    calls: tuple[tuple[str, dict[str, Any]], ...]
    options: str = ""


SERVERS = (
    Server(
        "git",
        "uvx mcp-server-git --repository {here}/repo",
        (
            ("git_status", {"repo_path": "{here}/repo"}),
            ("git_log", {"repo_path": "{here}/repo"}),
            ("git_add", {"repo_path": "{here}/repo", "files": ["a"]}),
        ),
        "--allow-write {here}/repo",
    ),
    Server(
        "fetch",
        "uvx mcp-server-fetch --allow-private-ips",
        (("fetch", {"url": "http://localhost:{port}/page.html"}),),
        # With a node in reach its readability library asks npm for packages: `learn` tells, and we say no.
        "--allow-net localhost:{port} --profile without-node",
    ),
    Server(
        "filesystem",
        "npx -y @modelcontextprotocol/server-filesystem {here}",
        (
            ("write_file", {"path": "{here}/new", "content": "a line\n"}),
            ("read_text_file", {"path": "{here}/new"}),
            ("list_directory", {"path": "{here}"}),
        ),
        "--allow-write {here}",
    ),
    Server(
        "sqlite",
        "uvx --with mcp<2 mcp-server-sqlite --db-path {here}/x.db",
        (
            ("create_table", {"query": "create table if not exists t (a int)"}),
            ("write_query", {"query": "insert into t values (1)"}),
            ("read_query", {"query": "select a from t"}),
        ),
        "--allow-write {here}",
    ),
    Server(
        "memory",
        "npx -y @modelcontextprotocol/server-memory",
        (
            ("create_entities", {"entities": [{"name": "a", "entityType": "b", "observations": ["c"]}]}),
            ("read_graph", {}),
        ),
        "--allow-write {here} --allow-env MEMORY_FILE_PATH",
    ),
)


@pytest.fixture(autouse=True)
def without_node(own_home: Path) -> None:
    """A profile of the caller's own: Python, and no program beside the package's."""
    place = own_home / ".config" / "mcp-sandbox" / "profiles"
    place.mkdir(parents=True)
    text = 'schema = 1\nextends = "python"\n[env]\nset = { PATH = "/opt/mcp/bin" }\n'
    (place / "without-node.toml").write_text(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "a").write_text("a\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (("init", "-q"), ("add", "a"), (*author, "commit", "-qm", "one")):
        subprocess.run(["git", *words], cwd=repo, check=True, timeout=20)
    monkeypatch.setenv("MEMORY_FILE_PATH", f"{tmp_path}/memory.json")
    return tmp_path


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "page.html").write_text("<html><body><h1>A page</h1><p>of text</p></body></html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    serve = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join(5)


@pytest.mark.parametrize("server", SERVERS, ids=lambda one: one.profile)
def test_the_learnt_profile_is_as_tight_as_the_shipped_one(
    server: Server, here: Path, port: int, require: Callable[[str], None]
) -> None:
    require("native")

    def filled(text: str) -> str:
        return text.replace("{here}", str(here)).replace("{port}", str(port))

    out, command = here / "learnt.toml", filled(server.command).split()
    calls = [("--call", tool, filled(json.dumps(given))) for tool, given in server.calls]
    words = ["--out", str(out), "--json", *filled(server.options).split()]
    words += [word for one in calls for word in one]
    argv = [sys.executable, "-c", CODE, "learn", *words, "--", *command]
    done = subprocess.run(
        argv, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [one["how"] for one in found["called"]] == ["result"] * len(calls), found["called"]
    assert found["works"]

    learnt = load(str(out), environ=os.environ, cwd=str(here))
    shipped = _shipped(server, command, filled(server.options).split(), here)
    assert exposure(learnt).total <= exposure(shipped).total
    assert _hosts(learnt) <= _hosts(shipped) | {f"localhost:{port}"}
    assert tomllib.loads(out.read_text())["server"]["command"] == command


def test_in_a_container(tmp_path: Path, ready: Callable[[str], str]) -> None:
    """What is done with files is not seen there, and the profile says so; the rest is as natively."""
    state = Path(os.environ["HOME"]) / ".local/state/mcp-sandbox"
    state.mkdir(parents=True)
    (state / "images.json").write_text(ready("docker"))
    server = ("npx", "-y", "@modelcontextprotocol/server-memory")
    argv = [
        sys.executable,
        "-c",
        CODE,
        "learn",
        "--backend",
        "docker",
        "--call",
        "read_graph",
        "{}",
        "--",
        *server,
    ]
    done = subprocess.run(
        argv, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    made = tomllib.loads(done.stdout)
    assert made["syscalls"]["tier"] == "strict"
    assert "# Called: read_graph (result)." in done.stdout
    assert "# What a server does with files in a container is not observed." in done.stdout


def _shipped(server: Server, command: list[str], options: list[str], here: Path) -> Policy:
    """The shipped profile as a run of this command has it: with what it was given here."""
    from argparse import Namespace

    from sandbox.cli import options as shared
    from sandbox.cli.run import parser

    args: Namespace = parser().parse_args([*options, "--profile", server.profile, "--", *command])
    wish: Wish = shared.wish(args, dict(os.environ), str(here))
    return prepare(wish, lambda _: None).policy


def _hosts(policy: Policy) -> set[str]:
    return {f"{one.host}:{one.port}" for one in policy.network.allow}
