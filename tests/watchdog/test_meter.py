"""What a tree of processes uses: shared pages count in each for the bound, once for the breach."""

from __future__ import annotations

import os
import subprocess
import sys

from sandbox.watchdog.tree import TreeMeter

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


def test_shared_pages_count_once_beyond_the_limit() -> None:
    words = [sys.executable, "-c", FORKS]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        bound = TreeMeter(process.pid).measure()
        assert bound.memory is not None
        assert bound.memory > 160 * MIB
        exact = TreeMeter(process.pid, limit=100 * MIB).measure()
        assert exact.memory is not None
        assert 40 * MIB < exact.memory < 100 * MIB
        assert exact.processes is not None
        assert (exact.pids, len(exact.processes)) == (3, 3)


def test_a_process_that_is_gone_uses_nothing() -> None:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    used = TreeMeter(process.pid).measure()
    assert (used.memory, used.pids, used.processes) == (0, 0, ())


def test_nobody_elses_children_are_counted() -> None:
    used = TreeMeter(os.getpid()).measure()
    with subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
        more = TreeMeter(os.getpid()).measure()
        assert more.pids is not None
        assert used.pids is not None
        assert more.pids >= used.pids + 4
