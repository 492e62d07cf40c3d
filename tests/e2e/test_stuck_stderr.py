"""A client that never reads our stderr: the session is answered, ended and logged as if it did."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.attacks.inside import PYTHON, Attacker
from tests.conftest import Ready
from tests.e2e.remains import Remains, adopted_orphans
from tests.egress.loopback import Place, place, until

pytestmark = pytest.mark.backends(docker="user")
SECONDS = 2.0
STATUS = 7
# It fills its stderr, and is denied one thing after the other; at the end of its input it ends by itself.
SERVER = f"""
import json, os, socket, sys, threading

def look_up():
    number = 0
    while True:
        number += 1
        try:
            socket.getaddrinfo(f"x{{number}}.invalid", 1)
        except OSError:
            first.set()

first = threading.Event()
for line in sys.stdin:
    for _ in range(240):
        os.write(2, b"y" * 1023 + b"\\n")
    threading.Thread(target=look_up, daemon=True).start()
    first.wait()
    print(json.dumps({{"jsonrpc": "2.0", "id": json.loads(line)["id"], "result": {{}}}}), flush=True)
os._exit({STATUS})
"""


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[Place]:
    """A caller's world, made once, on a host that can build the sandbox."""
    with place(caller, backend, ready(backend)) as made:
        yield made


@pytest.fixture
def stderr() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    unread, ours = os.pipe()
    yield ours
    os.close(unread)
    os.close(ours)


def stuck(world: Place, stderr: int, *options: str) -> Attacker:
    """A running server whose stderr is full, and of which something was denied."""
    argv = world.command(*options, server=(PYTHON, "-c", SERVER))
    started = Attacker(argv, world.environ, stderr=stderr)
    started.ask("first")
    assert started.message()["result"] == {}
    until(lambda: not select.select([], [stderr], [], 0)[1], "the control: it is full")
    return started


def close_stdin(server: Attacker) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.stdin = None


def terminate(server: Attacker) -> None:
    server.process.send_signal(signal.SIGTERM)


@pytest.mark.threat("T2", proves="a client that reads no stderr holds up neither the end nor its status")
@pytest.mark.parametrize(
    ("act", "status", "reason"),
    [
        pytest.param(close_stdin, STATUS, "end", id="end of file"),
        pytest.param(terminate, 128 + signal.SIGTERM, "end", id="SIGTERM"),
    ],
)
def test_an_end_that_was_asked_for(
    act: Callable[[Attacker], None], status: int, reason: str, world: Place, stderr: int
) -> None:
    with adopted_orphans():
        remains = Remains(world.name, world.home / ".local" / "state", world.scratch)
        with stuck(world, stderr) as server:
            began = time.monotonic()
            act(server)
            assert server.process.wait(SECONDS) == status
            assert remains.within(began + SECONDS - time.monotonic()) == {}
    assert world.events("dns.deny"), "the control: something was denied"
    assert world.events("session.end")[0]["detail"] == {"status": status, "reason": reason}


@pytest.mark.threat("S3", proves="a quota ends the session and is in the log though nobody reads our stderr")
def test_a_quota(world: Place, stderr: int) -> None:
    with stuck(world, stderr, "--wall", "4s") as server:
        assert server.process.wait(4 + SECONDS) == 124
    kinds = [event["kind"] for event in world.events("quota.breach", "kill", "session.end")]
    assert kinds == ["quota.breach", "kill", "session.end"]
    assert world.events("quota.breach")[0]["rule"] == "quota.wall"
    assert world.events("session.end")[0]["detail"] == {"status": 124, "reason": "wall"}


def test_what_we_say_is_not_lost_in_the_flood(world: Place) -> None:
    """The control for a client that does read."""
    unread, ours = os.pipe()
    argv = world.command("--wall", "4s", server=(PYTHON, "-c", SERVER))
    with Attacker(argv, world.environ, stderr=ours) as server:
        os.close(ours)
        server.ask("first")
        assert server.message()["result"] == {}
        reader = subprocess.Popen([sys.executable, "-c", "import sys; print(sys.stdin.read())"],
                                  stdin=unread, stdout=subprocess.PIPE, text=True)  # fmt: skip
        os.close(unread)
        assert server.process.wait(4 + SECONDS) == 124
    said, _ = reader.communicate(timeout=SECONDS)
    assert "mcp-sandbox: denied `x1.invalid`" in said
    assert said.count("mcp-sandbox: more was denied: `mcp-sandbox audit show --kind egress` and") == 1
    assert said.count("error: quota-breach\n  ended by mcp-sandbox: quota `wall`") == 1
