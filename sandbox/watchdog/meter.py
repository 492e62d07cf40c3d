"""What a sandbox uses, read from /proc where no cgroup counts it."""

from __future__ import annotations

import os

PAGE = os.sysconf("SC_PAGE_SIZE")


def tree_memory(root: int) -> int:
    """Resident bytes of `root` and its descendants; a shared page counts in each (proc(5), statm)."""
    total = 0
    stack = [root]
    while stack:
        pid = stack.pop()
        try:
            with open(f"/proc/{pid}/statm") as statm:
                total += int(statm.read().split()[1]) * PAGE
            stack += _children(pid)
        except (OSError, ValueError, IndexError):
            continue  # it ended between two reads
    return total


def _children(pid: int) -> list[int]:
    children: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as names:
            children += map(int, names.read().split())
    return children
