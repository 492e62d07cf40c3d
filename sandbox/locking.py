"""Makes a lock: resolve, build, judge, look at the server; nothing is accepted here."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from sandbox.choice import Choice, choose
from sandbox.errors import SandboxNotBuilt, UsageError
from sandbox.host.closure import language_of
from sandbox.host.uvrun import is_uv_run
from sandbox.lock_keys import interpreted, keys, kind, launches, own_image, uv_operand
from sandbox.locked import NONE_NEEDED, held_policy, without_logins
from sandbox.looked import Grants, Looked, NotLooked, look
from sandbox.plan.image import Image
from sandbox.prepare import prepare
from sandbox.prepared import Prepared, Wish
from sandbox.records import dataclass, replace
from sandbox.supply import job as supply
from sandbox.supply.findings import Judged
from sandbox.supply.fits import kind_of
from sandbox.supply.granted import profile_digest
from sandbox.supply.job import BuildJob, BuildOutcome
from sandbox.supply.key import key_of
from sandbox.supply.lock import Allowed, Lock, Package, Tree
from sandbox.supply.lock_text import NAME
from sandbox.supply.npm_lock import without_integrity
from sandbox.supply.request import Request
from sandbox.supply.resolved import Resolution, resolution
from sandbox.supply.shell import unwrapped
from sandbox.supply.store import environment_store

_VALUED = frozenset(
    "-r --require --import --loader --experimental-loader -C --conditions --env-file -W -X -o -O".split()
)
"""Options of interpreters whose value may be the next word."""
UNRESOLVED = "the versions and hashes of its packages are not known: its tree was built before they were kept"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be locked, and who is told of the work."""

    wish: Wish
    progress: Callable[[str], None]
    name: str = ""
    """What the lock is called; empty: as the server is."""
    waive: tuple[str, ...] = ()
    """`RULE:NAME` of findings that are to be passed over."""
    unseen: bool = False
    """The server is not started to be looked at: its lists are no part of the lock."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A lock that nobody has accepted yet, and what is known about it."""

    lock: Lock
    prepared: Prepared
    judged: Judged
    looked: Looked | None = None
    unrun: tuple[str, ...] = ()
    """Packages whose install scripts did not run."""


def propose(order: Order) -> Proposal:
    """The lock of what would start now; findings that a lock is refused for are the caller's to refuse by."""
    younger = tuple(one.removeprefix("age:") for one in order.waive if one.startswith("age:"))
    wish = replace(order.wish, locks="make", age_waive=younger)
    chosen = choose(wish)
    if not keys(chosen, wish):
        raise UsageError("nothing-to-lock", NONE_NEEDED, hint="mcp-sandbox run --help")
    prepared = prepare(wish, order.progress)
    lock, found = _built(_bare(order, chosen, wish), chosen, prepared)
    judged = _judged(order, prepared, found)
    lock = _with_judgement(lock, judged)
    unrun = found.unrun if found is not None else ()
    if judged.refused or order.unseen:
        return Proposal(lock, prepared, judged, None, unrun)
    lock, looked = looked_at(lock, prepared, order.progress)
    return Proposal(lock, prepared, judged, looked, unrun)


# --- what it is -------------------------------------------------------------------------------------


def _bare(order: Order, chosen: Choice, wish: Wish) -> Lock:
    """What was asked for, by whom, and under which profile."""
    policy = held_policy(chosen, wish)
    request = chosen.request
    return Lock(
        name=_name(order.name or _called(chosen, wish)),
        kind=kind(chosen),
        asked=_asked(chosen),
        command=_command(chosen, wish),
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        by=login_name(),
        python=(request.python or "") if request else "",
        options=without_logins(request.options) if request else (),
        bundle=f"sha256:{chosen.bundle.sha256}" if chosen.bundle else "",
        unchecked=_of_bundle(chosen),
        profile=policy.name,
        profile_digest=profile_digest(policy),
        keys=keys(chosen, wish),
    )


def _of_bundle(chosen: Choice) -> tuple[str, ...]:
    """What is not known of who made a bundle."""
    if chosen.bundle is None:
        return ()
    from sandbox import bundles

    return bundles.unchecked(chosen.bundle, chosen.policy)


