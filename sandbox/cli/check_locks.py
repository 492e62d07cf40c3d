"""`mcp-sandbox check --deep`: every byte that a lock holds is read, wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from shlex import quote

from sandbox.errors import ProfileError, SandboxError, SandboxNotBuilt
from sandbox.locks import Here, here
from sandbox.supply.lock import Lock


def chosen(names: Sequence[str]) -> list[Here]:
    """The locks that count here, or those of them that are called so."""
    return [one for one in here(os.environ, os.getcwd()) if not names or one.name in names]


def findings(one: Here) -> list[dict[str, str]]:
    """Everything that a start would be refused for, and what only a full look shows."""
    if one.lock is None or one.fault:
        what = f"`{one.path}` would not start: {one.fault}"
        mend = f"trust {quote(one.path)}" if one.lock is not None else f"lock --remove {quote(one.name)}"
        return [{"code": one.fault, "what": what, "rule": "", "hint": f"mcp-sandbox {mend}"}]
    checks = (*_checks(one.lock), lambda: _advised(one.name, one.lock))
    return [found for check in checks if (found := _failed(check))]


def _failed(check: Callable[[], None]) -> dict[str, str]:
    try:
        check()
    except SandboxError as error:
        return {"code": error.code, "what": error.what, "rule": error.rule, "hint": error.hint}
    return {}


def _checks(lock: Lock) -> Iterator[Callable[[], None]]:
    """Trees of other kinds of machines are in no store here; of those that are, every file."""
    from sandbox.supply.store import environment_store
    from sandbox.supply.verify import verify

    store = environment_store(os.environ)
    for tree in lock.trees:
        if store.hold(tree.digest):
            yield lambda digest=tree.digest: verify(store, digest, deep=True)  # type: ignore[misc]
    if lock.image is not None:
        from sandbox import image_locks

        image = lock.image
        yield lambda: image_locks.deep(image, os.environ)
    if lock.places:
        yield lambda: _places(lock)


def _places(lock: Lock) -> None:
    from sandbox.program_locks import notes
    from sandbox.supply.places import check

    paths = tuple(place.path for place in lock.places)
    if missing := [path for path in paths if not os.path.lexists(path)]:
        raise SandboxNotBuilt("place-gone", f"`{missing[0]}` is gone")
    check(lock.places, paths, notes(os.environ), name=lock.name, deep=True)


def _advised(name: str, lock: Lock | None) -> None:
    """What a database of advisories has learned of the packages since they were locked."""
    from sandbox.judging import learned
    from sandbox.policy.load import read
    from sandbox.policy.model import Supply

    if lock is None:
        return
    try:
        policy = read(lock.profile, environ=os.environ, cwd=os.getcwd(), trusted_only=True).supply
    except ProfileError:
        policy = Supply()
    if found := learned(lock, policy, os.environ, os.getcwd()).findings:
        what = "\n".join(map(str, found))
        raise SandboxNotBuilt("known-package", what, hint=f"mcp-sandbox update {name}")
