"""How long the watchdog waits: soon where a limit is near, seldom where nothing happens."""

from __future__ import annotations

import pytest

from sandbox.policy.model import Quota
from sandbox.policy.sample import Disk, Sample
from sandbox.records import replace
from sandbox.watchdog.pace import FASTER_S, FASTEST_S, SLOWEST_S, Pace

MIB = 1 << 20
QUOTA = Quota(memory=512 * MIB, pids=100, open_files=100)
BEFORE = Sample(0.0, 0.0, 0.0, memory=30 * MIB, pids=2, open_files=9, cpu=1.0)
STILL = replace(BEFORE, moment=1.0)
CHEAP = 0.0001


def wait(
    sample: Sample, *, counted: bool = True, cost: float = CHEAP, before: Sample | None = BEFORE
) -> float:
    return Pace(QUOTA, counted=counted, cores=2).wait(sample, before, cost)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        pytest.param(STILL, SLOWEST_S, id="nothing runs"),
        pytest.param(replace(STILL, cpu=1.5), FASTER_S, id="something runs"),
        pytest.param(replace(STILL, pids=70), FASTER_S, id="many processes"),
        pytest.param(replace(STILL, open_files=90), FASTER_S, id="many files"),
        pytest.param(replace(STILL, disks=(Disk("/tmp", 8, 10, 1, 10),)), FASTER_S, id="a place nearly full"),
        pytest.param(
            replace(STILL, disks=(Disk("/tmp", 1, 10, 9, 10),)), FASTER_S, id="nearly full of files"
        ),
        pytest.param(replace(STILL, memory=511 * MIB), SLOWEST_S, id="a cgroup holds memory"),
    ],
)
def test_the_pace_of_a_cgroup(sample: Sample, expected: float) -> None:
    assert wait(sample) == expected


def test_the_first_look_is_followed_by_one_as_soon_as_any() -> None:
    assert wait(BEFORE, before=None) <= FASTER_S


def test_where_sums_hold_memory_a_bomb_is_seen_in_time() -> None:
    """From whatever was seen, what two processors fill until a glance stays below 1.25 of the limit."""
    for used in range(0, 520, 8):
        until = Pace(QUOTA, counted=False, cores=2).reach(replace(STILL, memory=used * MIB), BEFORE)
        assert used * MIB + until * (2 << 30) <= 1.25 * 512 * MIB or until == FASTEST_S


def test_measuring_may_cost_little_while_nothing_is_near() -> None:
    assert wait(replace(STILL, cpu=1.5), cost=0.002) == 0.5
    near = Pace(QUOTA, counted=False, cores=2)
    assert near.least(replace(STILL, memory=200 * MIB), BEFORE, 0.0001) < FASTER_S


def test_a_costly_tree_never_waits_longer_than_a_second() -> None:
    assert wait(replace(STILL, cpu=1.5), cost=3.0) == SLOWEST_S
