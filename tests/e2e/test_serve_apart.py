"""Clients of one URL never meet: not in a process, a home or a network, and not by an id.

The control is the same server asked twice in one session: there everything is found that must not be.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends import NATIVE
from tests.e2e.caller import Caller
from tests.e2e.served import TOKENS, Served, served

SERVER = Path(__file__).resolve().parent.parent / "fixtures" / "telling.py"
PROFILE = f"""
schema = 1
extends = "base"
[server]
command = ["{sys.executable}", "{SERVER}"]
[files]
read = ["{SERVER}"]
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def front(caller: Caller) -> Iterator[Served]:
    """A front; when its test is over it ends well, and no server of it is left."""
    with served(caller, PROFILE, "--quiet") as one:
        yield one
        if one.process.poll() is not None:
            return
        pids = _servers(one.pid)
        assert pids or caller.backend != NATIVE  # an engine's are not below us
        assert one.end() == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.mark.threat("S5", proves="two clients of one URL share no process, home or network")
@pytest.mark.backends(docker="root")
def test_two_clients_have_two_processes_homes_and_networks(front: Served, backend: str) -> None:
    alice, again, bob = (front.client(who).begin() for who in ("alice", "alice", "bob"))
    found: list[dict[str, Any]] = [one.call("where") for one in (alice, again, bob)]
    # An engine that root runs gives no user namespace.
    for kind in set(found[0]["spaces"]) - ({"user"} if backend != NATIVE else set()):
        assert len({one["spaces"][kind] for one in found}) == 3, kind
    assert not any(name.startswith("left-by-") for one in found for name in one["home"])
    alice.call("listen", port=7777)
    reached = [one.call("connect", port=7777)["connected"] for one in (alice, again, bob)]
    assert reached == [True, False, False]
    # The control: who shares a sandbox finds all of it.
    second = alice.call("where")
    assert second["spaces"] == found[0]["spaces"]
    assert any(name.startswith("left-by-") for name in second["home"])


@pytest.mark.threat("S5", proves="a session's id is of no use to another client")
@pytest.mark.threat("C1", proves="a session's id is of no use to another client")
def test_a_session_id_is_of_no_use_to_another_client_and_no_server_learns_of_it(front: Served) -> None:
    alice = front.client("alice").begin()
    told = json.dumps(alice.call("environment"))
    (server,) = _servers(front.pid)
    told += Path(f"/proc/{server}/environ").read_text() + Path(f"/proc/{server}/cmdline").read_text()
    assert "telling.py" in told
    assert TOKENS["alice"] not in told
    assert alice.session not in told
    bob = front.client("bob").begin()
    body = {"jsonrpc": "2.0", "id": 99, "method": "tools/list", "params": {}}
    thief = front.client("bob", alice.session)
    assert [thief.send("POST", body)[0], thief.send("GET")[0], thief.send("DELETE")[0]] == [404] * 3
    assert front.client("not a token", alice.session).send("POST", body)[0] == 401
    # The control: the id is good, in the hands that it was given to.
    assert front.client("alice", alice.session).send("POST", body)[0] == 200
    assert bob.call("where")["pid"]


def _servers(front: int) -> list[int]:
    """The processes of the test's server below the front, as the host numbers them."""
    below, found = [front], []
    while below:
        pid = below.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            below += [int(one) for one in task.read_text().split()]
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if len(words) > 1 and words[1] == os.fsencode(SERVER):
            found.append(pid)
    return found


@pytest.mark.threat("S5", proves="the end of one client's sandbox leaves another's calls alone")
def test_the_end_of_one_sandbox_is_nobody_elses(front: Served) -> None:
    alice = front.client("alice").begin()
    (victim,) = _servers(front.pid)
    bob = front.client("bob").begin()
    before = bob.call("where")
    os.kill(victim, signal.SIGKILL)
    body = {"jsonrpc": "2.0", "id": 99, "method": "ping", "params": {}}
    deadline = time.monotonic() + 10
    while (status := alice.send("POST", body)[0]) != 404 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status == 404
    assert bob.call("where")["pid"] == before["pid"]
    assert front.client("alice").begin().call("where")["home"] == before["home"]


def test_a_front_that_is_killed_leaves_no_server(front: Served) -> None:
    for who in ("alice", "bob"):
        front.client(who).begin()
    pids = _servers(front.pid)
    assert len(pids) == 2
    front.process.kill()
    deadline = time.monotonic() + 5
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []
