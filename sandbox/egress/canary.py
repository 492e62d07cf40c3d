"""Canaries, values that exist in this session's decoys alone, in a flow: what was cut is put together (P)."""

from __future__ import annotations

from collections import OrderedDict

from sandbox.inspect.needles import LEAST as LEAST
from sandbox.inspect.needles import Needles as Needles
from sandbox.inspect.needles import Sighting as Sighting
from sandbox.inspect.needles import folded

SUFFIXES = 256
"""Domains whose lookups are put together; the one that was quiet for longest makes room."""


class Stream:
    """One direction of one connection: a canary that reads cut apart is found all the same."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        # Room for the longest form with each character escaped twice, not for any amount of filling.
        self._keep = 8 * needles.longest
        self._tail = b""

    def feed(self, data: bytes) -> Sighting | None:
        """A canary in `data`, or in it and the end of what was fed before."""
        if not self._keep:
            return None
        text = self._tail + data
        found = self._needles.find(text)
        # What was reported is not reported again with the next bytes.
        self._tail = b"" if found else text[-self._keep :]
        return found


class NameStream:
    """All lookups of a session: a canary that was cut into one name after another, in order, is found.

    By the last two labels, the labels before them are put together: the first of each name, the second,
    and all. Not found are pieces in another order, with other names of the domain between them, with a
    number within their own label, or each in a base64 or base32 of its own that ends within a group.
    """

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._domains: OrderedDict[tuple[bytes, ...], list[bytes]] = OrderedDict()
        self._before: tuple[bytes, ...] = ()

    def feed(self, labels: tuple[bytes, ...]) -> Sighting | None:
        """The canary in this name, or in it and those that were looked up before it."""
        name = tuple(label.lower() for label in labels)
        # Each name is asked for twice in a row, once for each family of addresses.
        if name == self._before or not self._needles.longest:
            return None
        self._before = name
        alone = self._needles.in_name(name)
        return self._together(name[:-2], name[-2:]) if alone is None and len(name) > 2 else alone

    def _together(self, front: tuple[bytes, ...], domain: tuple[bytes, ...]) -> Sighting | None:
        columns = (front[0], front[1] if len(front) > 1 else b"", b"".join(front))
        before = self._domains.pop(domain, [b"", b"", b""])
        texts = [old + folded(new) for old, new in zip(before, columns, strict=True)]
        found = next(filter(None, map(self._needles.find_unescaped, texts)), None)
        self._domains[domain] = [b""] * 3 if found else [text[-self._needles.longest :] for text in texts]
        if len(self._domains) > SUFFIXES:
            self._domains.popitem(last=False)
        return found
