"""Memory that no process shows, where no cgroup counts it: shared pages whose every user has gone.

A process maps memory shared, a child fills it and ends: the pages stay for as long as the mapping does, and
are in nobody's resident set. The same is true of a memfd that was only written to. The machine's own sum of
such pages (`Shmem`) bounds what they can be from above, and so does what the sandbox has mapped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

from sandbox.watchdog import processes
from sandbox.watchdog.processes import Process

LEAST = 16 << 20
"""Less than this is not looked for: reading what is mapped costs as much as everything else together."""
LONGEST_S = 0.03
_BLOCK = 512
_NAMES = ("/dev/zero (deleted)", "[anon_shmem:", "/memfd:", "/SYSV")
"""The second is the first by a name of the process's own (PR_SET_VMA_ANON_NAME, prctl(2))."""
_MEMFD = "/memfd:"
Node = tuple[int, int]


class Shared:
    """`elsewhere`: bytes of the sandbox's places in memory, which are such pages too and have a size."""

    def __init__(self, elsewhere: Callable[[], int]) -> None:
        self._elsewhere = elsewhere
        self._before = machine()

    def at_most(self, found: list[Process]) -> int:
        """Bytes that the tree may hold so, at most; 0 while the machine's sum has hardly grown."""
        now = machine()
        self._before = min(self._before, now)
        grown = now - self._before
        if grown < LEAST:
            return 0
        grown -= self._elsewhere()
        return 0 if grown < LEAST else min(grown, _mapped(found, grown))


def machine(read: Callable[[str], str] = processes.text) -> int:
    """All pages of this kind on this machine, in bytes."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) << 10
    return 0


def _mapped(found: list[Process], most: int) -> int:
    """What the tree has mapped, each object once and whole; of a memfd what is really in it.

    `most` where so much is mapped or open that reading it would take long: an attacker's is never too little.
    """
    objects: dict[Node, int] = {}
    until = time.thread_time() + LONGEST_S
    for process in found:
        if time.thread_time() > until:
            return most
        for node, size in _areas(process.living):
            objects[node] = max(objects.get(node, 0), size)
    for process in found:
        if time.thread_time() > until:
            return most
        objects.update(_files(process.living))
    return sum(objects.values())


def _areas(pid: int) -> Iterator[tuple[Node, int]]:
    sizes: dict[Node, int] = {}
    for line in _lines(f"/proc/{pid}/maps"):
        place, rights, _, device, inode, *name = line.split(None, 5)
        if rights[3] == "s" and name and name[0].startswith(_NAMES):
            start, end = (int(part, 16) for part in place.split("-"))
            major, minor = (int(part, 16) for part in device.split(":"))
            node = os.makedev(major, minor), int(inode)
            sizes[node] = sizes.get(node, 0) + end - start
    yield from sizes.items()


def _files(pid: int) -> Iterator[tuple[Node, int]]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}").startswith(_MEMFD):
                seen = os.stat(f"{folder}/{name}")
                yield (seen.st_dev, seen.st_ino), seen.st_blocks * _BLOCK
        except OSError:
            continue


def _lines(path: str) -> list[str]:
    """The whole file, which may be longer than one read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []
