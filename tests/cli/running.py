"""A caller's sandboxes for the commands that look at running ones and end them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.attacks.inside import RUN, Attacker, World

META = "io.modelcontextprotocol/"
SECONDS = 10.0


def command(world: World, *words: str) -> list[str]:
    """`mcp-sandbox WORDS` as the world's caller."""
    return [*world.prefix(), sys.executable, "-c", RUN, *words]


def tried(world: World, *words: str, columns: int = 200) -> subprocess.CompletedProcess[str]:
    """The command, to its end."""
    environ = {**world.environ, "COLUMNS": str(columns)}
    return subprocess.run(
        command(world, *words), cwd="/", env=environ, capture_output=True, text=True, timeout=30
    )


def sessions(world: World, *words: str) -> list[dict[str, Any]]:
    """What `ps --json` says."""
    done = tried(world, "ps", "--json", *words)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["sessions"]
    return found


def until(world: World, holds: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """What `ps --json` says once it holds."""
    deadline = time.monotonic() + SECONDS
    while not holds(found := sessions(world)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@contextmanager
def sandboxes(world: World, *names: str, options: tuple[str, ...] = ()) -> Iterator[list[Attacker]]:
    """Running servers under these names."""
    made: list[Attacker] = []
    own = world.name
    try:
        for name in names:
            world.name = name
            made.append(world.inside(*options))
        for one in made:
            one.call("processes.parent")
        yield made
    finally:
        world.name = own
        for one in made:
            one.process.kill()
            one.close()


def introduce(server: Attacker, name: str, version: str = "1.0") -> None:
    """One call of a client that says who it is."""
    meta = {f"{META}protocolVersion": "2026-07-28", f"{META}clientInfo": {"name": name, "version": version}}
    params = {"name": "processes.parent", "arguments": {}, "_meta": meta}
    request = {"jsonrpc": "2.0", "id": "hello", "method": "tools/call", "params": params}
    assert server.process.stdin is not None
    server.process.stdin.write(json.dumps(request).encode() + b"\n")
    server.process.stdin.flush()
    assert server.message()["id"] == "hello"
