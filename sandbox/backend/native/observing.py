"""A filter that tells its listener of every call that names a file, and makes the same calls as before.

Of such a call the listener is told only where the tier makes it (`OBSERVED`), so that letting it go on
grants nothing: the tests of its arguments, all of registers, stand here once more before the filter's own.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sandbox.backend.native.notify import numbers
from sandbox.backend.native.seccomp import FOREIGN, OBSERVED, RET_ALLOW, RET_USER_NOTIF, UNASKED
from sandbox.errors import CannotEnforce
from sandbox.plan.file_calls import observable
from sandbox.plan.spec import Tier
from sandbox.plan.syscalls import Rule

Instruction = tuple[int, int, int, int]
_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NUMBER, _FIRST_ARGUMENT, _ARGUMENT_SIZE = 0, 16, 8
_LOAD_NUMBER: Instruction = (_LOAD, 0, 0, _NUMBER)
_TELL: Instruction = (_RETURN, 0, 0, RET_USER_NOTIF | OBSERVED)
_LINE = struct.Struct("<HBBI")
_HEAD = 4
"""Instructions of a shipped filter's head: whose machine's call it is, and its number."""


def observing(bpf: bytes, tier: Tier, machine: str) -> bytes:
    """The listened filter `bpf` of `tier`, which asks before it makes a call that names a file."""
    head, search = bpf[: _HEAD * _LINE.size], bpf[_HEAD * _LINE.size :]
    lines = list(_LINE.iter_unpack(head))
    if lines[2:] != [(_RETURN, 0, 0, RET_USER_NOTIF | FOREIGN), _LOAD_NUMBER]:
        raise CannotEnforce("not-observable", "the shipped filter does not begin as it should")
    known = numbers(machine)
    calls = [(known[name], rules) for name, rules in observable(tier).items() if name in known]
    first = _started(known["execveat"])
    told = [line for number, rules in sorted(calls, key=lambda one: one[0]) for line in _call(number, rules)]
    return head + b"".join(_LINE.pack(*line) for line in (*first, *told)) + search


def _started(number: int) -> list[Instruction]:
    """The one execveat(2) that is made: of an absolute path, as any execve(2) would be."""
    directory = (_LOAD, 0, 0, _FIRST_ARGUMENT)
    return [
        (_EQUAL, 0, 4, number),
        directory,
        (_EQUAL, 0, 1, UNASKED),
        (_RETURN, 0, 0, RET_ALLOW),
        _LOAD_NUMBER,
    ]


def _call(number: int, rules: Sequence[Rule]) -> list[Instruction]:
    """Tells of call `number` where one of `rules` holds, or always; else the filter goes on as it was."""
    block = [line for rule in rules for line in _rule(rule)] if rules else [_TELL]
    rest = [_LOAD_NUMBER] if rules else []
    return [(_EQUAL, 0, len(block) + len(rest), number), *block, *rest]


def _rule(rule: Rule) -> list[Instruction]:
    code = [_TELL]
    for test in reversed(rule.tests):
        load = (_LOAD, 0, 0, _FIRST_ARGUMENT + _ARGUMENT_SIZE * test.argument)
        code = [load, (_AND, 0, 0, test.mask), (_EQUAL, 0, len(code), test.value), *code]
    return code
