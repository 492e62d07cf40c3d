"""How full the places in memory are: statvfs(3) of descriptors with which nothing can be opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from sandbox.policy.sample import Disk

PREFIX = "disk:"
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def sent(sensors: Mapping[str, int]) -> dict[str, int]:
    """The places among what a sandbox of ours sent out (`disk:/tmp`), in descriptors of our own."""
    return {name.removeprefix(PREFIX): os.dup(fd) for name, fd in sensors.items() if name.startswith(PREFIX)}


def opened(root: int, places: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The places of a container by its first process, as far as they are ours to see, for their size.

    Another size is another file system: what an image may have put where the engine should have mounted.
    """
    found: dict[str, int] = {}
    for place, size in places:
        try:
            fd = os.open(f"/proc/{root}/root{place}", _PATH)
        except OSError:
            continue
        disk = _disk(place, fd)
        if disk is not None and 0 <= disk.size - size < disk.block:
            found[place] = fd
        else:
            os.close(fd)
    return found


def measure(places: Mapping[str, int]) -> tuple[Disk, ...]:
    """Every place that can still be asked."""
    return tuple(disk for place, fd in places.items() if (disk := _disk(place, fd)) is not None)


def close(places: Mapping[str, int]) -> None:
    """Closes every descriptor."""
    for fd in places.values():
        os.close(fd)


def _disk(place: str, fd: int) -> Disk | None:
    try:
        found = os.fstatvfs(fd)
    except OSError:
        return None
    block = found.f_frsize
    used = (found.f_blocks - found.f_bfree) * block
    files = found.f_files - found.f_ffree
    return Disk(place, used, found.f_blocks * block, files, found.f_files, block)
