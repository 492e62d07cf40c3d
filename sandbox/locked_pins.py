"""The pins of a server with a lock: what the lock says holds, and what a person has approved since."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from sandbox import pins
from sandbox.digest import sha256
from sandbox.inspect.canonical import NAMES
from sandbox.inspect.pinned import Item, Pinned
from sandbox.places import state_dir
from sandbox.policy.cache import make_private, replace_private
from sandbox.prepared import Prepared
from sandbox.supply.lock import PinLock
from sandbox.wire.structs import msgspec

Items = Mapping[str, Mapping[str, Item]]
"""By kind and name: definitions with their texts, without secrets."""
FOLDER = "locked"
_MARK = 12
"""Hex digits of a digest that tell the pins of one lock from those of the next."""


class Store(pins.Store):
    """The file of one server under one lock: another lock begins a new one, without what was approved.

    The file is written where something waits or was approved; what the lock says holds without it.
    """

    def __init__(
        self,
        name: str,
        server: str,
        environ: Mapping[str, str],
        clean: Callable[[str], str] = str,
        *,
        locked: Sequence[PinLock],
    ) -> None:
        self._locked = tuple(locked)
        self._texts = texts_of(locked, environ)
        self._described = False
        super().__init__(name, server, environ, clean)

    def held(self, pinned: Pinned) -> Pinned:
        """The same with all that the lock names; what a person approved here counts more than the lock."""
        for pin in self._locked:
            pinned.approved.setdefault(pin.kind, {}).setdefault(pin.key, Item(pin.digest))
        pinned.begun = [*NAMES]  # whatever else is listed is new
        return pinned

    def hold(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """Keeps these for a person, beside the texts of what was locked where this machine has them."""
        if not self._described:
            self._described = True
            with suppress(OSError, ValueError):
                self.describe(pins.load(self._texts).approved)
        return super().hold(kind, items)

    def describe(self, items: Items) -> None:
        """Keeps the texts of definitions that hold, and of no others; `OSError` where they cannot be kept."""

        def change(pinned: Pinned) -> None:
            for kind, section in items.items():
                held = pinned.approved.get(kind, {})
                same = {
                    key for key, item in section.items() if key in held and held[key].digest == item.digest
                }
                held.update((key, section[key]) for key in same)

        self._change(change)


def name_of(prepared: Prepared, environ: Mapping[str, str], locked: Sequence[PinLock]) -> str:
    """The name under which `mcp-sandbox approve` knows a server with this lock."""
    return f"{pins.name_of(prepared, environ)}-lock-{_mark(locked)}"


def _mark(locked: Sequence[PinLock]) -> str:
    spelt = "\n".join(f"{pin.kind}\t{pin.key!r}\t{pin.digest}" for pin in locked)
    return str(sha256(spelt.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK])


def store_of(
    prepared: Prepared,
    environ: Mapping[str, str],
    locked: Sequence[PinLock],
    clean: Callable[[str], str] = str,
) -> Store:
    """The pins of this server under this lock."""
    name = name_of(prepared, environ, locked)
    return Store(name, prepared.spec.server, environ, clean, locked=locked)


def texts_of(locked: Sequence[PinLock], environ: Mapping[str, str]) -> str:
    """The file with the texts of what a lock names, however its server is started."""
    return os.path.join(state_dir(environ), FOLDER, f"{_mark(locked)}.json")


def remember(server: str, environ: Mapping[str, str], locked: Sequence[PinLock], items: Items) -> None:
    """Keeps the texts of what was locked, so that `approve` shows how a definition differs, not only that.

    `OSError` where they cannot be kept: a lock holds without them.
    """
    path = texts_of(locked, environ)
    make_private(os.path.dirname(path))
    kept = Pinned(server, approved={kind: dict(section) for kind, section in items.items()})
    replace_private(path, msgspec.json.encode(kept))
