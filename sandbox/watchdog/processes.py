"""Single processes as /proc tells of them (proc(5)); one that ended between two reads has nothing."""

from __future__ import annotations

import os

from sandbox.records import dataclass

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Process:
    """The numbers of one line of /proc/PID/stat."""

    pid: int
    parent: int
    threads: int
    resident: int
    cpu: float
    """Seconds of its own threads, those that ended too."""
    waited: float
    """Seconds of the children that it waited for."""
    started: int


def text(path: str) -> str:
    """A file of /proc, or nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _CHUNK).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def look(pid: int) -> Process | None:
    """The process as it is now."""
    # The name in brackets is the server's to choose: what counts comes after the last one.
    words = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if len(words) < 22:
        return None
    cpu, waited = int(words[11]) + int(words[12]), int(words[13]) + int(words[14])
    return Process(
        pid, int(words[1]), int(words[17]), int(words[21]) * PAGE, cpu / TICK, waited / TICK, int(words[19])
    )  # fmt: skip


def name(pid: int) -> str:
    """What the process calls itself: hostile."""
    return text(f"/proc/{pid}/comm").strip()


def open_files(pid: int) -> int | None:
    """How many descriptors it has; None where that is not ours to see."""
    path = f"/proc/{pid}/fd"
    try:
        # Linux 6.2 tells the number as the directory's size; before, it is 0 and each has to be counted.
        return os.stat(path).st_size or len(os.listdir(path))
    except OSError:
        return None


def to_disks(pid: int) -> int | None:
    """Bytes that it, and children that it waited for, sent towards disks; pipes and tmpfs do not count."""
    for line in text(f"/proc/{pid}/io").splitlines():
        if line.startswith("write_bytes:"):
            return int(line.split()[1])
    return None


def proportional(pid: int) -> int | None:
    """Resident bytes, each shared page by its share; exact, and a hundred times slower than `look`."""
    for line in text(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return None


def children(pid: int, threads: int) -> list[int]:
    """The children of all its threads, zombies too."""
    tasks = [str(pid)]
    if threads > 1:
        try:
            tasks = os.listdir(f"/proc/{pid}/task")
        except OSError:
            return []
    return [int(one) for task in tasks for one in text(f"/proc/{pid}/task/{task}/children").split()]


def tree(root: int) -> list[Process]:
    """`root` and its descendants. In a pid namespace whose process 1 it is, nobody leaves them."""
    found: dict[int, Process] = {}
    stack = [root]
    while stack:
        process = look(stack.pop())
        # A number that was free for a moment may be another's by now, whose parent is not of the tree.
        if process is not None and (process.pid == root or process.parent in found):
            found[process.pid] = process
            stack += children(process.pid, process.threads)
    return [*found.values()]
