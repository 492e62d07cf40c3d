"""Which rlimits a spec asks for."""

from __future__ import annotations

import resource

import pytest

from sandbox.backend.native.rlimits import DATA_ROOM, table
from sandbox.plan.spec import Limits

CASES = [
    pytest.param(Limits(), [(resource.RLIMIT_CORE, 1)], id="a core dump is never written"),
    pytest.param(
        Limits(memory=1 << 30, pids=4, open_files=99, mechanism="rlimit"),
        [
            (resource.RLIMIT_CORE, 1),
            (resource.RLIMIT_NOFILE, 99),
            (resource.RLIMIT_NPROC, 5),
            (resource.RLIMIT_DATA, (1 << 30) + DATA_ROOM),
        ],
        id="without a cgroup memory and processes are rlimits",
    ),
    pytest.param(
        Limits(memory=1 << 30, pids=4, open_files=99, mechanism="cgroup-v1"),
        [(resource.RLIMIT_CORE, 1), (resource.RLIMIT_NOFILE, 99)],
        id="with a cgroup they are the cgroup's",
    ),
    pytest.param(
        Limits(cpu_time=1.5, mechanism="cgroup-v1"),
        [(resource.RLIMIT_CORE, 1), (resource.RLIMIT_CPU, 7)],
        id="processor time: of one process, after the watchdog had its say",
    ),
    pytest.param(
        Limits(memory=32 << 20, mechanism="rlimit"),
        [(resource.RLIMIT_CORE, 1), (resource.RLIMIT_DATA, (32 << 20) + DATA_ROOM)],
        id="room for what is only reserved, and for the watchdog to come first",
    ),
]


@pytest.mark.parametrize(("limits", "expected"), CASES)
def test_table(limits: Limits, expected: list[tuple[int, int]]) -> None:
    assert table(limits) == expected
