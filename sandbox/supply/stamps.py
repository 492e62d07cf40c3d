"""What the file system alone says of a tree's files, kept so that an unchanged one is not read again.

A file that was written, cut, replaced, linked or given another mode has another ctime, which no program
can set; a directory's changes with its names. So for links nothing is asked: theirs is their directory's.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Sequence

SETTLED_NS = 20_000_000
"""Two changes within one tick of the kernel's clock (10 ms at HZ=100) leave one ctime: what is younger is
read again. Kernels since 6.13 tell them apart."""
NONE = (0, 0, 0, 0)
_HEAD = b"stamps 1 "

Stamp = tuple[int, int, int, int]
"""Inode, size, ctime in ns, mode."""


def of(status: os.stat_result) -> Stamp:
    """The stamp of one file."""
    return status.st_ino, status.st_size, status.st_ctime_ns, status.st_mode


def spell(digest: str, paths: Sequence[bytes], stamps: Sequence[Stamp]) -> bytes:
    """The file of stamps: what they are of, and of which list of which tree (two more than there are paths).

    A stamp that is too young to tell two changes apart is kept as none.
    """
    before = time.time_ns() - SETTLED_NS
    settled = [one if one[2] < before else NONE for one in stamps]
    names = b"\0".join(paths)
    head = b"%b%b %d\n" % (_HEAD, digest.encode(), len(names))
    return head + names + array("q", [number for one in settled for number in one]).tobytes()


def parse(kept: bytes, digest: str) -> tuple[list[bytes], array[int]] | None:
    """Paths and numbers of a file of stamps; None for another tree's, and for what a crash left of one."""
    head, end, rest = kept.partition(b"\n")
    start = b"%b%b " % (_HEAD, digest.encode())
    if not end or not head.startswith(start) or not head[len(start) :].isdigit():
        return None
    length = int(head[len(start) :])
    paths = rest[:length].split(b"\0") if length else []
    numbers = array("q")
    if len(rest) - length != (len(paths) + 2) * len(NONE) * numbers.itemsize:
        return None
    numbers.frombytes(rest[length:])
    return paths, numbers


def read(path: str, digest: str) -> tuple[list[bytes], array[int]] | None:
    """What is kept at `path`; None where nothing is, or not of that tree."""
    try:
        with open(path, "rb") as file:
            return parse(file.read(), digest)
    except OSError:
        return None


def same(kept: tuple[list[bytes], array[int]], listed: str, root: int) -> bool:
    """Nothing was touched since: neither the file `listed`, nor the open `root`, nor anything below it."""
    paths, numbers = kept
    stat = os.stat
    try:
        first = (*of(os.stat(listed, follow_symlinks=False)), *of(os.fstat(root)))
        # One list and one comparison: this loop is most of what the check of a start costs.
        found = [
            number
            for path in paths
            for status in (stat(path, dir_fd=root, follow_symlinks=False),)
            for number in (status.st_ino, status.st_size, status.st_ctime_ns, status.st_mode)
        ]
        return array("q", [*first, *found]) == numbers
    except (OSError, OverflowError, ValueError):
        return False


def by_path(kept: tuple[list[bytes], array[int]]) -> dict[bytes, Stamp]:
    """Each path and its stamp; the root's is the empty path's."""
    paths, numbers = kept
    width = len(NONE)
    cut = [tuple(numbers[at : at + width]) for at in range(width, len(numbers), width)]
    return dict(zip([b"", *paths], cut, strict=True))  # type: ignore[arg-type]
