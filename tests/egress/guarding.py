"""A guard fed as a hostile server would feed it, and watched while it is: nothing passes that was not fed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sandbox.egress.decide import Denied, Target
from sandbox.egress.guard import Guard, Refused
from sandbox.policy.hosts import parse
from sandbox.policy.model import HostRule

GOOD, EVIL = "good.example", "evil.example"
MOST_HELD = 1 << 18
"""More than any part of a guard may hold back of what it was fed."""


def at(place: str, *, opaque: bool = False) -> Target:
    """The target that a connection to `place` has: a name, a literal, or this machine's own port."""
    rule = parse(place)
    rule = HostRule(rule.host, rule.port, opaque=opaque)
    if rule.host == "localhost":
        return Target("local", "127.0.0.1", rule.port, rule)
    literal = ":" in rule.host or rule.host.rpartition(".")[2].isdigit()
    return Target("literal" if literal else "name", rule.host, rule.port, rule)


class Watched:
    """A guard whose promises are checked at every step.

    `passed` is what left, `denied` why nothing more does.
    """

    def __init__(self, target: Target) -> None:
        self.guard = Guard(target)
        self.fed = self.passed = b""
        self.denied: Denied | None = None

    def feed(self, data: bytes, step: int | None = None) -> bytes:
        """Feeds it, in pieces of `step` bytes; what may leave, up to a denial."""
        before = len(self.passed)
        for start in range(0, len(data), step or max(len(data), 1)):
            self._take(data[start : start + (step or len(data))], answer=False)
        return self.passed[before:]

    def answer(self, data: bytes, step: int | None = None) -> bytes:
        """The same for what the host answers."""
        before = len(self.passed)
        for start in range(0, len(data), step or max(len(data), 1)):
            self._take(data[start : start + (step or len(data))], answer=True)
        return self.passed[before:]

    def _take(self, data: bytes, *, answer: bool) -> None:
        if not answer:
            self.fed += data
        left, denied = self._asked(data, answer)
        if denied is not None:
            # The first reason is the one that stays.
            assert self.denied in (None, denied)
            self.denied = denied
            return
        assert self.denied is None, "something was taken after a denial"
        self.passed += left
        assert self.fed.startswith(self.passed), "what left is not what was fed"
        assert len(self.fed) - len(self.passed) <= MOST_HELD + len(data)
        if not self.guard.watching:
            assert self.passed == self.fed
        if self.passed != self.fed:
            assert self.guard.undecided or self.guard.awaiting

    def _asked(self, data: bytes, answer: bool) -> tuple[bytes, Denied | None]:
        try:
            return (self.guard.answer(data) if answer else self.guard.feed(data)), None
        except Refused as refused:
            return b"", refused.denied


def fed(target: Target, data: bytes, step: int | None = None) -> tuple[bytes, Denied | None]:
    """What of `data` leaves, and why the rest does not."""
    one = Watched(target)
    one.feed(data, step)
    return one.passed, one.denied


def same_in_pieces(
    target: Target, data: bytes, passes: bool, steps: Iterable[int] = (1, 2, 3, 7, 64)
) -> Denied | None:
    """Checks that `data` passes whole, or is refused, however it is cut; then the wrong host never leaves."""
    passed, denied = fed(target, data)
    if passes:
        assert denied is None, denied
        assert passed == data
    else:
        assert denied is not None, "nothing was refused"
    for step in steps:
        piecewise, why = fed(target, data, step)
        assert (why is None) is (denied is None)
        assert piecewise.startswith(passed)
        assert not passes or piecewise == data
        assert EVIL.encode() not in piecewise.lower()
    return denied


Steps = Sequence[tuple[str, bytes, bytes]]
"""What is said by whom (`>` the server in the sandbox, `<` the host), and what leaves of the former's."""


def play(target: Target, steps: Steps, cut: int | None = None) -> Watched:
    """Plays the steps, every one in pieces of `cut` bytes, and checks what leaves at each."""
    one = Watched(target)
    for who, said, leaves in steps:
        left = one.feed(said, cut) if who == ">" else one.answer(said, cut)
        assert left == leaves, (who, said, one.denied)
    return one
