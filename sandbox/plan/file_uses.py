"""What a server does with files, by where they are in its view: counted, bounded, one row a place (P)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Final

from sandbox.event import Value
from sandbox.plan.file_calls import Intent
from sandbox.plan.mounts import target_of
from sandbox.plan.spec import Bind, Symlink, Tmpfs, ViewStep
from sandbox.records import dataclass

MOST_PATHS: Final = 1000
MOST_LINKS: Final = 8
LONGEST: Final = 512
"""Characters of a path that are kept: hostile text."""
OUTSIDE, GRANTED, HOME, INSIDE = "outside", "granted", "home", "inside"


@dataclass(frozen=True, slots=True)
class Use:
    """A path with what was meant; `place` says whether it is granted, in its own home, or not in the view."""

    place: str
    path: str
    intent: Intent

    def detail(self, count: int) -> dict[str, Value]:
        return {"place": self.place, "path": self.path, "intent": self.intent, "count": count}


class Uses:
    """Of a granted place its target counts once an intent; what lies outside counts path by path."""

    def __init__(self, view: Sequence[ViewStep], home: str) -> None:
        guards = [step for step in view if isinstance(step, Bind) and step.why == "guard"]
        self._steps = {target_of(step): step for step in view if step not in guards}
        # What nobody may change in a tree that may be changed (`.git/hooks`): no reason to grant the tree.
        self._guarded = {step.target for step in guards if not step.writable}
        self._home = home
        self._above = {above for target in self._steps for above in _above(target)}
        self._counts: dict[Use, int] = {}
        self.more = 0
        """Calls with paths beyond `MOST_PATHS`."""

    def saw(self, path: str, intent: Intent) -> None:
        """One call; of what stands in every sandbox only what is started is kept."""
        # Two slashes at the beginning stay two (POSIX, 4.13); here they mean one.
        use = self._use("/" + posixpath.normpath(path).lstrip("/"), intent)
        if use is None:
            return
        if use not in self._counts and len(self._counts) >= MOST_PATHS:
            self.more += 1
            return
        self._counts[use] = self._counts.get(use, 0) + 1

    def rows(self) -> Iterator[tuple[Use, int]]:
        """Every use with how often it was seen, the first seen first."""
        yield from self._counts.items()

    def _use(self, path: str, intent: Intent) -> Use | None:
        if path in self._above or path == "/":
            return None  # a directory that leads to something in the view is there
        path, target = self._followed(path)
        if target == self._home:
            return Use(HOME, path[:LONGEST], intent) if path != target else None
        if target is None:
            return Use(OUTSIDE, path[:LONGEST], intent)
        if intent == "write" and self._guarded.intersection((path, *_above(path))):
            return None
        step = self._steps[target]
        if isinstance(step, Tmpfs) and path != target and intent != "write":
            return Use(
                OUTSIDE, path[:LONGEST], intent
            )  # the host may have it, and it lies below our own /tmp
        granted = isinstance(step, Bind) and step.why.startswith("files.")
        if intent == "start" and not granted:
            return Use(INSIDE, path[:LONGEST], intent)
        return Use(GRANTED, target, intent) if granted else None

    def _followed(self, path: str) -> tuple[str, str | None]:
        """Through the links of the view: the place that a path means, and what of the view has it."""
        for _ in range(MOST_LINKS):
            target = next((one for one in (path, *_above(path)) if one in self._steps), None)
            step = self._steps[target] if target is not None else None
            if target is None or not isinstance(step, Symlink):
                return path, target
            path = posixpath.normpath(
                posixpath.join(posixpath.dirname(target), step.to) + path[len(target) :]
            )
        return path, None


def _above(path: str) -> Iterator[str]:
    while path.strip("/"):
        path = posixpath.dirname(path)
        if path != "/":
            yield path
