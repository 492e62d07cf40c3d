"""A tier as the seccomp profile that container engines take: the tables of `syscalls`, in their JSON.

The engine's runtime compiles it with libseccomp, which this spelling humours:

- 2.5.4 joins the tails of rules that share comparisons and then jumps into the rules of another family.
  One subtree of three comparisons comes out right, so IPv4 and IPv6, which differ in one bit, are one
  masked comparison.
- Every comparison is masked, whole words too: the plain one looks at the half that the kernel ignores.
- What matches no rule gets the default action, EPERM in every engine: older ones drop `defaultErrnoRet`.
- What is dangerous says so in its comment: `backend/docker/seccomp.py` lets such a call kill where the
  profile of the server wants that. As an error it equals the default, and engines leave it out.
- Refused names are listed although the default refuses them too: runc answers ENOSYS above the newest
  call that a profile names.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.plan.spec import Tier
from sandbox.plan.syscalls import TIERS, Answer, Bits, Rule, Table

ARCHITECTURES = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
"""Each alone: the 32-bit and x32 calls of the same processor are refused."""

TIOCSPGRP = 0x5410
DANGEROUS = "dangerous"
"""The comment of an entry that may kill."""

Entry = dict[str, Any]


def profile(tier: Tier, machine: str, names: Iterable[str]) -> dict[str, Any]:
    """The profile of `tier`; `names` are all calls of `machine`, so that each has its answer."""
    table = TIERS[tier]
    existing = frozenset(names)
    decided = _joined([rule for rule in table.rules if rule.name in existing])
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": [ARCHITECTURES[machine]],
        "syscalls": [
            *_by_name(table, existing),
            *(_by_arguments(rule) for rule in decided if rule.answer is not Answer.REFUSED),
            *_for_init(table),
        ],
    }


def text(tier: Tier, machine: str, names: Iterable[str]) -> str:
    """The profile as an engine takes it after `seccomp=`."""
    return json.dumps(profile(tier, machine, names), separators=(",", ":"))


def _by_name(table: Table, existing: frozenset[str]) -> list[Entry]:
    """One entry an answer, for the names whose arguments do not matter."""
    plain = sorted(existing - {rule.name for rule in table.rules})
    answers = {name: table.answer(name, ()) for name in plain}
    return [
        {"names": [name for name in plain if answers[name] is answer], **_action(answer)}
        for answer in Answer
        if answer in answers.values()
    ]


def _by_arguments(rule: Rule) -> Entry:
    return {"names": [rule.name], **_action(rule.answer), "args": [_test(bits) for bits in rule.tests]}


def _for_init(table: Table) -> list[Entry]:
    """An engine's init wants the foreground, and gives up on any error but that there is no terminal."""
    if table.answer("ioctl", (0, TIOCSPGRP)) is Answer.ALLOW:
        return []
    return [{"names": ["ioctl"], **_error(errno.ENOTTY), "args": [_test(Bits(1, TIOCSPGRP))]}]


def _action(answer: Answer) -> Entry:
    if answer is Answer.ALLOW:
        return {"action": "SCMP_ACT_ALLOW"}
    return _error(answer.errno) | ({"comment": DANGEROUS} if answer is Answer.DANGEROUS else {})


def _error(code: int) -> Entry:
    return {"action": "SCMP_ACT_ERRNO", "errnoRet": code}


def _test(bits: Bits) -> Entry:
    """libseccomp's masked comparison takes the mask first."""
    return {"index": bits.argument, "value": bits.mask, "valueTwo": bits.value, "op": "SCMP_CMP_MASKED_EQ"}


def _joined(rules: Sequence[Rule]) -> list[Rule]:
    """`rules`, where those of three tests whose first differ in one bit alone are one."""
    joined: dict[tuple[object, ...], Rule] = {}
    for rule in rules:
        first, *others = rule.tests
        key = (rule.name, rule.answer, tuple(others)) if len(others) > 1 else (rule,)
        if key not in joined:
            joined[key] = rule
            continue
        free = first.value ^ joined[key].tests[0].value
        if free.bit_count() != 1 or first.mask != joined[key].tests[0].mask:
            raise ValueError(f"`{rule.name}` has families that no mask joins: libseccomp would err")
        either = Bits(first.argument, first.value & ~free, first.mask & ~free)
        joined[key] = Rule(rule.name, (either, *others), rule.answer, rule.why)
    return list(joined.values())
