"""Everything of this user's that no session needs any more, and its removal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from sandbox import leases
from sandbox.places import cache_dir, state_dir
from sandbox.records import dataclass

ENGINE_S = 30.0
"""A person waits longer than a start does."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """One thing that was left: what, by which name; `gone` is False where it could not be removed."""

    kind: str
    name: str
    gone: bool = True


def prune(environ: Mapping[str, str]) -> list[Pruned]:
    """Removes what killed sessions and builds left on this host and at the engine."""
    done = [Pruned("session", one) for one in leases.reap(environ, ENGINE_S)]
    done += [Pruned("session", one.session, gone=False) for one in stale(environ)]
    return [
        *done,
        *_containers(environ),
        *_folders(environ),
        *_spares(environ),
        *_builds(environ),
        *_sockets(environ),
    ]


def stale(environ: Mapping[str, str]) -> list[leases.Lease]:
    """The sessions whose wrapper is gone, and of which something may be left."""
    return [one for one in leases.every(environ) if not one.lives]


def _containers(environ: Mapping[str, str]) -> Iterator[Pruned]:
    """Those whose lease is lost, by their labels."""
    from sandbox.backend.docker.reap import Engines

    engines = Engines(environ, ENGINE_S)
    endpoint = engines.here()
    try:
        for one in engines.abandoned(endpoint):
            yield Pruned(_KINDS.get(one.role, "container"), one.name, engines.remove(endpoint, [one.id]))
    finally:
        engines.close()


_KINDS = {"holder": "network holder", "build": "build"}


def _folders(environ: Mapping[str, str]) -> Iterator[Pruned]:
    """Staged files of no session: a lease is written before its folder is made."""
    top = f"{state_dir(environ)}/containers"
    there = _names(top)
    known = {one.session for one in leases.every(environ)}
    for name in there:
        if name not in known:
            from sandbox.backend.docker.stage import clear

            yield Pruned("staged files", f"{top}/{name}", clear(f"{top}/{name}"))


def _spares(environ: Mapping[str, str]) -> Iterator[Pruned]:
    """Where spare holders waited that are gone."""
    top = f"{state_dir(environ)}/holders"
    before = _names(top)
    if before:
        from sandbox.backend.docker.holder import sweep

        sweep(top)
        yield from (Pruned("spare holder", name) for name in before if name not in _names(top))


def _sockets(environ: Mapping[str, str]) -> Iterator[Pruned]:
    """Control sockets of sessions that left no lease."""
    from sandbox.control import sweep

    yield from (Pruned("control socket", path) for path in sweep(environ))


def _builds(environ: Mapping[str, str]) -> Iterator[Pruned]:
    """Packages that were being built when their builder was killed."""
    top = f"{cache_dir(environ)}/store"
    before = _names(f"{top}/staging")
    if before:
        from sandbox.supply.store import Store

        Store(top).sweep()
        left = _names(f"{top}/staging")
        yield from (Pruned("build", f"{top}/staging/{name}") for name in before if name not in left)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
