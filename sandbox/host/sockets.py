"""Sockets of the host's in the trees that are to be mounted: a read-only mount lets everybody connect."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from stat import S_ISSOCK

MOST = 1024
"""Entries looked at in each tree, the nearest first: some two milliseconds."""


def sockets(trees: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sockets found in the trees, and the trees that have more than could be looked at."""
    found: dict[str, None] = {}
    unsearched = []
    for tree in dict.fromkeys(trees):
        if not _search(tree, found):
            unsearched.append(tree)
    return tuple(found), tuple(unsearched)


def _search(tree: str, found: dict[str, None]) -> bool:
    waiting, left = deque([tree]), MOST
    while waiting:
        try:
            entries = os.scandir(waiting.popleft())
        except OSError:
            continue  # what the caller cannot list, its server cannot either
        with entries:
            for entry in entries:
                if left == 0:
                    return False
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif not entry.is_file(follow_symlinks=False) and _is_socket(entry):
                    found[entry.path] = None
    return True


def _is_socket(entry: os.DirEntry[str]) -> bool:
    try:
        return S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except OSError:
        return False
