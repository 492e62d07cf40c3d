"""What a cgroup counts: from files as each version of the kernel's has them, and from a real one."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.host import cgroups
from sandbox.metering import _joined
from sandbox.watchdog.cgroup import CgroupMeter

MIB = 1 << 20
V1 = {
    "memory/memory.usage_in_bytes": "73400320\n",
    "memory/memory.max_usage_in_bytes": "104857600\n",
    "memory/memory.stat": "cache 1\nrss 2\ntotal_cache 20971520\ntotal_rss 52428800\ntotal_swap 4096\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "pids/pids.current": "13\n",
    "pids/pids.events": "max 5\n",
    "pids/cgroup.procs": "100\n101\n102\n",
    "cpu/cpuacct.usage": "2500000000\n",
}
V2 = {
    "memory.current": "73400320\n",
    "memory.peak": "104857600\n",
    "memory.stat": "anon 52428800\nfile 20971520\nkernel 1\n",
    "memory.swap.current": "4096\n",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 1\n",
    "memory.pressure": "some avg10=1.25 avg60=0.10 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00\n",
    "pids.current": "13\n",
    "pids.events": "max 5\n",
    "cgroup.procs": "100\n101\n102\n",
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n",
}


def tree(root: Path, files: dict[str, str]) -> dict[str, str]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folders = {path.name: str(path) for path in root.iterdir() if path.is_dir()}
    return folders or {"unified": str(root)}


@pytest.mark.parametrize("files", [pytest.param(V1, id="version 1"), pytest.param(V2, id="version 2")])
def test_both_versions_tell_the_same(files: dict[str, str], tmp_path: Path) -> None:
    meter = CgroupMeter(tree(tmp_path, files), root=100)
    used = meter.measure()
    assert (used.memory, used.cache, used.peak, used.swap) == (70 * MIB, 20 * MIB, 100 * MIB, 4096)
    assert (used.ooms, used.refused) == (2, 5)
    assert (used.pids, used.processes) == (12, (101, 102))
    assert used.cpu == 2.5
    meter.close()


def test_pressure_is_version_2s(tmp_path: Path) -> None:
    assert CgroupMeter(tree(tmp_path / "2", V2), root=100).measure().pressure == 1.25
    assert CgroupMeter(tree(tmp_path / "1", V1), root=100).measure().pressure is None


def test_what_a_kernel_lacks_is_unknown(tmp_path: Path) -> None:
    files = {name: text for name, text in V2.items() if name not in ("memory.peak", "memory.pressure")}
    used = CgroupMeter(tree(tmp_path, files), root=100).measure()
    assert (used.peak, used.pressure) == (None, None)
    assert used.memory == 70 * MIB


def test_nonsense_is_unknown(tmp_path: Path) -> None:
    files = dict.fromkeys(V2, "max\n")
    used = CgroupMeter(tree(tmp_path, {**files, "cgroup.procs": ""}), root=100).measure()
    assert (used.memory, used.pids, used.cpu, used.ooms) == (None, None, None, None)


@pytest.fixture
def real() -> Iterator[dict[str, str]]:
    """A cgroup of our own."""
    found = cgroups.find()
    if not found.version:
        pytest.skip(f"no cgroup is writable here: {found.detail}")
    made = {
        name: f"{parent}/mcp-sandbox-test-{os.getpid()}"
        for name, parent in found.directories.items()
        if name in ("memory", "pids", "unified")
    }
    for path in made.values():
        os.mkdir(path)
    yield made
    for path in made.values():
        cgroups._remove(path)


EATER = """
import sys
sys.stdin.readline()
held = []
print("ready", flush=True)
while True:
    held.append(b"x" * (1 << 20))
"""


@pytest.mark.threat("T2", proves="memory that ran out is told by the kernel, and the end of a cgroup is not")
def test_the_kernel_tells_of_memory_that_ran_out(real: dict[str, str]) -> None:
    version_1 = "memory" in real
    folder = real["memory" if version_1 else "unified"]
    name = "memory.limit_in_bytes" if version_1 else "memory.max"
    Path(folder, name).write_text(str(48 * MIB))
    meter = CgroupMeter(real, root=0)
    poll = select.poll()
    for fd, events in meter.watched().items():
        poll.register(fd, events)
    assert not poll.poll(0), "nothing has happened yet"
    with subprocess.Popen(
        [sys.executable, "-c", EATER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        for path in real.values():
            Path(path, "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        assert poll.poll(20_000), "the kernel says so itself"
        assert meter.called()
        process.wait(20)
    used = meter.measure()
    assert used.ooms
    assert used.peak is None or 40 * MIB < used.peak <= 1.05 * 48 * MIB
    for path in real.values():
        assert cgroups._remove(path) is None
    assert meter.measure().ooms is None, "that it is gone is no more memory that ran out"
    assert not poll.poll(0), "and calls nobody again and again"
    assert meter.measure().memory is None, "nor does it make anybody wait"
    meter.close()


FORKER = """
import os, sys
sys.stdin.readline()
made = 0
try:
    while True:
        if os.fork() == 0:
            sys.stdin.read()
            os._exit(0)
        made += 1
except OSError:
    print(made, flush=True)
"""


def test_refused_processes_are_counted_and_listed_afresh(real: dict[str, str]) -> None:
    Path(real.get("pids", real.get("unified", "")), "pids.max").write_text("8")
    meter = CgroupMeter(real, root=0)
    assert (meter.measure().processes, meter.measure().refused) == ((), 0)
    with subprocess.Popen(
        [sys.executable, "-c", FORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        for path in real.values():
            Path(path, "cgroup.procs").write_text(str(process.pid))
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"7\n"
        used = meter.measure()
        assert used.refused == 1
        assert used.processes is not None
        assert len(used.processes) == 8 - (process.poll() is not None)
        process.kill()
        subprocess.run(["kill", "-KILL", *map(str, used.processes)], stderr=subprocess.DEVNULL, check=False)
    meter.close()


def test_what_is_said_of_a_process_that_has_ended_is_nobodys_use(tmp_path: Path) -> None:
    """Its cgroups are the roots then, and what they count is the whole machine's."""
    root = Path("/proc")  # a mount, as the root of a hierarchy is
    assert _joined({"memory": str(root), "pids": str(root), "cpu": str(root)}) == {}
    mine = tmp_path / "mcp-sandbox-s1"
    found = {"memory": str(mine), "pids": str(root), "cpu": str(tmp_path / "other")}
    assert _joined(found) == {"memory": str(mine)}
