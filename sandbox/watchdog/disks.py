"""How full the places in memory are: statvfs(3) of a descriptor, with which nothing can be opened."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sandbox.policy.sample import Disk

PREFIX = "disk:"


def measure(sensors: Mapping[str, int]) -> tuple[Disk, ...]:
    """Every place among the sensors (`disk:/tmp`) that can still be asked."""
    asked = ((name.removeprefix(PREFIX), fd) for name, fd in sensors.items() if name.startswith(PREFIX))
    return tuple(disk for place, fd in asked if (disk := _disk(place, fd)) is not None)


def _disk(place: str, fd: int) -> Disk | None:
    try:
        found = os.fstatvfs(fd)
    except OSError:
        return None
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    return Disk(
        place, used, found.f_blocks * found.f_frsize, found.f_files - found.f_ffree, found.f_files
    )  # fmt: skip
