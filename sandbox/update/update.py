"""Resolves a locked server anew, looks at it as it was and as it would be, and switches once it may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

from sandbox import locked_pins, locks
from sandbox.choice import choose
from sandbox.digest import sha256
from sandbox.errors import SandboxError, UsageError
from sandbox.inspect.canonical import SERVER
from sandbox.inspect.pinned import Pinned
from sandbox.lock_keys import keys
from sandbox.locked import plain_policy
from sandbox.locking import Order, Proposal, looked_at, propose
from sandbox.looked import Grants, Looked, look
from sandbox.prepare import prepare
from sandbox.prepared import Found, Prepared, Wish
from sandbox.records import dataclass, replace
from sandbox.supply import accepted
from sandbox.supply.judged import Finding
from sandbox.supply.lock import Lock, PinLock, key_of
from sandbox.supply.lock_text import spell
from sandbox.supply.store import Store, environment_store
from sandbox.update import diff
from sandbox.update.difference import Difference, Version
from sandbox.update.report import Outcome
from sandbox.update.sources import Side, Source, sources

LARGEST_MANIFEST: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """Which lock is to be brought up to date, and how its server is started to be looked at."""

    path: str
    wish: Wish
    """Its command is the whole line; empty: the lock's own, without the server's arguments."""
    progress: Callable[[str], None]
    note: Callable[[str], None]
    """What a session of ours says."""
    waive: tuple[str, ...] = ()
    grants: Grants = "none"
    """Under which of its grants both versions are looked at: nobody has agreed to the new one yet."""
    switches: Literal["on-yes", "never"] = "on-yes"
    """`never`: it is only looked, contained, and so at a lock too that nobody has accepted."""

    @property
    def environ(self) -> Mapping[str, str]:
        """The caller's."""
        return self.wish.environ


@dataclass(frozen=True, slots=True)
class Update:
    """What came of it: what differs, and the lock that a yes puts in the place of the old one."""

    outcome: Outcome
    found: Found
    prepared: Prepared
    pinned: Pinned
    looked: Looked | None = None
    refused: tuple[Finding, ...] = ()
    """What the new lock is refused for, whatever a person says."""
    hidden: bool = False
    """Without its grants the locked version lists something else than when it was locked."""
    same: bool = False
    """Nothing that starts is another: there is nothing to switch to."""

    @property
    def unseen(self) -> bool:
        """The lock names lists, and nobody saw those of the new version: it would be held to none."""
        return bool(self.outcome.old.pins) and self.looked is None and not self.same

    @property
    def digest(self) -> str:
        """The same for the same update, whenever it is made: what a yes is given to."""
        lock = replace(self.outcome.new, made="", by="", waived=(), scripts=())
        return str(sha256(spell(lock).encode()).hexdigest())


def update(asked: Asked) -> Update:
    """What would become of the lock; nothing but the store is changed."""
    found = opened(asked)
    old = locks.whole(found)
    wish = wish_of(old, asked)
    order = Order(replace(wish, refresh=True), asked.progress, old.name, asked.waive, unseen=True)
    _require_same_server(old, wish)
    first = propose(order)
    if diff.same(old, diff.merged(old, first.lock)):
        return _unchanged(asked, found, old, first)
    if carried := _carried(old, first):
        first = propose(replace(order, wish=wish, waive=(*asked.waive, *carried)))
    lock, looked = first.lock, None
    if not first.judged.refused:
        lock, looked = looked_at(lock, first.prepared, asked.note, asked.grants)
    return _compared(asked, found, old, replace(first, lock=lock, looked=looked), wish)


def opened(asked: Asked) -> Found:
    """The lock as it was accepted; for a mere look, as its project has it."""
    known = accepted.every(asked.environ)
    if asked.path in known:
        return locks.read(asked.path, known, asked.environ)
    if asked.switches == "never":
        raw = accepted.content(asked.path)
        return locks.brief(asked.path, raw, accepted.digest(raw))
    raise UsageError(
        "untrusted-lock",
        f"`{asked.path}` is not trusted yet",
        rule="a project's own locks are used only after `mcp-sandbox trust` at a terminal",
        hint=f"mcp-sandbox trust {locks.quoted(asked.path)}",
    )


def wish_of(lock: Lock, asked: Asked) -> Wish:
    """How the server of a lock is started: its profile alone, or its command under the profile of then."""
    wish = replace(asked.wish, name=None, refresh=False, locks="never")
    if not wish.command:
        if key_of("profile", (lock.profile,)) in lock.keys:
            return replace(wish, profile=wish.profile or lock.profile)
        described = next((key for key in lock.keys if key.startswith("described ")), "")
        wish = replace(wish, command=(described.removeprefix("described "),) if described else lock.command)
    if wish.profile is not None or plain_policy(choose(wish), wish).name == lock.profile:
        return wish
    return replace(wish, profile=lock.profile)


