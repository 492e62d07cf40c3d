"""The bridge's filter refuses what it names, and says of all else what the tier says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sandbox.backend.native import narrowed, seccomp
from sandbox.errors import CannotEnforce
from sandbox.plan.syscalls import MACHINES, NEWEST
from tests.plan import bpf
from tests.plan.test_syscalls import numbers, probes

REFUSED, ABSENT = bpf.ERRNO | 1, bpf.ERRNO | 38
THREAD = 0x10000
REMOTE = (*narrowed.PROGRAMS, *narrowed.SERVING)
ARGUMENTS = ((0,) * 6, (2**64 - 1,) * 6)


def answers(program: bpf.Program, machine: str, number: int, name: str, names: Sequence[str]) -> list[int]:
    """What is said of a call; of `names`, with every argument that could matter."""
    tried = (*ARGUMENTS, *probes(name)) if name in names else ARGUMENTS
    return [bpf.run(program, bpf.ARCH[machine], number, args)[0] for args in tried]


def both(machine: str, made: bytes) -> tuple[bpf.Program, bpf.Program, dict[int, str]]:
    names = {number: name for name, number in numbers(machine).items()}
    return bpf.decode(seccomp.load("net", machine)), bpf.decode(made), names


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_named_is_refused_and_all_else_is_as_before(machine: str) -> None:
    made = narrowed.without(seccomp.load("net", machine), REMOTE, machine)
    before, after, known = both(machine, made)
    for number in range(NEWEST + 1):
        name = known.get(number, "")
        was, said = (answers(one, machine, number, name, REMOTE) for one in (before, after))
        assert said == ([REFUSED] * len(was) if name in REMOTE else was), name


NAMED = [
    pytest.param(machine, names, id=f"{machine} {which}")
    for machine, which, names in (
        (MACHINES[0], "inside", narrowed.INSIDE),
        (MACHINES[1], "inside", narrowed.INSIDE),
        (MACHINES[0], "outside", narrowed.OUTSIDE),
    )
]


@pytest.mark.parametrize(("machine", "names"), NAMED)
def test_only_what_is_named_is_as_before(machine: str, names: tuple[str, ...]) -> None:
    before, after, known = both(machine, narrowed.only(seccomp.load("net", machine), names, machine))
    for number in range(NEWEST + 1):
        name = known.get(number, "")
        was, said = (answers(one, machine, number, name, names) for one in (before, after))
        if name == "clone":
            continue
        wanted = [ABSENT] * len(was) if name == "clone3" else [REFUSED] * len(was)
        assert said == (was if name in names else wanted), name


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("flags", [0, 17, THREAD, 0x3D0F00, 0x3D0F00 & ~THREAD, 0x10000000, 1 << 40])
def test_threads_are_made_as_before_and_no_process(machine: str, flags: int) -> None:
    before, after, _ = both(machine, narrowed.only(seccomp.load("net", machine), narrowed.OUTSIDE, machine))
    number = numbers(machine)["clone"]
    was, said = (bpf.run(one, bpf.ARCH[machine], number, (flags,))[0] for one in (before, after))
    assert said == (was if flags & THREAD else REFUSED)


@pytest.mark.parametrize("names", [narrowed.INSIDE, narrowed.OUTSIDE], ids=["inside", "outside"])
def test_nothing_of_the_hosts_is_opened_started_or_signalled(names: tuple[str, ...]) -> None:
    kept = {"socket", "connect"} if names == narrowed.INSIDE else set()
    forbidden = {*narrowed.PROGRAMS, *narrowed.SERVING, "socket", "connect", "open", "openat", "openat2"}
    assert {*names} & forbidden == kept


@pytest.mark.parametrize("machine", MACHINES)
def test_a_name_that_no_machine_has_is_a_mistake_of_ours(machine: str) -> None:
    """x86_64 has them all; a newer machine lacks the calls that others took the place of."""
    missing = {*narrowed.INSIDE, *REMOTE} - set(numbers(machine))
    assert missing == set() if machine == "x86_64" else "connect" not in missing


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_architecture_ends_the_bridge(machine: str) -> None:
    after = bpf.decode(narrowed.only(seccomp.load("net", machine), narrowed.OUTSIDE, machine))
    for name, arch in bpf.ARCH.items():
        if name != machine:
            assert bpf.run(after, arch, 0, (0,) * 6)[0] == bpf.KILL_PROCESS


@pytest.mark.parametrize("bpf_text", [b"", b"\0" * 8, b"\0" * 64], ids=["nothing", "short", "zeros"])
def test_what_is_no_filter_of_ours_is_refused(bpf_text: bytes) -> None:
    with pytest.raises(CannotEnforce):
        narrowed.only(bpf_text, narrowed.INSIDE, "x86_64")


@pytest.mark.parametrize("machine", MACHINES)
def test_what_may_narrow_itself_may_do_nothing_else_besides(machine: str) -> None:
    before, after, known = both(machine, narrowed.narrowing(seccomp.load("net", machine), machine))
    for number in range(NEWEST + 1):
        name = known.get(number, "")
        was, said = (answers(one, machine, number, name, ()) for one in (before, after))
        assert said == ([bpf.ALLOW] * len(was) if name == "seccomp" else was), name
