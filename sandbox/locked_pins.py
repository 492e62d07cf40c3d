"""The pins of a server with a lock: what the lock says holds, and what a person has approved since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sandbox import pins
from sandbox.digest import sha256
from sandbox.inspect.canonical import NAMES
from sandbox.inspect.pinned import Item, Pinned
from sandbox.prepare import Prepared
from sandbox.supply.lock import PinLock

Items = Mapping[str, Mapping[str, Item]]
"""By kind and name: definitions with their texts, without secrets."""
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
        super().__init__(name, server, environ, clean)

    def held(self, pinned: Pinned) -> Pinned:
        """The same with all that the lock names; what a person approved here counts more than the lock."""
        for pin in self._locked:
            pinned.approved.setdefault(pin.kind, {}).setdefault(pin.key, Item(pin.digest))
        pinned.begun = [*NAMES]  # whatever else is listed is new
        return pinned

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
    spelt = "\n".join(f"{pin.kind}\t{pin.key!r}\t{pin.digest}" for pin in locked)
    mark = sha256(spelt.encode("utf-8", "surrogateescape")).hexdigest()[:_MARK]
    return f"{pins.name_of(prepared, environ)}-lock-{mark}"


def store_of(
    prepared: Prepared,
    environ: Mapping[str, str],
    locked: Sequence[PinLock],
    clean: Callable[[str], str] = str,
) -> Store:
    """The pins of this server under this lock."""
    name = name_of(prepared, environ, locked)
    return Store(name, prepared.spec.server, environ, clean, locked=locked)


def remember(prepared: Prepared, environ: Mapping[str, str], locked: Sequence[PinLock], items: Items) -> None:
    """Keeps the texts of what was locked, so that `approve` shows how a definition differs, not only that."""
    store_of(prepared, environ, locked).describe(items)
