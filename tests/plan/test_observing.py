"""A filter that tells of calls which name files makes exactly the calls that it made before."""

from __future__ import annotations

from itertools import product

import pytest

from sandbox.backend.native import seccomp
from sandbox.backend.native.observing import observing
from sandbox.errors import CannotEnforce
from sandbox.plan.file_calls import CALLS, observable, observed
from sandbox.plan.spec import Tier
from sandbox.plan.syscalls import MACHINES, NEWEST, TIERS
from tests.plan import bpf
from tests.plan.test_syscalls import numbers, probes

EVERY_FILTER = [pytest.param(m, t, id=f"{m} {t}") for m, t in product(MACHINES, TIERS)]
TOLD = seccomp.RET_USER_NOTIF | seccomp.OBSERVED


def both(machine: str, tier: Tier) -> tuple[bpf.Program, bpf.Program]:
    plain = seccomp.load(tier, machine, listened=True)
    return bpf.decode(plain), bpf.decode(observing(plain, tier, machine))


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_only_what_would_be_made_is_told_and_all_else_is_as_before(machine: str, tier: Tier) -> None:
    plain, watched = both(machine, tier)
    names = {number: name for name, number in numbers(machine).items()}
    wrong = []
    for number in range(NEWEST + 1):
        name = names.get(number, "")
        # Whatever is no call of ours falls through to the very same instructions.
        for args in probes(name) if name in CALLS else ((0,) * 6, (2**64 - 1,) * 6):
            before, _ = bpf.run(plain, bpf.ARCH[machine], number, args)
            after, _ = bpf.run(watched, bpf.ARCH[machine], number, args)
            told = name in CALLS and before == bpf.ALLOW
            if after != (TOLD if told else before):
                wrong.append((name, [hex(one) for one in args], hex(before), hex(after)))
            if (observed(tier, name, args) is not None) != told:
                wrong.append((name, [hex(one) for one in args], "the listener would say otherwise"))
    assert wrong == []


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_where_nobody_listens_it_is_the_same_filter(machine: str, tier: Tier) -> None:
    plain = bpf.decode(seccomp.load(tier, machine))
    alone = bpf.decode(
        seccomp.unlistened(observing(seccomp.load(tier, machine, listened=True), tier, machine))
    )
    for name, number in numbers(machine).items():
        for args in ((0,) * 6, (2**64 - 1,) * 6):
            seen = [bpf.run(one, bpf.ARCH[machine], number, args)[0] for one in (plain, alone)]
            assert seen[0] == seen[1], name


@pytest.mark.parametrize(("machine", "tier"), EVERY_FILTER)
def test_a_call_of_another_architecture_is_as_foreign_as_before(machine: str, tier: Tier) -> None:
    _, watched = both(machine, tier)
    for arch in set(bpf.ARCH.values()) - {bpf.ARCH[machine]}:
        for name in CALLS:
            number = numbers(machine).get(name, 0)
            assert bpf.run(watched, arch, number, (0,) * 6)[0] == seccomp.RET_USER_NOTIF | seccomp.FOREIGN


@pytest.mark.parametrize("machine", MACHINES)
def test_the_one_execveat_is_by_a_directory_that_is_none(machine: str) -> None:
    _, watched = both(machine, "net")
    number = numbers(machine)["execveat"]

    def said(directory: int) -> int:
        return bpf.run(watched, bpf.ARCH[machine], number, (directory, 0, 0, 0, 0))[0]

    assert said(seccomp.UNASKED) == bpf.ALLOW
    assert {said(one) for one in (0, 3, 0xFFFFFF9C, seccomp.UNASKED ^ 1)} == {bpf.ERRNO | 38}


def test_a_filter_that_begins_otherwise_is_not_guessed_at() -> None:
    shipped = seccomp.load("net", MACHINES[0], listened=True)
    with pytest.raises(CannotEnforce):
        observing(shipped[8:], "net", MACHINES[0])


def test_what_is_opened_started_and_looked_at_is_told_in_every_tier() -> None:
    for tier in TIERS:
        assert {"open", "openat", "execve", "newfstatat", "statx", "unlinkat"} <= observable(tier).keys()


@pytest.mark.parametrize(
    ("name", "args", "intent", "directory"),
    [
        pytest.param("openat", (2**64 - 100, 0, 0, 0), "read", -100, id="opened to be read"),
        pytest.param("openat", (2**32 - 100, 0, 0o1, 0), "write", -100, id="opened to be written"),
        pytest.param("openat", (7, 0, 0o100, 0o644), "write", 7, id="created"),
        pytest.param("openat", (7, 0, 0o1000, 0), "write", 7, id="emptied"),
        pytest.param("openat", (7, 0, 0o2000000, 0), "read", 7, id="closed on exec"),
        pytest.param("statx", (5, 0, 0, 0), "look", 5, id="looked at"),
        pytest.param("stat", (9, 0, 0, 0), "look", -100, id="no descriptor among its arguments"),
        pytest.param("execve", (9, 0, 0), "start", -100, id="started"),
        pytest.param("symlinkat", (9, 4, 0), "write", 4, id="a link made"),
    ],
)
def test_what_a_call_means(name: str, args: tuple[int, ...], intent: str, directory: int) -> None:
    call = CALLS[name]
    assert (call.meant(args), call.directory(args)) == (intent, directory)
