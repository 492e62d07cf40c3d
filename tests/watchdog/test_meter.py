"""What a tree of processes uses: shared pages count in each for the bound, once for the breach."""

from __future__ import annotations

import subprocess
import sys

from sandbox.watchdog.meter import tree_memory, tree_share

MIB = 1 << 20
FORKS = """
import os, sys
held = bytearray(b"x") * (40 << 20)
pids = []
for _ in range(3):
    if (pid := os.fork()) == 0:
        sys.stdin.read()
        os._exit(0)
    pids.append(pid)
print("ready", flush=True)
sys.stdin.read()
"""


def test_shared_pages_count_once() -> None:
    words = [sys.executable, "-c", FORKS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert tree_memory(process.pid) > 160 * MIB
        assert 40 * MIB < tree_share(process.pid) < 100 * MIB


def test_a_process_that_is_gone_uses_nothing() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert tree_memory(process.pid) == tree_share(process.pid) == 0
