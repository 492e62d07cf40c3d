"""What a call that the filter did not make was: forbidden for what it attacks, or merely not needed."""

from __future__ import annotations

from collections.abc import Sequence
from errno import ENOSYS, EPERM

from sandbox.plan.spec import Tier
from sandbox.plan.syscalls import MACHINES, TIERS, Answer, Table
from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`error` is what the caller sees, if it lives to see it."""

    dangerous: bool
    error: int
    why: str


def found(tier: Tier, machine: str, name: str, args: Sequence[int]) -> Finding:
    """What `tier` says of `name(args)`, called by the numbers of `machine`; never that it is allowed."""
    if machine not in MACHINES:
        return Finding(True, ENOSYS if machine == "x32" else EPERM, _FOREIGN)
    answer, why = _answer(TIERS[tier], name, args)
    return Finding(answer is Answer.DANGEROUS, answer.errno or EPERM, why)


def killed_for(tier: Tier, machine: str, name: str) -> str:
    """Why a call whose arguments nobody knows ended its process."""
    if machine not in MACHINES:
        return _FOREIGN
    groups = (group for group in TIERS[tier].dangerous if name in group.names)
    return next((group.why for group in groups), _SO)


_FOREIGN = "calls by the numbers of another architecture slip past every rule of this one"
_SO = "with these arguments it attacks the kernel, the host or other processes"
_NOT_SO = "not with these arguments"
_NOT_NEEDED = "not needed by any server that was seen"


def _answer(table: Table, name: str, args: Sequence[int]) -> tuple[Answer, str]:
    rules = [rule for rule in table.rules if rule.name == name]
    for rule in rules:
        if all(test.holds(args) for test in rule.tests):
            return rule.answer, rule.why
    for group in table.dangerous:
        if name in group.names:
            return Answer.DANGEROUS, group.why
    return Answer.REFUSED, _NOT_SO if rules else _NOT_NEEDED
