"""What a caller asks for, and everything that a session needs: the two ends of `prepare`."""

from __future__ import annotations

from sandbox.policy.flags import Flags
from sandbox.records import dataclass

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from sandbox.locks import Found
    from sandbox.matching import Matched
    from sandbox.plan.facts import Closure, HostFacts
    from sandbox.plan.spec import Spec
    from sandbox.policy.model import Policy
    from sandbox.preparing import Child
    from sandbox.supply.frozen import Frozen
    from sandbox.supply.request import Request

    LockUse = Literal["use", "require", "never", "make"]

NO_FLAGS = Flags()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller asked for, as typed."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: str
    profile: str | None = None
    flags: Flags = NO_FLAGS
    name: str | None = None
    refresh: bool = False
    backend: str = "auto"
    locks: LockUse = "use"
    """`require`: nothing starts without a lock; `never`: as if there were none; `make`: one is made of what
    starts, which is to be as old as the profile says."""
    age_waive: tuple[str, ...] = ()
    """Packages that a lock which is made may take younger than the profile says."""
    bundle: str = ""
    """`sha256:HEX` of the bundle that is meant, whatever lies at its path by now: one unpacked before."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything a session needs, and what `plan` shows."""

    wish: Wish
    policy: Policy
    facts: HostFacts
    spec: Spec
    closure: Closure
    request: Request | None = None
    frozen: Frozen | None = None
    matched: Matched | None = None
    """The profile that is for the command's package, named or found."""
    lock: Found | None = None
    """What it is held to, already checked."""
    login: Callable[[], str | None] | None = None
    """Of a server that runs elsewhere: the token of a login to it as of now; asked at every start."""
    child: Child | None = None
    """What has prepared it and still checks it (`preparing`): nothing of it runs before its word."""
