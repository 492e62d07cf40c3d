"""Goes back to what was locked before the last update, and remembers the way forward again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox import locks
from sandbox.errors import SandboxError, SandboxNotBuilt, UsageError
from sandbox.prepare import prepare
from sandbox.prepared import Wish
from sandbox.records import dataclass, replace
from sandbox.supply import accepted
from sandbox.supply.lock import Lock
from sandbox.update import diff
from sandbox.update.difference import Difference, Version
from sandbox.update.update import Asked, wish_of


@dataclass(frozen=True, slots=True)
class Way:
    """The lock that is gone back to, and the one that counts until then."""

    path: str
    back: Lock
    now: Lock | None
    """None where its file is not what was accepted: then it is not kept."""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """What becomes another thing by going back, as far as the two locks say."""
        if self.now is None:
            return ()
        found = diff.differences(Version(self.now), Version(self.back))
        return tuple(one for one in found if one.rule not in ("unheard", "machine"))


def way(path: str, environ: Mapping[str, str]) -> Way:
    """What `rollback` would do; an error where nothing was kept, or not as it was accepted."""
    known = accepted.every(environ)
    before = path + accepted.PREVIOUS
    if before not in known:
        name = known[path].name if path in known else path
        raise UsageError("no-previous", f"nothing was locked as `{name}` before", hint="mcp-sandbox update")
    back = locks.whole(locks.read(before, known, environ))
    try:
        now = locks.whole(locks.read(path, known, environ)) if path in known else None
    except SandboxNotBuilt:
        now = None
    return Way(path, back, now)


def require_start(chosen: Way, wish: Wish, progress: Callable[[str], None]) -> Lock:
    """The lock as it starts today: its tree is in the store or built again, its profile is as it is now.

    Raises what a start would, and nothing is changed.
    """
    started = wish_of(chosen.back, Asked(chosen.path, wish, progress, progress))
    lock = granted_as_now(chosen.back, started)
    before = chosen.path + accepted.PREVIOUS
    found = locks.read(before, accepted.every(wish.environ), wish.environ)
    try:
        prepare(started, progress, lock=found)
    except SandboxError as error:
        error.what = f"the version before does not start: {error.what}"
        raise
    return lock


def granted_as_now(lock: Lock, wish: Wish) -> Lock:
    """The same under the profile as it is: going back is about what starts, not about what it may do."""
    from sandbox.choice import choose
    from sandbox.locked import plain_policy
    from sandbox.supply.granted import profile_digest

    policy = plain_policy(choose(wish), wish)
    return replace(lock, profile=policy.name, profile_digest=profile_digest(policy))


def go(chosen: Way, lock: Lock, environ: Mapping[str, str]) -> None:
    """The earlier lock counts from now on, and the later one waits in its place."""
    accepted.put(chosen.path, lock, environ)
    if chosen.now is not None:
        accepted.put(chosen.path + accepted.PREVIOUS, chosen.now, environ)
