"""Quotas as a spec has them: what is joined for them, and how many files a place in memory may have."""

from __future__ import annotations

import pytest

from sandbox.plan.facts import Cgroups
from sandbox.plan.limits import limits
from sandbox.plan.system import inodes
from tests.plan.world import cgroups, policy


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(1 << 16, 1024, id="a small place has some all the same"),
        pytest.param(2 << 20, 2048, id="one a KiB"),
        pytest.param(64 << 20, 65536, id="the default"),
        pytest.param(1 << 30, 65536 + 61440, id="one in 16 KiB beyond"),
    ],
)
def test_files_scale_with_their_place(size: int, most: int) -> None:
    assert inodes(size) == most


@pytest.mark.parametrize("name", ["cpu_time", "busy"])
def test_a_clock_of_its_own_is_joined_where_somebody_asks(name: str) -> None:
    host = cgroups(1, "memory", "pids", "cpu", "cpuacct")
    joined = dict(limits(policy({"quota": {name: 60.0}}), host).cgroups)
    assert joined["cpuacct"] == "/sys/fs/cgroup/cpuacct"
    assert "cpuacct" not in dict(limits(policy(), host).cgroups)
    together = Cgroups(1, {**host.directories, "cpuacct": host.directories["cpu"]})
    assert "cpuacct" not in dict(limits(policy({"quota": {name: 60.0}}), together).cgroups)
