"""What a tree of processes uses: shared pages count in each for the bound, once for the breach."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.watchdog.processes import tree
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


VFORK = """
import ctypes, os, sys, tempfile
held = bytearray(64 << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
libc, fifo = ctypes.CDLL(None), sys.argv[1].encode()
actions = ctypes.create_string_buffer(1024)
libc.posix_spawn_file_actions_init(actions)
libc.posix_spawn_file_actions_addopen(actions, 5, fifo, os.O_RDONLY, 0)
print("ready", flush=True)
arguments = (ctypes.c_char_p * 2)(b"/bin/true", None)
libc.posix_spawn(ctypes.byref(ctypes.c_int()), b"/bin/true", actions, None, arguments, None)
"""


@pytest.mark.threat(
    "T2", proves="the control: a server that starts a program is not ended for its memory twice"
)
def test_a_child_in_the_memory_of_its_parent_counts_once(tmp_path: Path) -> None:
    """posix_spawn(3) and vfork(2): until the child executes something there is one memory, and two see it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen([sys.executable, "-c", VFORK, fifo], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until = time.monotonic() + 10
        while len(tree(process.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        bound, exact = TreeMeter(process.pid).measure(), TreeMeter(process.pid, limit=96 * MIB).measure()
        fifo.write_bytes(b"")
    assert bound.memory is not None
    assert exact.memory is not None
    assert bound.memory > 128 * MIB, "the control: it is seen twice"
    assert exact.memory < 96 * MIB
