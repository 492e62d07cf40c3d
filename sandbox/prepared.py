"""What a caller asks for, and everything that a session needs: the two ends of `prepare`."""

from __future__ import annotations

from sandbox.event import Event
from sandbox.policy.flags import Flags
from sandbox.records import dataclass, replace

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from sandbox.plan.facts import Closure, HostFacts
    from sandbox.plan.spec import Spec
    from sandbox.policy.model import Policy
    from sandbox.preparing import Child
    from sandbox.supply.frozen import Frozen
    from sandbox.supply.lock import Lock
    from sandbox.supply.request import Request

    LockUse = Literal["use", "require", "never", "make"]
    Access = Literal["none", "read", "write"]

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
class Matched:
    """The profile of a command, and what of the command counts."""

    profile: str
    package: str
    """`npm:@scope/name`, `pypi:name` or `oci:name`, without a version."""
    version: str | None
    """The exact version that the command names or that is installed; None where a registry decides."""
    versions: str
    """Those that the profile was proven with, as it spells them; empty: any."""
    access: Access
    """How `paths` are mounted."""
    paths: tuple[str, ...]
    """What is mounted of that which the command's own arguments name, absolute; nothing for `none`.

    Under `write` that is the directory of a file: what writes a file mostly writes beside it too.
    """
    args: tuple[str, ...]
    """The server's own arguments; with `~/` spelt out in `paths`, since its home inside is another one."""
    place: str = ""
    """Where it is installed; nothing where a registry or an image is asked."""

    def respelt(
        self, command: tuple[str, ...], request: Request | None
    ) -> tuple[tuple[str, ...], Request | None]:
        """The command and its request with these arguments."""
        if request is not None:
            before = request.args[: len(request.args) - len(self.args)]
            return command, replace(request, args=(*before, *self.args))
        return (*command[: len(command) - len(self.args)], *self.args), None


@dataclass(frozen=True, slots=True)
class Found:
    """The lock that a start is held to."""

    name: str
    path: str
    sha256: str
    """Of the file's bytes: those that were accepted."""
    resolved: tuple[str, ...]
    """What was asked for, each at its locked version: `name@1.2.3` or `name==1.2.3`."""
    lock: Lock
    """Without its packages, which no start needs: `whole` reads them."""

    def event(self, tree: str) -> Event:
        """What the audit log says of it: which lock held, and the tree that it names for this machine."""
        return Event("lock", {"name": self.name, "file": self.path, "sha256": self.sha256, "tree": tree})


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
