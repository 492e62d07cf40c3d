"""Which system calls name a file, and what each means to do with it: what `learn` has observed (P)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, Literal

from sandbox.plan.spec import Tier
from sandbox.plan.syscalls import TIERS, Answer, Rule
from sandbox.records import dataclass

Intent = Literal["look", "read", "start", "write"]
_O_ACCMODE, _O_CREAT, _O_TRUNC = 0o3, 0o100, 0o1000
_UNSIGNED, _SIGN = 1 << 32, 1 << 31
AT_FDCWD: Final = -100


@dataclass(frozen=True, slots=True)
class FileCall:
    """Where the path stands among the arguments; `at`: the directory's descriptor, `flags`: open's own."""

    path: int
    at: int | None = None
    flags: int | None = None
    intent: Intent = "look"

    def meant(self, args: Sequence[int]) -> Intent:
        """What this call is for."""
        if self.flags is None:
            return self.intent
        flags = args[self.flags]
        return "write" if flags & _O_ACCMODE or flags & (_O_CREAT | _O_TRUNC) else "read"

    def directory(self, args: Sequence[int]) -> int:
        """The descriptor that a relative path begins at."""
        if self.at is None:
            return AT_FDCWD
        number = args[self.at] % _UNSIGNED
        return number - _UNSIGNED if number & _SIGN else number


CALLS: Final[Mapping[str, FileCall]] = {
    "open": FileCall(0, flags=1),
    "openat": FileCall(1, at=0, flags=2),
    "creat": FileCall(0, intent="write"),
    "execve": FileCall(0, intent="start"),
    "stat": FileCall(0),
    "lstat": FileCall(0),
    "newfstatat": FileCall(1, at=0),
    "statx": FileCall(1, at=0),
    "access": FileCall(0),
    "faccessat": FileCall(1, at=0),
    "faccessat2": FileCall(1, at=0),
    "mkdir": FileCall(0, intent="write"),
    "mkdirat": FileCall(1, at=0, intent="write"),
    "rename": FileCall(1, intent="write"),
    "renameat": FileCall(3, at=2, intent="write"),
    "renameat2": FileCall(3, at=2, intent="write"),
    "unlink": FileCall(0, intent="write"),
    "unlinkat": FileCall(1, at=0, intent="write"),
    "rmdir": FileCall(0, intent="write"),
    "truncate": FileCall(0, intent="write"),
    "link": FileCall(1, intent="write"),
    "linkat": FileCall(3, at=2, intent="write"),
    "symlink": FileCall(1, intent="write"),
    "symlinkat": FileCall(2, at=1, intent="write"),
}


@cache
def observable(tier: Tier) -> dict[str, tuple[Rule, ...]]:
    """The calls of `CALLS` that `tier` makes, each with the rules of which one has to hold; none: always."""
    table = TIERS[tier]
    found: dict[str, tuple[Rule, ...]] = {}
    for name in CALLS:
        rules = tuple(rule for rule in table.rules if rule.name == name)
        if any(rule.answer is not Answer.ALLOW for rule in rules):
            continue  # the first rule that holds decides, and one of these refuses
        if rules or table.answers.get(name) is Answer.ALLOW:
            found[name] = rules
    return found


def observed(tier: Tier, name: str, args: Sequence[int]) -> FileCall | None:
    """The call, where it names a file and `tier` makes it as it stands: in registers, not in memory."""
    rules = observable(tier).get(name)
    if rules is None:
        return None
    # As the filter does: of a call with rules one has to hold, and all of these allow.
    made = not rules or any(all(test.holds(args) for test in rule.tests) for rule in rules)
    return CALLS[name] if made else None
