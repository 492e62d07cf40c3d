"""The host's sockets inside mounted trees: covered one by one, for no attribute of a mount does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sandbox.plan.facts import Survey
from sandbox.plan.mounts import enclosing, shown
from sandbox.plan.spec import Bind, Socket, ViewStep
from sandbox.policy.paths import below


def covers(sockets: Sequence[str], view: Sequence[ViewStep]) -> tuple[Socket, ...]:
    """One cover for every place inside at which the view shows a socket of the host's."""
    return tuple(dict.fromkeys(Socket(place) for path in sockets for place in _places(path, view)))


def unsearched(survey: Survey) -> Iterator[str]:
    """A sentence per tree that was too large to be searched to its end."""
    for tree in survey.unsearched:
        yield f"only the nearest entries of {tree} were searched for sockets: the server could use one below"


def _places(path: str, view: Sequence[ViewStep]) -> Iterator[str]:
    for tree in view:
        if isinstance(tree, Bind) and below(path, tree.source):
            place = f"{tree.target}{path.removeprefix(tree.source)}"
            outer = enclosing(place, view)
            if outer is not None and shown(outer, place) == path:
                yield place
