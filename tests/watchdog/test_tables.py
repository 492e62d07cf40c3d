"""Tables of pages: nothing is resident, and memory is taken all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sandbox.watchdog import tables
from sandbox.watchdog.tree import TreeMeter

MIB = 1 << 20
SPARSE = """
import mmap, sys
step, pages = 2 << 20, 8192
held = mmap.mmap(-1, step * pages, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
for at in range(0, step * pages, step):
    held[at]
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.threat("T2", proves="without a cgroup, memory that is taken for tables of pages is counted")
def test_tables_are_counted_where_nothing_is_resident(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = [MIB, MIB + tables.LEAST - 1, MIB + tables.LEAST]
    monkeypatch.setattr(tables, "machine", lambda: sums.pop(0))
    words = [sys.executable, "-I", "-S", "-c", SPARSE]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        meter = TreeMeter(process.pid, 1 << 30)
        resident = meter.measure().memory
        assert resident is not None
        assert resident < 24 * MIB, "the control: what is resident is within the limit"
        used = meter.measure().memory
        assert used is not None
        assert 32 * MIB <= used - resident < 40 * MIB


def test_the_machine_has_some() -> None:
    assert tables.machine() > 0
