"""The bridge's filter refuses what it names, and says of all else what the tier says."""

from __future__ import annotations

import pytest

from sandbox.backend.native import narrowed, seccomp
from sandbox.errors import CannotEnforce
from sandbox.plan.syscalls import MACHINES, NEWEST
from tests.plan import bpf
from tests.plan.test_syscalls import numbers, probes

REFUSED = bpf.ERRNO | 1
NAMED = [
    pytest.param(machine, names, id=f"{machine} {which}")
    for machine in MACHINES
    for which, names in (("inside", narrowed.INSIDE), ("outside", narrowed.OUTSIDE))
]


@pytest.mark.parametrize(("machine", "names"), NAMED)
def test_what_is_named_is_refused_and_all_else_is_as_before(machine: str, names: tuple[str, ...]) -> None:
    plain = seccomp.load("net", machine)
    before = bpf.decode(plain)
    after = bpf.decode(narrowed.without(plain, names, machine))
    known = {number: name for name, number in numbers(machine).items()}
    for number in range(NEWEST + 1):
        name = known.get(number, "")
        for args in probes(name) if name in names else ((0,) * 6, (2**64 - 1,) * 6):
            said, _ = bpf.run(after, bpf.ARCH[machine], number, args)
            was, _ = bpf.run(before, bpf.ARCH[machine], number, args)
            assert said == (REFUSED if name in names else was), name


@pytest.mark.parametrize("machine", MACHINES)
def test_a_name_that_no_machine_has_is_a_mistake_of_ours(machine: str) -> None:
    """x86_64 has them all; a newer machine lacks the calls that others took the place of."""
    missing = set(narrowed.OUTSIDE) - set(numbers(machine))
    assert missing == set() if machine == "x86_64" else "openat" not in missing


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_of_another_architecture_ends_the_bridge(machine: str) -> None:
    after = bpf.decode(narrowed.without(seccomp.load("net", machine), narrowed.OUTSIDE, machine))
    for name, arch in bpf.ARCH.items():
        if name != machine:
            assert bpf.run(after, arch, 0, (0,) * 6)[0] == bpf.KILL_PROCESS


@pytest.mark.parametrize("bpf_text", [b"", b"\0" * 8, b"\0" * 64], ids=["nothing", "short", "zeros"])
def test_what_is_no_filter_of_ours_is_refused(bpf_text: bytes) -> None:
    with pytest.raises(CannotEnforce):
        narrowed.without(bpf_text, narrowed.INSIDE, "x86_64")