def _called(chosen: Choice, wish: Wish) -> str:
    """As the server is, but for a script: that is not called as its interpreter."""
    if wish.name or not wish.command or kind(chosen) != "program":
        return chosen.name
    words = unwrapped(chosen.command)
    given = interpreted(words, wish.cwd).target if language_of(words[0]) else ""
    return os.path.splitext(os.path.basename(given))[0] or chosen.name


def _name(wanted: str) -> str:
    """A name that a file can have."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in wanted)[:64]
    safe = safe.lstrip("._-")
    if not NAME.fullmatch(safe):
        raise UsageError("no-name", f"`{wanted!a}` is no name for a lock", hint="give it one: `--name NAME`")
    return safe


def login_name() -> str:
    """Who this user is to the machine; its number where the machine has no name for it."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _asked(chosen: Choice) -> tuple[str, ...]:
    if chosen.request is not None:
        return chosen.request.specs
    if chosen.bundle is not None:
        return (os.path.basename(chosen.bundle.path),)
    return (chosen.policy.server.image or "",) if own_image(chosen) else chosen.command[:1]


def _command(chosen: Choice, wish: Wish) -> tuple[str, ...]:
    """The command without the server's own arguments and variables, of which a lock keeps nothing."""
    words = unwrapped(chosen.instead or wish.command or chosen.policy.server.command or chosen.command)
    request = chosen.request
    if chosen.bundle is not None:
        return words[:1]
    if request is not None:
        return without_logins(words[: len(words) - len(request.args)])
    if own_image(chosen):
        return ("docker", "run", "-i", "--rm", chosen.policy.server.image or "")
    return words[: _ahead(words, wish.cwd)]


def _ahead(words: tuple[str, ...], cwd: str) -> int:
    """How many words say what it is: the program, and what an interpreter is to run."""
    if launches(words[0]):
        raise UsageError(
            "nothing-to-lock",
            f"`{words[0]}` only starts another program, which its lock would not hold",
            hint="name the program itself; variables belong in the profile's `[env] set`",
        )
    if is_uv_run(words):
        return uv_operand(words)
    if not language_of(words[0]):
        return 1
    given = interpreted(words, cwd)
    odd = sorted(set(given.options) & _VALUED)
    if given.target and not given.module and not given.file:
        raise UsageError(
            "nothing-to-lock",
            f"what `{words[0]}` is to run is no file that a lock could hold",
            hint="put it into a script, and give its path",
        )
    if odd:
        raise UsageError(
            "nothing-to-lock",
            f"`{odd[0]}` of `{words[0]}` takes the next word, so what it is to run is not plain to see",
            hint=f"join them, such as `{odd[0]}=VALUE`, or leave it out",
        )
    return given.count


# --- what it is made of ----------------------------------------------------------------------------


def _built(lock: Lock, chosen: Choice, prepared: Prepared) -> tuple[Lock, Resolution | None]:
    """With its trees and packages, its image, or its places on this machine."""
    environ, image = prepared.wish.environ, prepared.spec.image
    if image is not None:
        from sandbox import image_locks

        lock = replace(lock, image=image_locks.of(image, environ))
    if lock.kind == "oci":
        return _signed(lock, prepared), None
    if lock.kind == "program":
        from sandbox import program_locks

        held = program_locks.places(prepared.closure, environ)
        return replace(lock, places=held, unchecked=_named_files(chosen, lock, prepared)), None
    if prepared.frozen is None:
        return lock, None
    if chosen.request is None:
        return replace(lock, trees=(_bundled(prepared),)), None
    tree, at = _tree(chosen.request, prepared, image)
    found = resolution(at)
    if found is None:
        raise SandboxNotBuilt("not-resolved", UNRESOLVED, hint="lock it with `--refresh`")
    return replace(
        lock,
        trees=(tree,),
        packages=_exact(found),
        scripts=tuple(Allowed(f"scripts {name}", lock.by) for name in found.ran),
        unchecked=(*lock.unchecked, *found.unchecked),
    ), found


def _named_files(chosen: Choice, lock: Lock, prepared: Prepared) -> tuple[str, ...]:
    """The files that its arguments name, such as an archive of classes: no place of the lock."""
    cwd = prepared.wish.cwd
    rest = chosen.command[len(lock.command) :]
    found = [word for word in rest if os.path.isfile(os.path.join(cwd, word))]
    return (f"its arguments name {', '.join(found[:8])}, which may be changed",) if found else ()


