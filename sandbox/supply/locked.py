"""A locked package from the store: the very tree that its lock names, for this machine's interpreter."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from functools import partial

from sandbox.digest import sha256
from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.plan.image import Image
from sandbox.records import dataclass, replace
from sandbox.supply import sealed
from sandbox.supply.fits import kind_of
from sandbox.supply.frozen import Frozen
from sandbox.supply.key import place_of
from sandbox.supply.lock import INTERPRETER, Lock, Tree
from sandbox.supply.request import Request
from sandbox.supply.store import Entry, Stamp, Store, environment_store, stamp_of

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.supply.job import BuildJob, BuildOutcome
    from sandbox.supply.programs import Interpreter


@dataclass(frozen=True, slots=True)
class Start:
    """One start from a lock: who asks, and what builds the tree again where the store has it not."""

    lock: Lock
    """Without its packages."""
    path: str
    sha256: str
    """Of the lock's file."""
    resolved: tuple[str, ...]
    request: Request
    environ: Mapping[str, str]
    cwd: str
    whole: Callable[[], Lock]
    run_build: Callable[[BuildJob], BuildOutcome]
    progress: Callable[[str], None]
    image: Image | None = None
    later: Callable[[Callable[[], None]], None] | None = None
    """Given the check of a tree whose interpreter is known, for whoever starts it (`prepare`)."""


def frozen(start: Start, *, build: bool = True) -> Frozen | None:
    """The locked server, its tree verified; None where `build` is not wanted and it would be needed."""
    store = environment_store(start.environ)
    name = f"{key_of(start)}.host.json"
    host = _recalled(start, name)
    tree = start.lock.tree_for(kind_of(host.abi, start.image)) if host is not None else None
    known = host is not None and tree is not None
    if host is None or tree is None:
        host = _host(start)
        tree = _fitting(start, host)
    there = store.hold(tree.digest) and (known or _listed(start, store.tree(tree.digest)))
    if not there:
        if not build:
            return None
        _rebuild(start, tree, store)
    if there and known and start.later is not None:
        start.later(partial(_verify, store, tree.digest))
    else:
        _verify(store, tree.digest)
    if not known:
        _check_starts(start, tree, store.tree(tree.digest))
        sealed.keep(name, json.dumps([host.path, host.abi, *host.stamp, host.image]).encode(), start.environ)
    return replace(_started(start, tree, host, store), reused=there)


def _verify(store: Store, digest: str) -> None:
    from sandbox.supply.verify import verify  # while the sandbox is built, and not before

    verify(store, digest)


def _listed(start: Start, tree: str) -> bool:
    """Whether what lies in the store came from the packages that the lock lists; else it is built from these.

    A lock that came with a project could list one server's packages and name another's tree.
    """
    from sandbox.supply.resolved import came_from

    return came_from(tree, start.whole().packages)


def _check_starts(start: Start, tree: Tree, at: str) -> None:
    """Programs start as the tree itself has it: an option more behind an interpreter can be a program."""
    from sandbox.supply import npm, pypi
    from sandbox.supply.programs import Interpreter

    maker = npm if start.request.ecosystem == "npm" else pypi
    own = maker.starts(at, Interpreter(INTERPRETER, "", ""))
    for name, words in tree.starts:
        if own.get(name) != words:
            raise SandboxNotBuilt(
                "lock-untrue",
                f"`{start.path}` starts `{name}` as `{' '.join(words)}`, and its tree does not",
                rule="a locked program starts as its package has it",
                hint=f"mcp-sandbox update {start.lock.name}",
            )


@dataclass(frozen=True, slots=True)
class Host:
    """The interpreter that starts a lock's trees here, as it was when it was last asked."""

    path: str
    abi: str
    stamp: Stamp
    image: str
    """The id of the image that has it; empty where it is this machine's."""


def _recalled(start: Start, name: str) -> Host | None:
    """The one that is remembered, where it is still the very same file or image."""
    try:
        path, abi, size, changed, image = json.loads(sealed.recall(name, start.environ))
    except (ValueError, TypeError):
        return None
    host = Host(path, abi, (size, changed), image)
    if start.image is not None:
        return host if image == start.image.id else None
    return host if not image and stamp_of(path) == host.stamp else None


