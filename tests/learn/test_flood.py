"""A server that floods whoever observes it is ended as soon as any other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from sandbox.examine.started import Started, started
from sandbox.learn.exercise import observed
from sandbox.policy.flags import Flags
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from tests.cli.test_learn import PYTHON

FLOOD = """
import os, sys, threading
def look():
    while True:
        try:
            os.stat(f"/nowhere/{os.urandom(2).hex()}")
        except OSError:
            pass
for _ in range(4):
    threading.Thread(target=look).start()
sys.stdout.write('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"up"}}\\n')
sys.stdout.flush()
"""


def up(server: Started) -> None:
    """Returns once its threads have begun."""
    assert b'"up"' in os.read(server.stdout, 4096)


@pytest.mark.parametrize(
    ("flags", "status"),
    [
        # It is a fork of the tests' own process, which without a cgroup counts with it.
        pytest.param(Flags(memory="16G"), 0, id="its client goes away"),
        pytest.param(Flags(memory="16G", wall="8s"), 124, id="its time is over"),
    ],
)
def test_it_ends_in_time(flags: Flags, status: int, require: Callable[[str], None]) -> None:
    require("native")
    prepared = prepare(Wish((PYTHON, "-c", FLOOD), dict(os.environ), "/", "base", flags), str)
    notes: list[str] = []
    with started(observed(prepared), notes.append) as server:
        up(server)
        if flags.wall:
            while os.read(server.stdout, 4096):
                pass
        began = time.monotonic()
        assert server.end() == status
        assert time.monotonic() - began < 2.0