def _require_same_server(old: Lock, wish: Wish) -> None:
    """Before anything is built: another server has, or gets, a lock of its own."""
    if set(old.keys).isdisjoint(keys(choose(wish), wish)):
        what = f"the lock `{old.name}` is for {' '.join(old.command)}, which this is not"
        raise UsageError("another-server", what, hint="mcp-sandbox lock --list")


def _carried(old: Lock, new: Proposal) -> tuple[str, ...]:
    """What was passed over by name holds on for the very versions for which it was."""
    waived = {one.what for one in old.waived}
    kept = {(one.name, one.version) for one in old.packages}
    return tuple(
        f"{one.rule}:{one.package}"
        for one in new.judged.refused
        if f"{one.rule} {one.package}" in waived and (one.package, one.version) in kept
    )


def _unchanged(asked: Asked, found: Found, old: Lock, new: Proposal) -> Update:
    """Nothing to start is another; what is known against it by now is said all the same."""
    carried = _carried(old, new)
    refused = tuple(one for one in new.judged.refused if f"{one.rule}:{one.package}" not in carried)
    outcome = Outcome(old.name, asked.path, old, old, tuple(map(_doubt, refused)))
    return Update(outcome, found, new.prepared, Pinned(old.name), None, refused, same=True)


def _doubt(one: Finding) -> Difference:
    words = f"{one.rule}: {one.package} {one.version}: {one.what}"
    level = "error" if one.strength == "refuse" else "warning"
    return Difference("doubt", "added", one.package, None, one.rule, level, words)  # type: ignore[arg-type]


# --- both versions ---------------------------------------------------------------------------------------


def _compared(asked: Asked, found: Found, old: Lock, new: Proposal, wish: Wish) -> Update:
    store, lock = environment_store(asked.environ), diff.merged(old, new.lock)
    tree = next(iter(new.lock.trees), None)
    fits = tree.fits if tree is not None else ""
    now = Version(lock, new.looked, _manifest(lock, fits, store), new.prepared.spec.syscalls)
    before = _before(asked, found, old, wish)
    before = replace(before, manifest=_manifest(old, fits, store))
    differences = (*map(_doubt, new.judged.findings), *diff.differences(before, now))
    outcome = Outcome(old.name, asked.path, old, lock, differences, _sources(before, now, store))
    seen = before.looked.pins if before.looked is not None else ()
    hidden = asked.grants == "none" and _lists(old.pins) != _lists(seen)
    pinned = diff.pinned(before, now)
    return Update(outcome, found, new.prepared, pinned, new.looked, new.judged.refused, hidden)


def _lists(pins: Iterable[PinLock]) -> set[tuple[str, str, str]]:
    """What may depend on grants: some servers list what their token may do."""
    return {(one.kind, one.key, one.digest) for one in pins if one.kind != SERVER}


def _before(asked: Asked, found: Found, old: Lock, wish: Wish) -> Version:
    """The locked version as it is today; where it does not start, what its lock says of it."""
    try:
        # A bundle's file is the new one by now: what was locked of it is in the store.
        prepared = prepare(replace(wish, bundle=old.bundle), asked.progress, lock=found)
        return Version(old, look(prepared, asked.note, grants=asked.grants), tier=prepared.spec.syscalls)
    except SandboxError as error:
        asked.progress(f"the locked version could not be looked at: {error.line()}")
        return Version(old)


def _manifest(lock: Lock, fits: str, store: Store) -> bytes | None:
    """The list of its tree for this machine, where the store has it."""
    tree = lock.tree_for(fits)
    if tree is None:
        return None
    try:
        with open(f"{store.place(tree.digest)}/manifest", "rb") as file:
            content = file.read(LARGEST_MANIFEST + 1)
    except OSError:
        return None
    return content if sha256(content).hexdigest() == tree.digest else None


def _sources(before: Version, now: Version, store: Store) -> tuple[Source, ...]:
    if before.manifest is None or now.manifest is None:
        return ()
    old, new = (
        Side(one.lock, store.tree(sha256(one.manifest).hexdigest()), one.manifest)
        for one in (before, now)
        if one.manifest is not None
    )
    return sources(old, new)


# --- the switch ------------------------------------------------------------------------------------------


def switch(made: Update, environ: Mapping[str, str]) -> None:
    """From now on the new lock counts, and `rollback` goes back to the old one; at once or not at all."""
    path, old = made.outcome.path, locks.whole(made.found)
    accepted.put(path + accepted.PREVIOUS, old, environ)
    accepted.put(path, made.outcome.new, environ)
    if made.looked is not None:
        remember(made, made.looked, environ)


def remember(made: Update, looked: Looked, environ: Mapping[str, str]) -> None:
    """For `approve`, should the server differ from its lock one day; it can do without."""
    try:
        locked_pins.remember(made.outcome.name, environ, made.outcome.new.pins, looked.items)
    except OSError:
        return
