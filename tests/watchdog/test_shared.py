"""Memory that no process shows: shared pages whose users have gone, and what was only written to a memfd."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.watchdog import processes, shared
from sandbox.watchdog.tree import TreeMeter

MIB = 1 << 20
HIDDEN = """
import mmap, os, sys
held = mmap.mmap(-1, 64 << 20)
if os.fork() == 0:
    for at in range(0, 64 << 20, 4096):
        held[at] = 1
    os._exit(0)
os.wait()
print("ready", flush=True)
sys.stdin.read()
"""
MEMFD = """
import os, sys
fd = os.memfd_create("x")
for _ in range(48):
    os.write(fd, b"x" * (1 << 20))
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def running(code: str) -> Iterator[int]:
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid


def grows(monkeypatch: pytest.MonkeyPatch, *amounts: int) -> None:
    """What the machine's sum is at each look; the other tests of this machine share it."""
    left = [*amounts]
    monkeypatch.setattr(shared, "machine", lambda: left.pop(0) if len(left) > 1 else left[0])


@pytest.mark.threat("T2", proves="without a cgroup, memory that a child filled and left behind is counted")
@pytest.mark.parametrize(
    ("code", "size"),
    [pytest.param(HIDDEN, 64 * MIB, id="a mapping"), pytest.param(MEMFD, 48 * MIB, id="a memfd")],
)
def test_memory_in_nobodys_resident_set_is_counted(
    code: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    grows(monkeypatch, MIB, MIB + 256 * MIB)
    with running(code) as pid:
        resident = sum(one.resident for one in processes.tree(pid))
        assert resident < size // 2, "the control: the sum of what is resident does not show it"
        for limit in (None, MIB):
            used = TreeMeter(pid, limit).measure()
            monkeypatch.undo()
            grows(monkeypatch, MIB, MIB + 256 * MIB)
            assert used.memory is not None
            assert size <= used.memory < size + 64 * MIB


def test_no_more_is_counted_than_the_machine_has_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(HIDDEN) as pid:
        found = processes.tree(pid)
        grows(monkeypatch, 0, 20 * MIB)
        assert shared.Shared(lambda: 0).at_most(found) == 20 * MIB
        grows(monkeypatch, 0, 8 * MIB)
        assert shared.Shared(lambda: 0).at_most(found) == 0
        grows(monkeypatch, 0, 90 * MIB)
        assert shared.Shared(lambda: 60 * MIB).at_most(found) == 30 * MIB, (
            "files in memory have a limit of their own"
        )


def test_a_machine_that_gave_memory_back_starts_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(HIDDEN) as pid:
        grows(monkeypatch, 500 * MIB, 100 * MIB, 140 * MIB)
        seen = shared.Shared(lambda: 0)
        assert seen.at_most(processes.tree(pid)) == 0
        assert seen.at_most(processes.tree(pid)) == 40 * MIB


@pytest.mark.parametrize("name", ["/dev/zero (deleted)", "[anon_shmem:mine]"])
def test_a_mapping_is_known_by_either_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may give it one (PR_SET_VMA_ANON_NAME), where the kernel has that."""
    line = f"7f0000000000-7f0004000000 rw-s 00000000 00:01 1234                       {name}"
    monkeypatch.setattr(shared, "_lines", lambda path: [line])
    grows(monkeypatch, 0, 256 * MIB)
    assert shared.Shared(lambda: 0).at_most(processes.tree(os.getpid())[:1]) == 64 * MIB


def test_reading_what_is_mapped_has_an_end_and_then_all_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "LONGEST_S", -1.0)
    with running(MEMFD) as pid:
        grows(monkeypatch, 0, 300 * MIB)
        assert shared.Shared(lambda: 0).at_most(processes.tree(pid)) == 300 * MIB


def test_the_machine_says_how_much_there_is() -> None:
    before = shared.machine()
    assert before > 0


def test_what_is_mapped_and_resident_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 MiB that both of two processes have mapped and touched are 64 MiB."""
    both = HIDDEN.replace("os._exit(0)", "sys.stdin.read(), os._exit(0)").replace(
        "os.wait()", "sum(held[::4096])"
    )
    grows(monkeypatch, 0, 256 * MIB)
    with running(both) as pid:
        used = TreeMeter(pid, MIB).measure()
    assert used.memory is not None
    assert used.memory < 64 * MIB + 64 * MIB
