"""A hundred clients of one front: each is answered, nothing is lost, nothing is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "crowd"
CLIENTS = 100


@pytest.mark.long
@pytest.mark.timeout(500)
@pytest.mark.parametrize("at_once", [4, CLIENTS])
def test_a_hundred_clients_have_a_sandbox_each(at_once: int) -> None:
    argv = [sys.executable, SCRIPT, str(CLIENTS), "0.2", "--pace", "1", "--serve", "--at-once", str(at_once)]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=450)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads(done.stdout)
    assert (run["errors"], run["left"]) == (0, {})
    assert run["calls"] >= CLIENTS
    # The front holds no more for a client than a connection and what waits for it.
    assert run["front_kib"] < 64 << 10