def _signed(lock: Lock, prepared: Prepared) -> Lock:
    """With who signed the image, as the profile asks for it."""
    from sandbox.image_signatures import judged

    assert lock.image is not None  # noqa: S101 - the caller has asked the engine for it
    wish = prepared.wish
    found = judged(lock.image, prepared.policy, wish.environ, wish.cwd)
    return replace(
        lock,
        image=replace(lock.image, provenance=found.provenance),
        unchecked=(*lock.unchecked, *found.unchecked),
    )


def _exact(found: Resolution) -> tuple[Package, ...]:
    """Every package, if each can be told from any other by its bytes."""
    for one in without_integrity(found.packages):
        raise SandboxNotBuilt(
            "no-integrity",
            f"`{one.name}` comes with no hash of its registry, so nothing says that it stays what it is",
            rule="a lock names every package by its bytes",
        )
    return found.packages


def _tree(request: Request, prepared: Prepared, image: Image | None) -> tuple[Tree, str]:
    """The tree of its packages, and where it is."""
    from sandbox.supply.locked import of_frozen

    store = environment_store(prepared.wish.environ)
    scripts = prepared.policy.supply.scripts
    entry = store.lookup(key_of(request, prepared.wish.environ, scripts, image))
    frozen = prepared.frozen
    if entry is None or frozen is None or entry.digest != frozen.digest:
        raise SandboxNotBuilt(
            "built-meanwhile", f"another start has built {request.title} anew meanwhile", hint="lock it again"
        )
    return of_frozen(store, entry, kind_of(entry.abi, image)), store.tree(entry.digest)


def _bundled(prepared: Prepared) -> Tree:
    """An unpacked bundle is the same on every machine of this platform."""
    from sandbox.supply.locked import measured

    frozen = prepared.frozen
    assert frozen is not None  # noqa: S101 - the caller has looked
    files, size = measured(frozen.tree)
    return Tree("bundle", frozen.digest, files, size, ())


# --- what is known of it ---------------------------------------------------------------------------


def _judged(order: Order, prepared: Prepared, found: Resolution | None) -> Judged:
    if found is None or prepared.request is None:
        return Judged()
    from sandbox.judging import judged

    return judged(
        _supply_order(order, prepared, prepared.request), found, prepared.policy.supply, order.waive
    )


def _supply_order(order: Order, prepared: Prepared, request: Request) -> supply.Order:
    wish, scripts = prepared.wish, prepared.policy.supply.scripts
    run = _build(prepared, order.progress)
    return supply.Order(request, wish.environ, wish.cwd, scripts, run, order.progress, prepared.spec.image)


def _build(prepared: Prepared, note: Callable[[str], None]) -> Callable[[BuildJob], BuildOutcome]:
    """What runs one more job, as the tree itself was built."""
    policy, facts, environ = prepared.policy, prepared.facts, prepared.wish.environ
    if prepared.spec.backend == "native":
        from sandbox.build import builder

        return builder(facts, environ, policy.supply.hosts, note)
    from sandbox import container_build, containers

    place = containers.container(policy, facts, prepared.closure, prepared.request, environ)
    return container_build.builder(facts, place, environ, policy.supply.hosts, note)


def _with_judgement(lock: Lock, judged: Judged) -> Lock:
    proven = {(one.name, one.version): one.words for one in judged.provenance}
    packages = tuple(
        replace(one, provenance=proven.get((one.name, one.version), one.provenance)) for one in lock.packages
    )
    waived = tuple(Allowed(one, lock.by) for one in judged.waived)
    unchecked = tuple(dict.fromkeys((*lock.unchecked, *judged.unchecked)))
    return replace(lock, packages=packages, waived=waived, unchecked=unchecked)


def looked_at(
    lock: Lock, prepared: Prepared, progress: Callable[[str], None], grants: Grants = "as-run"
) -> tuple[Lock, Looked | None]:
    """With the lists that the server gives when it is started, contained; where it gives none, it says so."""
    try:
        seen = look(prepared, progress, grants=grants)
    except NotLooked as error:
        what = f"its lists were not read: {error.what}"
        return replace(lock, unchecked=(*lock.unchecked, what)), None
    unread = tuple(f"the list `{method}` was not read to its end" for method in seen.cut)
    return replace(
        lock,
        server=seen.server,
        protocol=seen.protocol,
        pins=seen.pins,
        wants=seen.wants,
        unchecked=(*lock.unchecked, *unread),
    ), seen