def _host(start: Start) -> Host:
    found = _interpreter(start)
    if start.image is not None:
        return Host(found.path, found.abi, (0, 0), start.image.id)
    return Host(found.path, found.abi, stamp_of(found.path) or (0, 0), "")


def key_of(start: Start) -> str:
    """Under which name the store remembers which interpreter starts this lock's trees here."""
    where = place_of(start.request, start.environ, start.image)
    whole = json.dumps(["lock", start.sha256, where])
    return str(sha256(whole.encode()).hexdigest())[:40]


def _interpreter(start: Start) -> Interpreter:
    from sandbox.supply import inside, npm, pypi  # where the store does not remember it

    if start.image is not None:
        return inside.interpreter(start.image, start.request)
    if start.request.ecosystem == "npm":
        return npm.interpreter(start.request, start.environ)
    return pypi.interpreter(start.request, start.environ)


def refuse_elsewhere(lock: Lock, path: str, *, inside: bool) -> None:
    """`lock-other-machine` by the processor alone: which interpreter there is, a start asks."""
    here = kind_of("")
    trees = [tree.fits for tree in lock.trees if tree.fits.startswith(here)]
    if not any(fits.startswith(f"{here}image ") == inside for fits in trees):
        raise _other_machine(lock, path, f"{here}{'image' if inside else ''}".strip())


def _fitting(start: Start, found: Host) -> Tree:
    wanted = kind_of(found.abi, start.image)
    tree = start.lock.tree_for(wanted)
    if tree is None:
        raise _other_machine(start.lock, start.path, wanted)
    return tree


def _other_machine(lock: Lock, path: str, this: str) -> SandboxNotBuilt:
    have = ", ".join(f"`{tree.fits}`" for tree in lock.trees)
    return SandboxNotBuilt(
        "lock-other-machine",
        f"`{path}` was locked for {have}, and this is `{this}`",
        rule="packages install other files for another interpreter",
        hint=f"mcp-sandbox update {lock.name}",
    )


def _rebuild(start: Start, tree: Tree, store: Store) -> None:
    """From what the lock lists, and nothing else."""
    from sandbox.supply.job import Order
    from sandbox.supply.rebuild import rebuild

    scripts = tuple(one.what.removeprefix("scripts ") for one in start.lock.scripts)
    order = Order(
        start.request, start.environ, start.cwd, scripts, start.run_build, start.progress, start.image
    )
    rebuild(order, start.whole(), tree, store)
    store.hold_anew(tree.digest)


def _started(start: Start, tree: Tree, host: Host, store: Store) -> Frozen:
    name = start.request.bin or tree.default
    words = dict(tree.starts).get(name)
    if words is None:
        names = ", ".join(f"`{name}`" for name, _ in tree.starts) or "none"
        raise SandboxError(
            "no-such-program",
            f"`{name or 'the package'}` is no program of `{start.path}`; programs: {names}",
            hint="name one of these in the command",
        )
    argv = tuple(host.path if word == INTERPRETER else word for word in words)
    interpreter = "" if start.image is not None else host.path
    at = store.tree(tree.digest)
    return Frozen((*argv, *start.request.args), at, interpreter, start.resolved, tree.digest, reused=True)


def of_frozen(store: Store, entry: Entry, kind: str) -> Tree:
    """What a lock says of a tree that was just built."""
    interpreter = entry.interpreter
    starts = tuple(
        (name, tuple(INTERPRETER if word == interpreter else word for word in words))
        for name, words in sorted(entry.starts.items())
    )
    files, size = measured(store.tree(entry.digest))
    return Tree(kind, entry.digest, files, size, starts, entry.default or "")


def measured(root: str) -> tuple[int, int]:
    """How many files a tree has, and their bytes together."""
    files = size = 0
    for at, _, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(at, name))
            if stat.S_ISREG(status.st_mode):
                files, size = files + 1, size + status.st_size
    return files, size
