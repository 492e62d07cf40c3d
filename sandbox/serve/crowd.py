"""Who may stay connected: strangers are few and make room for each other, whoever proved a token keeps it.

Pure but for what it calls: of strangers the one that came first goes when another comes, so that somebody
who speaks at once is heard however many say nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from sandbox.serve.limits import Limits
from sandbox.serve.words import Principal, Refused

_AGAIN = (("Retry-After", "1"),)


class Guest(Protocol):
    """One connection."""

    def evict(self) -> None:
        """Ends it at once."""
        ...

    def give_way(self) -> bool:
        """Ends it if it rests between two requests; False where it does not."""
        ...


class Crowd:
    """Every open connection, in the order in which they came."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._strangers: dict[Guest, str] = {}
        self._from: Counter[str] = Counter()
        self._known: dict[Guest, str] = {}
        self._of: Counter[str] = Counter()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def everybody(self) -> list[Guest]:
        """All of them, as they are now."""
        return [*self._strangers, *self._known]

    def enter(self, guest: Guest, peer: str) -> None:
        """Takes a stranger in; `peer` is its address, empty for one of this machine."""
        if peer and self._from[peer] >= self._limits.unknown_per_peer:
            self._evict(next(one for one, place in self._strangers.items() if place == peer))
        elif len(self._strangers) >= self._limits.unknown_max:
            self._evict(next(iter(self._strangers)))
        self._strangers[guest] = peer
        self._from[peer] += 1

    def make_room(self) -> None:
        """Ends the connection of the stranger that came first, where one is left."""
        if self._strangers:
            self._evict(next(iter(self._strangers)))

    def _evict(self, guest: Guest) -> None:
        self.leave(guest)
        self.evicted += 1
        guest.evict()

    def leave(self, guest: Guest) -> None:
        """Forgets one that is gone; a second time it means nothing."""
        peer, name = self._strangers.pop(guest, None), self._known.pop(guest, None)
        if peer is not None:
            _less(self._from, peer)
        if name is not None:
            _less(self._of, name)

    def recognise(self, guest: Guest, principal: Principal) -> Refused | None:
        """Keeps one that has said who it is, if that one has not too many connections already."""
        if self._known.get(guest) == principal.name:
            return None
        if self._of[principal.name] >= self._limits.known_per_principal and not self._rest(principal.name):
            return Refused(429, "too-many-connections", "this client has too many connections", _AGAIN)
        if guest not in self._known and len(self._known) >= self._limits.known_max and not self._rest():
            return Refused(503, "full", "as many clients are connected as this server bears", _AGAIN)
        self.leave(guest)
        self._known[guest] = principal.name
        self._of[principal.name] += 1
        return None

    def _rest(self, name: str = "") -> bool:
        """Ends the connection, of this client if one is named, that rests since longest; False for none."""
        for one, who in self._known.items():
            if name in ("", who) and one.give_way():
                self.leave(one)
                return True
        return False


def _less(counted: Counter[str], key: str) -> None:
    counted[key] -= 1
    if not counted[key]:
        del counted[key]
