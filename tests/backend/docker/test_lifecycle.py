"""How a session at a container engine ends, and what of it is left when everyone was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine
from tests import backends
from tests.attacks.inside import RUN, Attacker, World, furnished
from tests.conftest import ROOT, Ready
from tests.e2e.remains import Remains, adopted_orphans, named

SECONDS = 2.0
CLINGS = """import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    os.fork()
print('{"jsonrpc": "2.0", "method": "up"}', flush=True)
time.sleep(600)
"""
GREEDY = """import time
print('{"jsonrpc": "2.0", "method": "up"}', flush=True)
taken = bytearray(1 << 30)
time.sleep(600)
"""


@pytest.fixture(scope="module", params=backends.CALLERS)
def world(request: pytest.FixtureRequest, ready: Ready) -> Iterator[World]:
    with furnished(request.param, backends.DOCKER, ready(backends.DOCKER)) as made:
        yield made


@pytest.fixture
def remains(world: World) -> Iterator[Remains]:
    with adopted_orphans():
        api = engine.connect(os.environ)
        yield Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)
        api.close()


def python(world: World, code: str, *options: str) -> Attacker:
    """A server that says that it is up, and then does what the code says."""
    made = Attacker(world.command(*options, server=("python3", "-c", code, world.name)), world.environ)
    assert made.message() == {"jsonrpc": "2.0", "method": "up"}
    return made


@pytest.fixture
def server(world: World, remains: Remains) -> Iterator[Attacker]:
    """One that ignores every signal and has daemons."""
    with python(world, CLINGS) as made:
        assert {"processes", "containers", "leases"} <= remains.now().keys(), "the control: it is seen"
        yield made
        made.process.kill()


def ours(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """Another command of our own, for the same caller."""
    argv = [*world.prefix(), sys.executable, "-c", RUN, *words]
    return subprocess.run(argv, env=world.environ, cwd="/", capture_output=True, text=True, timeout=60)


def listed(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ours(world, "ps", "--json").stdout)["sessions"]
    return found


def kill_both(server: Attacker) -> None:
    """Wrapper and keeper, without a moment between them."""
    keeper = named("mcp-keeper", server.process.pid)
    os.kill(keeper, signal.SIGSTOP)
    server.process.kill()
    os.kill(keeper, signal.SIGKILL)
    server.process.wait()


def another(world: World) -> None:
    """One more start, of a server that ends at once."""
    done = ours(world, "run", "--quiet", "--name", world.name, *world.where(), "--", "/bin/true")
    assert (done.returncode, done.stderr) == (0, "")


# --- one of them is killed -------------------------------------------------------------------------


@pytest.mark.threat("T2", proves="no container, folder or mount outlives the wrapper by two seconds")
def test_the_wrapper_is_killed(server: Attacker, remains: Remains) -> None:
    server.process.kill()
    server.process.wait()
    assert remains.within(SECONDS) == {}


@pytest.mark.threat("T2", proves="the wrapper removes a container whose keeper was killed")
def test_the_keeper_is_killed(server: Attacker, remains: Remains) -> None:
    started = time.monotonic()
    os.kill(named("mcp-keeper", server.process.pid), signal.SIGKILL)
    assert server.process.wait(SECONDS) == 128 + signal.SIGKILL
    assert remains.within(started + SECONDS - time.monotonic()) == {}


def test_the_container_is_killed_from_outside(server: Attacker, remains: Remains) -> None:
    remains.engine.kill(server_of(remains), "SIGKILL")
    assert server.process.wait(SECONDS) == 128 + signal.SIGKILL
    assert remains.within(SECONDS) == {}


def test_the_container_is_removed_from_outside(server: Attacker, remains: Remains) -> None:
    remains.engine.remove_container(server_of(remains), force=True)
    assert server.process.wait(SECONDS) == 128 + signal.SIGKILL
    assert remains.within(SECONDS) == {}


def server_of(remains: Remains) -> str:
    """The name of the one server's container."""
    names = [one.split()[0].lstrip("/") for one in remains.now()["containers"]]
    (found,) = [name for name in names if not name.endswith("-net") and "-spare-" not in name]
    return found


