"""A locked tree that the store has not: installed again from the lock's packages, or refused."""

from __future__ import annotations

import os
import time

from sandbox.errors import SandboxNotBuilt
from sandbox.records import replace
from sandbox.supply.build import install, interpreter_of
from sandbox.supply.freeze import told
from sandbox.supply.job import Order
from sandbox.supply.lock import Lock, Tree
from sandbox.supply.resolved import Resolution, came_from, write_beside
from sandbox.supply.store import Store
from sandbox.supply.tree import seal


def rebuild(order: Order, lock: Lock, tree: Tree, store: Store) -> None:
    """The tree is in the store, and no other: nothing is resolved, and every file has the lock's hash."""
    with told():
        store.prepare()
        store.sweep()
        key = tree.digest[:40]
        waiting = f"waiting for another start to install `{lock.name}` again…"
        asked = time.monotonic_ns()
        with store.lock(key, waiting=lambda: order.progress(waiting)) as waited:
            if store.hold(tree.digest) and came_from(store.tree(tree.digest), lock.packages):
                return  # another start was faster
            if waited and (failed := store.failure(key, since=asked)):
                raise failed
            _once(order, lock, tree, store, key)


def _once(order: Order, lock: Lock, tree: Tree, store: Store, key: str) -> None:
    """Those who wait learn of a failure and do not try the same."""
    order.progress(f"installing `{lock.name}` again from its lock…")
    store.forget_failure(key)
    try:
        with store.stage(key) as staging:
            _install(replace(order, locked=lock.packages), lock, tree, staging, store)
    except SandboxNotBuilt as error:
        store.note_failure(key, error)
        raise


def _install(order: Order, lock: Lock, tree: Tree, staging: str, store: Store) -> None:
    _, unrun = install(order, lock.asked, interpreter_of(order), staging)
    staged = os.path.join(staging, "tree")
    digest, manifest = seal(staged)
    if digest != tree.digest:
        raise _differs(order, lock, tree, digest)
    ran = tuple(order.scripts)
    write_beside(staged, Resolution(lock.packages, ran=ran, unrun=unrun), store.tree(digest))
    store.keep(staging, digest, manifest)


def _differs(order: Order, lock: Lock, tree: Tree, digest: str) -> SandboxNotBuilt:
    return SandboxNotBuilt(
        "lock-not-rebuilt",
        f"`{lock.name}` was installed again from its lock and is another tree than the locked one: "
        f"`{digest}` instead of `{tree.digest}`; most likely {_why(order, lock)}",
        rule="a lock starts the tree that it names",
        hint=f"mcp-sandbox update {lock.name}",
    )


def _why(order: Order, lock: Lock) -> str:
    """Each file had the lock's hash, and a source what had built it before: what is left is what they do."""
    if lock.kind == "pypi":
        sources = ", ".join(f"`{each.name}`" for each in lock.packages if each.scripts)
        if sources:
            return f"the source of {sources} is built into other files each time, or on each machine"
        return "its installer lays it out differently"
    ran = ", ".join(f"`{name}`" for name in order.scripts)
    return (
        f"the install scripts of {ran} made other files" if ran else "its installer lays it out differently"
    )
