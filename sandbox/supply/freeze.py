"""A package runner's request becomes a frozen server: found in the store, or built into it once.

Always the registry's package: a program of the same name in a project's `node_modules` is never
taken, though bare npx would prefer it, since the project's tree is not ours to trust.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.places import cache_dir
from sandbox.supply import spec
from sandbox.supply.frozen import Frozen
from sandbox.supply.key import key_of
from sandbox.supply.request import Request
from sandbox.supply.store import Entry, Store, fits

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.plan.image import Image
    from sandbox.supply.job import BuildJob, BuildOutcome, Order


def peek(
    request: Request,
    *,
    environ: Mapping[str, str],
    scripts: Sequence[str] = (),
    image: Image | None = None,
) -> Frozen | None:
    """What `freeze` would reuse; None where it would build."""
    store = _store(environ)
    entry = store.lookup(key_of(request, environ, scripts, image))
    return _frozen(entry, request, store, reused=True) if entry and fits(entry, image) else None


def freeze(
    request: Request,
    *,
    environ: Mapping[str, str],
    cwd: str,
    scripts: Sequence[str] = (),
    refresh: bool = False,
    run_build: Callable[[BuildJob], BuildOutcome],
    progress: Callable[[str], None],
    image: Image | None = None,
    age: float | None = None,
    age_waive: Sequence[str] = (),
) -> Frozen:
    """The frozen server of `request`; built at most once however many ask, and never twice when pinned.

    `image`: the one whose programs run it, where they are not the host's. `age`: in seconds, what a release
    must have at least, but for those waived and those asked for by their version; with one, even 0, the
    registries are asked for the dates, and what is kept already counts only where it was built like that.
    """
    _check_project(request, cwd)
    with told():
        store, key = _store(environ), key_of(request, environ, scripts, image)
        entry = store.lookup(key)
        again = refresh and not request.pinned
        if refresh and not again:
            progress(f"{request.title} is pinned: there is nothing to refresh")
        if age is not None and entry and not again:
            again = not _minded(request, store.tree(entry.digest), age, age_waive)
        if entry and fits(entry, image) and not again:
            with suppress(OSError):  # a store that cannot be written still serves
                store.sweep()
            return _frozen(entry, request, store, reused=True)
        from sandbox.supply.job import Order  # a warm start needs nothing of a build

        order = Order(
            request, environ, cwd, tuple(scripts), run_build, progress, image, age, tuple(age_waive)
        )
        return _cold(order, store, key, stale=entry if again else None)


@contextmanager
def told() -> Iterator[None]:
    """What the disk refuses is an error that names the file."""
    try:
        yield
    except OSError as error:
        where = f": `{error.filename}`" if error.filename else ""
        raise SandboxNotBuilt(
            "store-failed",
            f"the package store failed: {error.strerror or error}{where}",
            hint="check the space and the modes of the cache directory",
        ) from error


def _cold(order: Order, store: Store, key: str, *, stale: Entry | None) -> Frozen:
    """The entry of another start that was faster, the old one for an updated interpreter, or a build."""
    store.prepare()
    store.sweep()
    waiting = f"waiting for another start to build {order.request.title}…"
    asked = time.monotonic_ns()
    with store.lock(key, waiting=lambda: order.progress(waiting)) as waited:
        entry = store.lookup(key)
        # What another start built meanwhile counts; what is to be refreshed does not.
        entry = None if entry == stale else entry
        if entry and fits(entry, order.image):
            return _frozen(entry, order.request, store, reused=True)
        if waited and (failed := store.failure(key, since=asked)):
            raise failed
        from sandbox.supply.build import build, refit

        kept = refit(entry, order.environ) if entry and order.image is None else None
        if kept is not None:
            store.remember(key, kept)
            return _frozen(kept, order.request, store, reused=True)
        _say_local(order)
        store.forget_failure(key)
        try:
            made = build(order, store, key, entry)
        except SandboxNotBuilt as error:
            store.note_failure(key, error)
            raise
        return _frozen(made, order.request, store, reused=False)


def _minded(request: Request, tree: str, age: float, waive: Sequence[str]) -> bool:
    """The tree was resolved with its dates, and nothing in it is too young today."""
    from sandbox.supply.resolved import resolution

    found = resolution(tree)
    exempt = {
        *waive,
        *map(spec.normal, waive),
        *(spec.name_of(each) for each in request.specs if spec.pinned(each)),
    }
    return found is not None and found.aged(time.time() - age, exempt)


def _store(environ: Mapping[str, str]) -> Store:
    store = Store(os.path.join(cache_dir(environ), "store"))
    store.check_owner()
    return store


def _frozen(entry: Entry, request: Request, store: Store, *, reused: bool) -> Frozen:
    program = request.bin or entry.default
    start = entry.starts.get(program) if program else None
    if start is None:
        names = ", ".join(f"`{name}`" for name in entry.starts) or "none"
        what = f"`{program}` is no program of" if program else "no program is the obvious one of"
        chosen = "`npx -p PACKAGE PROGRAM`" if request.ecosystem == "npm" else "`uvx --from PACKAGE PROGRAM`"
        raise SandboxError(
            "no-such-program", f"{what} {request.title}; programs: {names}", hint=f"name one: {chosen}"
        )
    tree, interpreter = store.tree(entry.digest), "" if entry.image else entry.interpreter
    return Frozen((*start, *request.args), tree, interpreter, entry.resolved, entry.digest, reused)


def _check_project(request: Request, cwd: str) -> None:
    """`uv run --with` inside a project would add the project's own environment, which is never frozen."""
    if request.no_project:
        return
    place = os.path.abspath(cwd)
    while not os.path.isfile(os.path.join(place, "pyproject.toml")):
        if place == "/":
            return
        place = os.path.dirname(place)
    raise SandboxError(
        "project-environment",
        f"`uv run` would add the project in `{place}` to the packages, and a project cannot be frozen",
        hint="add `--no-project` before the command, or name the program of the project's own venv",
    )


def _say_local(order: Order) -> None:
    request = order.request
    if request.ecosystem != "npm":
        return
    name = request.bin or spec.npm_name(request.specs[0]).rpartition("/")[2]
    if os.path.lexists(os.path.join(order.cwd, "node_modules", ".bin", name)):
        order.progress(f"`node_modules/.bin/{name}` of this project is not used: the registry's package is")