@pytest.mark.threat("T2", proves="a container at its memory limit ends as a breach, whole")
def test_more_memory_than_the_limit(world: World, remains: Remains) -> None:
    with python(world, GREEDY, "--memory", "64M") as server:
        assert server.process.wait(10) == 124
        assert "quota `memory`" in server.finish()[1]
    assert remains.within(SECONDS) == {}


def test_a_program_that_the_image_does_not_have(world: World, remains: Remains) -> None:
    """The engine's init says it in its own words, and has started nothing."""
    with Attacker(world.command("--profile", "base", server=("no-such-program",)), world.environ) as server:
        call = server.ask("initialize")
        answer = server.message()
        assert (answer["id"], server.message()) == (call, {})
        status, said = server.finish()
    assert status == 127
    assert said.startswith("error: command-not-found: ")
    assert "`no-such-program`" in said
    assert "tini" not in said
    assert remains.within(SECONDS) == {}


@pytest.mark.parametrize("status", [126, 127])
def test_a_status_that_looks_like_an_inits_is_the_servers(status: int, world: World) -> None:
    code = f"import os; os.write(2, b'mine\\n'); os._exit({status})"
    argv = world.command("--profile", "base", server=("python3", "-c", code))
    with Attacker(argv, world.environ) as server:
        assert server.finish() == (status, "mine\n")


# --- all of them are killed ------------------------------------------------------------------------


@pytest.mark.threat("T2", proves="what killed sessions left at the engine goes with the next start")
def test_the_next_start_removes_what_nobody_else_could(
    world: World, server: Attacker, remains: Remains
) -> None:
    kill_both(server)
    left = remains.now()
    assert {"processes", "containers", "leases", "staged files"} <= left.keys(), "the control: it lives on"
    another(world)
    assert remains.within(SECONDS) == {}


def test_ps_shows_and_prunes(world: World, server: Attacker, remains: Remains) -> None:
    (running,) = listed(world)
    assert running["state"] == "running"
    assert (running["server"], running["backend"], running["pid"]) == (
        world.name,
        "docker",
        server.process.pid,  # `setpriv` becomes what it starts
    )
    assert f"/{running['container']} running" in remains.now()["containers"]
    kill_both(server)
    assert [one["state"] for one in listed(world)] == ["left behind"]
    done = ours(world, "ps", "--prune")
    assert done.stdout == f"removed session {running['session']}\n"
    assert done.returncode == 0
    assert remains.within(SECONDS) == {}


def test_a_lost_lease_is_found_by_labels(world: World, server: Attacker, remains: Remains) -> None:
    """And what a living session has is not."""
    with python(world, CLINGS) as neighbour:
        kill_both(server)
        (stale,) = [one for one in listed(world) if one["state"] != "running"]
        for lease in remains.leases.glob(f"{stale['session']}~*"):
            lease.unlink()
        removed = json.loads(ours(world, "ps", "--prune", "--json").stdout)["removed"]
        kinds = sorted((one["kind"], os.path.basename(one["name"])) for one in removed)
        assert kinds[0] == ("container", stale["container"])
        assert ("staged files", stale["session"]) in kinds
        assert neighbour.process.poll() is None
        assert [one["state"] for one in listed(world)] == ["running"]
        neighbour.process.kill()
    assert remains.within(SECONDS) == {}


@pytest.mark.slow
@pytest.mark.threat("T2", proves="sessions killed at random moments leave nothing at the engine")
def test_kill_storm(world: World) -> None:
    note = world.home / ".local" / "state" / "mcp-sandbox" / "images.json"
    script = [sys.executable, str(ROOT / "scripts" / "kill-storm"), "12", "--backend", "docker"]
    done = subprocess.run(
        [*world.prefix(), *script, "--images", str(note)],
        env=world.environ | {"TMPDIR": str(world.scratch)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(Path(world.scratch).iterdir()) == []
