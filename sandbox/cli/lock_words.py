"""What a person is shown of a lock before it counts, as lines and colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.locking import Proposal
    from sandbox.supply.lock import Lock

MOST = 12
Line = tuple[str, str]


def lines(proposal: Proposal) -> Iterator[Line]:
    """All of it, the worst last, where a person reads first."""
    lock, judged = proposal.lock, proposal.judged
    yield f"{lock.name}: {' '.join(lock.command)}", "bold"
    yield from ((f"  {text}", "") for text in contents(lock))
    yield f"  profile {lock.profile}", ""
    if lock.server:
        counts = Counter(one.kind for one in lock.pins if one.kind != "server")
        pinned = ", ".join(counted(count, kind) for kind, count in counts.items()) or "nothing"
        yield f"  it calls itself {lock.server}, and lists {pinned}", ""
    yield from _named("install scripts ran of", [one.what.removeprefix("scripts ") for one in lock.scripts])
    yield from _named("install scripts did not run of", list(proposal.unrun))
    yield from _named("it tried to reach", list(lock.wants))
    yield from _named("passed over:", [one.what for one in lock.waived])
    for waiver in judged.idle:
        yield f"  nothing to pass over: {waiver}", ""
    for sentence in lock.unchecked:
        yield f"  not checked: {sentence}", "yellow"
    for one in judged.findings:
        colour = "red" if one.strength == "refuse" else "yellow"
        yield f"  {one.rule}: {one}", colour


def contents(lock: Lock) -> Iterator[str]:
    """What it is made of, a line each."""
    for tree in lock.trees:
        size = tree.size / (1 << 20)
        packages = f"{counted(len(lock.packages), 'package')}, " if lock.packages else ""
        yield f"{packages}{counted(tree.files, 'file')}, {size:.1f} MiB, {tree.fits}: {tree.digest[:16]}"
    if lock.image is not None:
        yield f"image {lock.image.name}: {lock.image.id[:23]}, {len(lock.image.layers)} layers"
    for place in lock.places:
        commit = f", commit {place.commit[:12]}" if place.commit else ""
        yield f"{place.path}: {counted(place.files, 'file')}{commit}: {place.digest[:16]}"
    if lock.bundle:
        yield f"bundle {lock.bundle[:23]}"


def counted(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _named(what: str, names: list[str]) -> Iterator[Line]:
    if names:
        more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
        yield f"  {what} {', '.join(names[:MOST])}{more}", "yellow"


def asks(proposal: Proposal) -> tuple[str, ...]:
    """What a person has to agree to; a lock without such a thing only narrows."""
    lock, judged = proposal.lock, proposal.judged
    doubts = [f"{one.rule}: {one}" for one in judged.findings]
    doubts += [f"waived: {one.what}" for one in lock.waived]
    doubts += [one.what.replace("scripts ", "install scripts of ", 1) + " ran" for one in lock.scripts]
    return tuple(doubts)
