"""Where a path leads in a sandbox, and what of the host's is there: the view, and links as they are now.

What a server has made in memory of its own (`/tmp`, its home) is not seen from here: a link there is a name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from sandbox.plan.mounts import place_of, shown, target_of
from sandbox.plan.spec import Bind, Symlink, ViewStep

MOST_LINKS = 40
LONGEST_PATH = 4096
"""As the kernel has both (path_resolution(7))."""


class Inside:
    """The view of one sandbox, asked for single paths."""

    def __init__(self, view: Sequence[ViewStep]) -> None:
        self._view = tuple(view)
        self._links = {step.target: step.to for step in view if isinstance(step, Symlink)}
        self._at = {target_of(step): step for step in view}

    def real(self, path: str) -> str | None:
        """The place that an absolute path without `..` leads to; None where that cannot be told."""
        if len(path) > LONGEST_PATH:
            return None
        left = path.split("/")[::-1]
        at, followed = "", 0
        while left:
            part = left.pop()
            if part in ("", "."):
                continue
            if part == "..":  # of a link: `at` is real by now
                at = at.rpartition("/")[0]
                continue
            target = self._link(f"{at}/{part}")
            if target is None:
                at = f"{at}/{part}"
                continue
            followed += 1
            if followed > MOST_LINKS:
                return None
            left += target.split("/")[::-1]
            at = "" if target.startswith("/") else at
        return at or "/"

    def _link(self, place: str) -> str | None:
        """What the link at a place says; None for all else."""
        if (to := self._links.get(place)) is not None:
            return to
        tree = self._tree(place)
        if not isinstance(tree, Bind) or tree.target == place:
            return None
        try:
            # The text of a link and nothing behind it: no race leads further than to another verdict.
            return os.readlink(shown(tree, place))
        except (OSError, ValueError):
            return None

    def _tree(self, place: str) -> ViewStep | None:
        """The step of the view that a place lies in."""
        while place and place not in self._at:
            place = place.rpartition("/")[0]
        return self._at.get(place)

    def mounted(self, path: str) -> str | None:
        """The place inside of an absolute path of the host's; None where the sandbox has none of it."""
        if path in self._links:
            return path
        return place_of(path, self._view) or place_of(os.path.realpath(path), self._view)
