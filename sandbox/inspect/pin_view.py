"""The store of pins, who is told of them, and what one session has seen of each list (P)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from sandbox.inspect.pinned import Item, Pinned
from sandbox.wire.salvage import Id
from sandbox.wire.structs import msgspec

MOST_CURSORS: Final = 256


class Store(Protocol):
    """Where the pins of a server are kept; each call sees what other sessions and a person have done."""

    def read(self) -> Pinned: ...
    def first(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """Pin what is not pinned yet; `OSError` where that cannot be kept."""

    def hold(self, kind: str, items: Mapping[str, Item]) -> Pinned:
        """Keep these to be shown to a person; what cannot be kept is withheld all the same."""

    def withdraw(self, kind: str, keys: list[str]) -> None:
        """The server has gone back to what holds."""

    def known_as(self, key: str) -> str:
        """The name under which an item is kept: its own, unless there is a secret in it."""

    def conceal(self, value: Any) -> Any:
        """A JSON value without the session's secrets, and without texts that are too long to search."""


class Telling(Protocol):
    """Who hears of what becomes of pins."""

    def pinned(self, kind: str, keys: list[str]) -> None:
        """These were pinned, since nothing was known of them."""

    def withheld(self, kind: str, key: str, what: str) -> None:
        """This one waits for a person; once a definition and session."""

    def approved(self, kind: str, key: str) -> None:
        """A person has approved it while this session ran."""


class Read(msgspec.Struct, frozen=True, gc=False):
    """One item of a list as it was read: where it stands, its name, its digest and its size in bytes.

    `kept` is the name under which it is kept, without secrets; both are empty where it has no usable name.
    """

    at: int
    key: str
    kept: str
    digest: str
    size: int
    value: Any


class View:
    """What this session has seen of one list."""

    def __init__(self) -> None:
        self.fine: set[str] = set()
        self.withheld: dict[str, str] = {}
        """By name: the digest that was not what holds."""
        self.grows: bool | None = None
        """Whether what is new is pinned: nothing was known of this list when it was first read."""
        self.complete = False
        self.tried = False
        """Whether the relay was asked to read the rest of a list that grows."""
        self._asking: set[Id] = set()
        self._turn = 0
        self._cursors: dict[str, int] = {}

    def change(self) -> None:
        """The server says that the list is another one now."""
        self._turn += 1
        self.fine.clear()
        self.complete = self.tried = False
        self._asking.clear()

    def asks(self, id: Id) -> bool:
        """Whether the relay has to read the list for this request: once, for the second time it was read."""
        if id in self._asking:
            self._asking.discard(id)
            return False
        if len(self._asking) >= MOST_CURSORS:
            self._asking.clear()
        self._asking.add(id)
        self.tried = True
        return True

    def page(self, cursor: object, following: object) -> None:
        """One page was read: that of `cursor` (None: the first one), which names the `following` one."""
        turn = self._turn if cursor is None else self._cursors.pop(str(cursor), -1)
        if type(following) is str and following:
            if len(self._cursors) < MOST_CURSORS:
                self._cursors[following] = turn
        elif turn == self._turn:
            self.complete = True
            self.grows = False
