"""How definitions are kept and told apart: by digest, with a text from which secrets were taken out (P)."""

from __future__ import annotations

from typing import Any, Final

from sandbox.inspect.canonical import canonical, definition
from sandbox.inspect.judged import SHOWN_CHARS, Finding, pointer
from sandbox.inspect.pin_diff import changes, field, spelt
from sandbox.inspect.pin_view import Read, Store
from sandbox.inspect.pinned import LONGEST_TEXT, Item
from sandbox.wire.splice import Place
from sandbox.wire.structs import msgspec

MOST_SEARCHED: Final = 1 << 20
"""Bytes of definitions of one message in which secrets are looked for; the texts of more are not kept."""
MOST_NAMES: Final = 20_000
FIELDS: Final = 3


class Keeping:
    """Makes of what one message says what is kept of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, str] = {}
        self._searched = 0
        self._clean: dict[int, Any] = {}
        """Of the message that is looked at: definitions without secrets, by where they stand."""

    def begin(self) -> None:
        """Another message."""
        self._searched = 0
        self._clean.clear()

    def name(self, key: str) -> str:
        """The name under which an item is kept; asked for at each list, so it is remembered."""
        kept = self._names.get(key)
        if kept is None:
            kept = self._store.known_as(key)
            if len(self._names) < MOST_NAMES:
                self._names[key] = kept
        return kept

    def item(self, kind: str, one: Read) -> Item:
        """What is kept of a definition."""
        if not self.may_search(one):
            return Item(one.digest)
        return Item(one.digest, canonical(self._concealed(kind, one)).decode())

    def may_search(self, one: Read) -> bool:
        """Whether this definition can be kept as a text, for which secrets have to be taken out."""
        if one.at in self._clean:
            return True
        if one.size > LONGEST_TEXT or self._searched + one.size > MOST_SEARCHED:
            return False
        self._searched += one.size
        return True

    def _concealed(self, kind: str, one: Read) -> Any:
        if one.at not in self._clean:
            self._clean[one.at] = self._store.conceal(definition(kind, one.value))
        return self._clean[one.at]

    def difference(self, kind: str, what: str, place: Place, held: Item, one: Read) -> Finding:
        """In which fields a definition is not the one that holds; with the beginning of the first of them."""
        old = held.text if self.may_search(one) else ""
        differing = changes(msgspec.json.decode(old), self._concealed(kind, one), FIELDS) if old else []
        if not differing:
            return Finding("pins", "pins.changed", pointer(place), f"{what} is not what was approved")
        fields = ", ".join(f"`{field(one.place)}`" for one in differing[:FIELDS])
        more = " and more" if len(differing) > FIELDS else ""
        first = differing[0]
        return Finding(
            "pins",
            "pins.changed",
            pointer((*place, *first.place)),
            f"{what} is not what was approved: {fields}{more} differ",
            shown=spelt(first.old if first.sort == "removed" else first.new, SHOWN_CHARS),
        )
