"""Which quotas a sample exceeds: decided from numbers alone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sandbox.policy.exceeded import Load, judge, load, patient
from sandbox.policy.model import Quota
from sandbox.policy.sample import Disk, Sample
from sandbox.records import replace

MIB = 1 << 20
QUOTA = Quota(memory=100 * MIB, cpus=1.0, pids=40, open_files=64)
QUIET = Sample(
    10.0, 10.0, 1.0,
    memory=30 * MIB, peak=40 * MIB, ooms=0, pids=3, processes=2, refused=0, cpu=1.0, busy=0.0,
    open_files=12, opener="`node` (pid 7)", disks=(Disk("/tmp", 4 * MIB, 64 * MIB, 9, 65536),), written=0,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A sample after `before`, and what it exceeds: key, measured, limit."""

    sample: Sample
    expected: tuple[tuple[str, float | None, float | None], ...] = ()
    before: Sample | None = QUIET
    quota: Quota = QUOTA
    counted: bool = True


def but(**changed: object) -> Sample:
    return replace(QUIET, **changed)


def disk(used: int, files: int, place: str = "/tmp", most: int = 1024) -> tuple[Disk, ...]:
    return (QUIET.disks[0], Disk(place, used, 10 * MIB, files, most))


CASES = [
    pytest.param(Case(QUIET), id="nothing"),
    pytest.param(Case(Sample(1.0, 1.0, 0.0)), id="nothing is known"),
    pytest.param(Case(but(memory=100 * MIB)), id="a cgroup full of page cache is no breach"),
    pytest.param(
        Case(but(memory=99 * MIB, peak=100 * MIB, ooms=1), (("quota.memory", 100 * MIB, 100 * MIB),)),
        id="memory ran out",
    ),
    pytest.param(
        Case(but(ooms=1), (("quota.memory", 40 * MIB, 100 * MIB),), before=None), id="before the first look"
    ),
    pytest.param(Case(but(ooms=1), before=but(ooms=1)), id="told already"),
    pytest.param(
        Case(but(memory=101 * MIB, ooms=None), (("quota.memory", 101 * MIB, 100 * MIB),), counted=False),
        id="the sum is beyond the limit",
    ),
    pytest.param(Case(but(memory=100 * MIB, ooms=None), counted=False), id="the sum is at the limit"),
    pytest.param(Case(but(memory=MIB << 20, ooms=9), quota=Quota(memory=None)), id="no memory quota"),
    pytest.param(Case(but(pids=40)), id="as many processes as allowed, none refused"),
    pytest.param(Case(but(pids=9, refused=2), (("quota.pids", 40, 40),)), id="one was refused, and is gone"),
    pytest.param(Case(but(refused=2), before=but(refused=2)), id="none was refused since"),
    pytest.param(
        Case(but(pids=40, refused=None), (("quota.pids", 40, 40),), counted=False),
        id="nobody counts refusals",
    ),
    pytest.param(Case(but(pids=39, refused=None), counted=False), id="one less"),
    pytest.param(Case(but(open_files=63)), id="one file less"),
    pytest.param(Case(but(open_files=64), (("quota.open_files", 64, 64),)), id="all the files it may have"),
    pytest.param(Case(but(disks=disk(9 * MIB, 9))), id="a place with room"),
    pytest.param(
        Case(but(disks=disk(10 * MIB, 9)), (("quota.disk", 10 * MIB, 10 * MIB),)), id="a full place"
    ),
    pytest.param(
        Case(but(disks=disk(10 * MIB - 4096, 9)), (("quota.disk", 10 * MIB - 4096, 10 * MIB),)),
        id="a block that did not fit",
    ),
    pytest.param(Case(but(disks=disk(MIB, 1024)), (("quota.disk", 1024, 1024),)), id="full of files"),
    pytest.param(Case(but(disks=disk(MIB, 5, most=0))), id="a place that counts no files"),
    pytest.param(
        Case(but(written=50 * MIB), quota=replace(QUOTA, written=50 * MIB)), id="written, at the limit"
    ),
    pytest.param(
        Case(
            but(written=50 * MIB + 1),
            (("quota.written", 50 * MIB + 1, 50 * MIB),),
            quota=replace(QUOTA, written=50 * MIB),
        ),
        id="written, beyond",
    ),
    pytest.param(
        Case(but(cpu=60.01), (("quota.cpu_time", 60.01, 60.0),), quota=replace(QUOTA, cpu_time=60.0)),
        id="processor time",
    ),
    pytest.param(
        Case(but(busy=30.0), (("quota.busy", 30.0, 30.0),), quota=replace(QUOTA, busy=30.0)), id="busy"
    ),
    pytest.param(
        Case(
            but(ooms=1, refused=1, open_files=64),
            (("quota.memory", 40 * MIB, 100 * MIB), ("quota.pids", 40, 40), ("quota.open_files", 64, 64)),
        ),
        id="several at once",
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_what_is_exceeded(case: Case) -> None:
    found = judge(case.quota, case.sample, case.before, counted=case.counted)
    assert tuple((one.key, one.measured, one.limit) for one in found) == case.expected


@pytest.mark.parametrize(
    ("place", "raised"),
    [
        pytest.param("/tmp", {"key": 'files.tmp = "20M"'}, id="/tmp"),
        pytest.param("/home/mcp", {"key": 'files.home = "20M"'}, id="the home"),
        pytest.param("/dev/shm", {}, id="a size that is ours"),
    ],
)
def test_a_full_place_says_what_makes_it_larger(place: str, raised: dict[str, str]) -> None:
    (found,) = judge(QUOTA, but(disks=disk(10 * MIB, 9, place)), None, counted=True)
    assert found.detail == {"place": place, "raise": raised}
    assert place in found.why


def test_a_process_at_its_limit_is_named() -> None:
    (found,) = judge(QUOTA, but(open_files=64), None, counted=True)
    assert found.why == "`node` (pid 7) has 64 files open, the limit is 64"


# --- busy -------------------------------------------------------------------------------------------


def busy(shares: list[float], *, cpus: float = 1.0, each: float = 1.0) -> list[float]:
    """The seconds without a pause after each look, `shares` of a processor's time having been used."""
    now, cpu, found = 0.0, 0.0, []
    at = Load(now, cpu)
    for share in shares:
        now, cpu = now + each, cpu + share * each
        at = load(at, now, cpu, Quota(cpus=cpus, busy=60.0))
        found.append(at.busy)
    return found


def test_a_share_that_is_used_up_counts_from_where_that_began() -> None:
    assert busy([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]) == [0, 0, 0, 2, 2, 4]


def test_a_pause_ends_it() -> None:
    assert busy([1.0] * 4 + [0.5, 0.5, 1.0, 1.0])[-3:] == [0, 0, 2]


def test_a_share_below_the_limit_is_no_load() -> None:
    assert not any(busy([0.8] * 10))


def test_a_window_may_miss_one_period_of_the_kernels() -> None:
    assert busy([0.25, 0.24, 0.23, 0.25], cpus=0.25)[-1] == 4
    assert not any(busy([0.2] * 6, cpus=0.25))


def test_several_processors_are_their_sum() -> None:
    assert busy([2.0, 2.0], cpus=2.0)[-1] == 2
    assert not any(busy([1.0] * 6, cpus=2.0))


def test_looks_that_come_soon_wait_for_a_whole_window() -> None:
    assert busy([1.0] * 7, each=0.25)[-1] == 0
    assert busy([1.0] * 8, each=0.25)[-1] == 2


# --- grace ------------------------------------------------------------------------------------------


def test_grace_lets_what_is_measured_pass_for_a_while() -> None:
    found = judge(QUOTA, but(open_files=64), None, counted=True)
    due, since = patient(found, {}, 100.0, 5.0)
    assert (due, since) == ([], {"quota.open_files": 100.0})
    due, since = patient(found, since, 104.9, 5.0)
    assert not due
    assert patient(found, since, 105.0, 5.0)[0] == found


def test_what_was_within_its_limit_again_begins_anew() -> None:
    found = judge(QUOTA, but(open_files=64), None, counted=True)
    _, since = patient(found, {}, 100.0, 5.0)
    _, since = patient([], since, 102.0, 5.0)
    assert patient(found, since, 106.0, 5.0) == ([], {"quota.open_files": 106.0})


def test_without_grace_nothing_waits() -> None:
    found = judge(QUOTA, but(open_files=64, refused=1), None, counted=True)
    assert patient(found, {}, 1.0, 0.0)[0] == found


def test_memory_waits_for_nobody() -> None:
    found = judge(QUOTA, but(ooms=1), None, counted=True)
    assert patient(found, {}, 1.0, 60.0)[0] == found
