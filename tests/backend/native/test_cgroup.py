"""Limits as cgroup files, in both versions, and a real cgroup where one can be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox.backend.native.cgroup import Cgroup, directory_name, settings
from sandbox.plan.spec import Limits

FULL = {"memory": 256 << 20, "pids": 10, "cpus": 0.5}

CASES = [
    pytest.param(
        Limits(**FULL, mechanism="cgroup-v1"),
        [
            ("memory", "memory.limit_in_bytes", str(256 << 20), False),
            ("memory", "memory.memsw.limit_in_bytes", str(256 << 20), True),
            ("memory", "memory.swappiness", "0", True),
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
