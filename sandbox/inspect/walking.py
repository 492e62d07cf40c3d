"""Every string of a message, with its place, names of members and long numbers among them (P)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sandbox.wire.splice import Place

LONG: Final = 10**14
"""A number from here on may be a card's."""


def strings(value: Any, at: Place) -> Iterator[tuple[Place, str, bool]]:
    """Place, text, and whether it is the name of a member; in the order of the message, without recursion.

    A long whole number is told with the name that it has, which says what it is.
    """
    waiting: list[tuple[Place, Any]] = [(at, value)]
    while waiting:
        place, one = waiting.pop()
        if type(one) is str:
            yield place, one, False
        elif type(one) is int and one >= LONG:
            yield place, f"{place[-1]}: {one}", False
        elif type(one) is dict:
            for name in one:
                yield (*place, name), name, True
            waiting.extend(((*place, name), one[name]) for name in reversed(one))
        elif type(one) is list:
            waiting.extend(((*place, at), one[at]) for at in range(len(one) - 1, -1, -1))


def texts(value: Any) -> Iterator[str]:
    """Every string that is no name, in the order of the message."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if type(one) is str:
            yield one
        elif type(one) is dict:
            waiting.extend(reversed(one.values()))
        elif type(one) is list:
            waiting.extend(reversed(one))
