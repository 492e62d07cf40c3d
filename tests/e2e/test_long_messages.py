"""A session that carries long messages takes no new memory for each, and gives it back when none comes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.relay.carriers import IDLE_S
from tests.attacks.inside import PYTHON, Attacker
from tests.conftest import Ready
from tests.egress.loopback import Place, place, until

ECHO = """
import json, sys
for line in sys.stdin:
    frame = json.loads(line)
    text = {"type": "text", "text": frame["params"]["arguments"]["message"]}
    print(json.dumps({"jsonrpc": "2.0", "id": frame["id"], "result": {"content": [text]}}), flush=True)
"""
LONG = "The file was read and has 14 lines. " * (1 << 15)
MEBIBYTE = 256  # pages


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[Place]:
    """A caller's world, made once, on a host that can build the sandbox."""
    with place(caller, backend, ready(backend)) as made:
        yield made


def faults(server: Attacker) -> int:
    """Pages that were new to the wrapper."""
    return int(Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()[7])


def resident(server: Attacker) -> int:
    """Its own memory, in pages."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) // 4


def echoed(server: Attacker) -> None:
    server.ask("echo", message=LONG)
    assert server.message()["result"]["content"][0]["text"] == LONG


def test_the_next_long_message_takes_no_new_page_and_in_the_end_they_go(world: Place) -> None:
    with Attacker(world.command(server=(PYTHON, "-c", ECHO)), world.environ) as server:
        for _ in range(4):
            echoed(server)
        before = faults(server)
        for _ in range(8):
            echoed(server)
        assert (faults(server) - before) / 8 < MEBIBYTE / 2
        held = resident(server)
        until(lambda: resident(server) < held - 2 * MEBIBYTE, f"given back {IDLE_S} s after the last one")
