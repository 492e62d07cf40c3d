"""A locked package in a world where npm takes milliseconds, and what starts are told there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.choice import choose
from sandbox.lock_keys import keys
from sandbox.locked import lock_of, plain_policy
from sandbox.locks import whole
from sandbox.prepared import Found, Wish
from sandbox.records import replace
from sandbox.supply import accepted
from sandbox.supply.fits import kind_of
from sandbox.supply.frozen import Frozen
from sandbox.supply.granted import profile_digest
from sandbox.supply.key import key_of
from sandbox.supply.lock import Lock, Package
from sandbox.supply.locked import Start, frozen, of_frozen
from sandbox.supply.resolved import Resolution, write_beside
from sandbox.supply.store import environment_store
from tests.supply import toolchain
from tests.supply.toolchain import Builder

COMMAND = ("npx", "-y", "pkg")
PACKAGE = Package("pkg", "1.2.3", ("sha512-AAAA",), place="node_modules/pkg")


class World:
    """One user, one package `pkg` of version 1.2.3, and its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environ: Mapping[str, str] = toolchain.world(root, XDG_CONFIG_HOME=f"{root}/config")
        self.project = root / "project"
        (self.project / ".git").mkdir(parents=True)
        self.builder = Builder(root / "count")

    def wish(self, *command: str, **more: Any) -> Wish:
        return Wish(command or COMMAND, self.environ, str(self.project), **more)

    def built(self, **package: object) -> Frozen:
        """The newest one, from the registry's point of view."""
        self.builder.package = {**toolchain.PACKAGE, **package}
        made = toolchain.frozen("npx -y pkg", self.environ, self.builder, refresh=True)
        version = str(self.builder.package["version"])
        write_beside(made.tree, Resolution((replace(PACKAGE, version=version),)), made.tree)
        return made

    def lock(self, **more: Any) -> Lock:
        """A lock of what is in the store now; kept nowhere."""
        wish = replace(self.wish(), locks="never")
        chosen = choose(wish)
        assert chosen.request is not None
        store = environment_store(self.environ)
        entry = store.lookup(key_of(chosen.request, self.environ, ()))
        assert entry is not None
        policy = plain_policy(chosen, wish)
        made = Lock(
            name="pkg",
            kind="npm",
            asked=chosen.request.specs,
            command=COMMAND,
            made="2026-11-26T12:00:00Z",
            by="ana",
            packages=(PACKAGE,),
            trees=(of_frozen(store, entry, kind_of(entry.abi)),),
            profile=policy.name,
            profile_digest=profile_digest(policy),
            keys=keys(chosen, wish),
        )
        return replace(made, **more)

    @property
    def users(self) -> Path:
        return Path(accepted.user_dir(self.environ)) / "pkg.lock"

    @property
    def projects(self) -> Path:
        return self.project / ".mcp-sandbox/pkg.lock"

    def put(self, path: Path | None = None, **more: Any) -> Path:
        """A lock that a person accepted."""
        at = path or self.users
        accepted.put(str(at), self.lock(**more), self.environ)
        return at

    def found(self, *command: str, **more: Any) -> Found | None:
        """What a start is held to."""
        wish = self.wish(*command, **more)
        return lock_of(choose(wish), wish)

    def start(self, *command: str, **more: Any) -> Frozen | None:
        """What starts, from a lock alone; None where nothing holds it."""
        wish = self.wish(*command, **more)
        chosen = choose(wish)
        held = lock_of(chosen, wish)
        if held is None or chosen.request is None:
            return None
        start = Start(
            held.lock,
            held.path,
            held.sha256,
            held.resolved,
            chosen.request,
            self.environ,
            os.fspath(self.project),
            lambda: whole(held),
            self.builder,
            print,
        )
        return frozen(start)
