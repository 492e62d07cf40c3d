"""Limits as cgroup files, in both versions, and a real cgroup where one can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.backend.native.cgroup import Cgroup, directory_name, enter, settings
from sandbox.host.cgroups import directories
from sandbox.plan.spec import Limits

FULL = {"memory": 256 << 20, "pids": 10, "cpus": 0.5}

CASES = [
    pytest.param(
        Limits(**FULL, mechanism="cgroup-v1"),
        [
            ("memory", "memory.limit_in_bytes", str(256 << 20), False),
            ("memory", "memory.memsw.limit_in_bytes", str(256 << 20), True),
            ("memory", "memory.swappiness", "0", True),
            ("memory", "memory.kmem.tcp.limit_in_bytes", str(256 << 20), True),
            ("pids", "pids.max", "11", False),
            ("cpu", "cpu.cfs_period_us", "100000", False),
            ("cpu", "cpu.cfs_quota_us", "50000", False),
        ],
        id="version 1, one process more for our own init",
    ),
    pytest.param(
        Limits(**FULL, mechanism="cgroup-v2"),
        [
            ("unified", "memory.max", str(256 << 20), False),
            ("unified", "memory.swap.max", "0", True),
            ("unified", "memory.oom.group", "1", True),
            ("unified", "pids.max", "11", False),
            ("unified", "cpu.max", "50000 100000", False),
        ],
        id="version 2",
    ),
    pytest.param(Limits(**FULL, mechanism="rlimit"), [], id="rlimits need no cgroup"),
    pytest.param(Limits(mechanism="cgroup-v2"), [], id="no limit, no file"),
]


@pytest.mark.parametrize(("limits", "expected"), CASES)
def test_settings(limits: Limits, expected: list[tuple[str, str, str, bool]]) -> None:
    assert settings(limits) == expected


def fixture_tree(tmp_path: Path) -> Limits:
    """A version 2 parent as plain files: what the kernel would offer, without a kernel that offers it."""
    return Limits(memory=1 << 30, pids=5, mechanism="cgroup-v2", cgroups=(("unified", str(tmp_path)),))


def test_a_limit_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    limits = fixture_tree(tmp_path)
    # A directory that is no cgroup has no memory.max: nothing may run as if the limit were set.
    with pytest.raises(OSError, match=r"memory\.max"):
        Cgroup(limits, "x").create()


def test_remove_is_true_for_what_is_gone(tmp_path: Path) -> None:
    cgroup = Cgroup(Limits(mechanism="cgroup-v2", cgroups=(("unified", str(tmp_path)),)), "x")
    cgroup.create()
    assert (tmp_path / directory_name("x")).is_dir()
    assert cgroup.remove()
    assert cgroup.remove()
    assert os.listdir(tmp_path) == []


def test_oom_kills_are_read_from_the_events_file(tmp_path: Path) -> None:
    cgroup = Cgroup(Limits(mechanism="cgroup-v2", cgroups=(("unified", str(tmp_path)),)), "x")
    cgroup.create()
    (tmp_path / directory_name("x") / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\n")
    assert cgroup.oom_kills() == 2


@pytest.mark.parametrize("name", ["memory.peak", "memory.max_usage_in_bytes"])
def test_the_peak_is_what_was_in_use_at_once(name: str, tmp_path: Path) -> None:
    controller = "unified" if name == "memory.peak" else "memory"
    limits = Limits(memory=1 << 30, mechanism="cgroup-v2", cgroups=((controller, str(tmp_path)),))
    made = tmp_path / directory_name("x")
    made.mkdir()
    assert Cgroup(limits, "x").peak() == 0
    (made / name).write_text("1234\n")
    assert Cgroup(limits, "x").peak() == 1234


SOCKETS = """
import socket, sys
sys.stdin.readline()
to, held, sent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), [], 0
for n in range(256):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    one.bind(("127.0.0.1", 0))
    to.connect(one.getsockname())
    for _ in range(24):
        to.send(bytes(32 << 10))
    held.append(one)
for one in held:
    one.setblocking(False)
    try:
        while True:
            sent += len(one.recv(32 << 10))
    except BlockingIOError:
        pass
print(sent)
"""


@pytest.fixture
def memory() -> Iterator[Cgroup]:
    """A real one of version 1, below our own."""
    ours = directories(os.getpid()).get("memory", "")
    if not os.access(ours, os.W_OK) or not os.path.exists(f"{ours}/memory.kmem.tcp.limit_in_bytes"):
        pytest.skip("no cgroup of version 1 is ours here")
    limits = Limits(memory=16 << 20, mechanism="cgroup-v1", cgroups=(("memory", ours),))
    cgroup = Cgroup(limits, f"sockets-{os.getpid()}")
    cgroup.create()
    yield cgroup
    assert cgroup.remove()


@pytest.mark.threat("T2", proves="what waits in sockets is held, under cgroup version 1 too")
def test_what_waits_in_sockets_is_held(memory: Cgroup) -> None:
    words = [sys.executable, "-I", "-S", "-c", SOCKETS]
    free = subprocess.run(words, input="\n", capture_output=True, text=True, check=True)
    assert int(free.stdout) > 40 << 20, "the control: outside, far more waits"
    doors = memory.doors()
    done = subprocess.run(
        words, input="\n", capture_output=True, text=True, check=True, timeout=30,
        pass_fds=doors, preexec_fn=lambda: enter(doors),
    )  # fmt: skip
    said = done.stdout
    assert 0 < int(said) <= 20 << 20
