"""Whether an engine mounted what the plan meant: it looks every source up again by its name, as root."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sandbox import linux
from sandbox.errors import SandboxNotBuilt


class Sources:
    """What each place inside has to show, held open from before the engine looks until it was compared."""

    def __init__(self, mounts: Iterable[Mapping[str, Any]], real: Collection[str]) -> None:
        """`real`: sources without links; where one became a link since the plan, this stops the start."""
        named = [(one["Target"], one["Source"]) for one in mounts if one["Source"] in real]
        self._meant = {target: linux.open_path(source) for target, source in named}

    def __bool__(self) -> bool:
        return bool(self._meant)

    def compare(self, pid: int) -> None:
        """Raises where the container with this first process shows another file or directory anywhere."""
        for target, meant in self._meant.items():
            if not _shows(pid, target, meant):
                what = f"`{target}` was replaced while the sandbox was built, nothing ran"
                raise SandboxNotBuilt("sandbox-not-built", what, hint="start it again")
        while self._meant:
            os.close(self._meant.popitem()[1])


def _shows(pid: int, target: str, meant: int) -> bool:
    """Whether this is at `target`, or cannot be seen: the process is over, or not ours to look into."""
    try:
        return os.path.samestat(os.fstat(meant), os.stat(f"/proc/{pid}/root{target}"))
    except PermissionError:
        return True
    except FileNotFoundError:
        return not os.path.exists(f"/proc/{pid}")
