"""Single processes as /proc tells of them (proc(5)); one that ended between two reads has nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from sandbox.records import dataclass

PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")
MOST_HELD = 256
"""Descriptors; whoever started us may allow no more than 1024."""
_CHUNK = 1 << 16
_SHORT = 2048
"""A read of a long list ends where the next record does not fit in a page: less than this is all of it."""
_LONGEST = 1 << 20
_OVER = "ZX"


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
    thread: int = 0
    """Another of its threads, where the first is over: memory and files are those of the living."""

    @property
    def living(self) -> int:
        """The thread that can be asked what the process has."""
        return self.thread or self.pid


def text(path: str) -> str:
    """A file of /proc, or nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _whole(fd)
    except OSError:
        return ""
    finally:
        os.close(fd)


def _whole(fd: int) -> str:
    """From its beginning on, however many reads that takes."""
    said = os.pread(fd, _CHUNK, 0)
    more = len(said)
    while more >= _SHORT and len(said) < _LONGEST:
        read = os.pread(fd, _CHUNK, len(said))
        said, more = said + read, len(read)
    return said.decode(errors="replace")


class Reader:
    """`text` for files that are read again and again: held open, each costs a fifth."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}
        self._read: set[str] = set()

    def __call__(self, path: str) -> str:
        """The file, or nothing."""
        self._read.add(path)
        said = self._again(path)
        if path in self._held:
            return said  # which may be nothing: many have no children
        if len(self._held) >= MOST_HELD:
            return text(path)
        try:
            self._held[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        return self._again(path)

    def _again(self, path: str) -> str:
        fd = self._held.get(path)
        if fd is None:
            return ""
        try:
            return _whole(fd)
        except OSError:  # it is over, and its number may be another's
            os.close(self._held.pop(path))
            return ""

    def forget(self) -> None:
        """Closes what was not read since the last time."""
        for path in self._held.keys() - self._read:
            os.close(self._held.pop(path))
        self._read = set()


def look(pid: int, read: Callable[[str], str] = text) -> Process | None:
    """The process as it is now."""
    words = _stat(f"/proc/{pid}/stat", read)
    if len(words) < 22:
        return None
    thread, resident = 0, words[21]
    if words[0] in _OVER and words[17] != "1":
        thread, resident = _other(pid, read)
    cpu, waited = int(words[11]) + int(words[12]), int(words[13]) + int(words[14])
    return Process(
        pid, int(words[1]), int(words[17]), int(resident) * PAGE, cpu / TICK, waited / TICK,
        int(words[19]), thread,
    )  # fmt: skip


def _stat(path: str, read: Callable[[str], str]) -> list[str]:
    # The name in brackets is the server's to choose: what counts comes after the last one.
    return read(path).rpartition(")")[2].split()


def _other(pid: int, read: Callable[[str], str]) -> tuple[int, str]:
    """A living thread where the first has ended, which shows no memory then; and what it shows."""
    for thread in _threads(pid):
        words = _stat(f"/proc/{pid}/task/{thread}/stat", read)
        if len(words) >= 22 and words[0] not in _OVER:
            return thread, words[21]
    return 0, "0"


def _threads(pid: int) -> list[int]:
    try:
        return [int(one) for one in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def name(pid: int) -> str:
    """What the process calls itself: hostile."""
    return text(f"/proc/{pid}/comm").strip()


def open_files(pid: int) -> int | None:
    """How many descriptors it has; None where that is not ours to see."""
    if count := _descriptors(pid):
        return count
    # One whose first thread is over has its files by the others: that one shows none, or nothing at all.
    counts = (_descriptors(one) for one in _threads(pid))
    return max((count for count in counts if count is not None), default=None)


def _descriptors(pid: int) -> int | None:
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


def own(pid: int) -> int:
    """Resident bytes behind which is no file and no shared memory: what it gets anew is its own."""
    words = text(f"/proc/{pid}/statm").split()
    return (int(words[1]) - int(words[2])) * PAGE if len(words) > 2 else 0


def proportional(pid: int) -> tuple[int, int] | None:
    """Resident bytes, each shared page by its share, and of them those of shared memory: exact, and slow."""
    found = dict.fromkeys(("Pss:", "Pss_Shmem:"), 0)
    for line in text(f"/proc/{pid}/smaps_rollup").splitlines():
        name, _, rest = line.partition(" ")
        if name in found:
            found[name] = int(rest.split()[0]) << 10
    return (found["Pss:"], found["Pss_Shmem:"]) if found["Pss:"] else None


def children(pid: int, threads: int, read: Callable[[str], str] = text) -> list[int]:
    """The children of all its threads, zombies too."""
    tasks = _threads(pid) if threads > 1 else [pid]
    return [int(one) for task in tasks for one in read(f"/proc/{pid}/task/{task}/children").split()]


def halt(one: Process) -> None:
    """SIGSTOP for the process, and for nobody who has its number by now."""
    with suppress(OSError):
        fd = os.pidfd_open(one.pid)
        try:
            still = look(one.pid)
            if still is not None and still.started == one.started:
                signal.pidfd_send_signal(fd, signal.SIGSTOP)
        finally:
            os.close(fd)


def apart(found: list[Process]) -> list[Process]:
    """Without those that still run in the memory of whom they came from (vfork(2)): it is counted there."""
    from sandbox import linux  # brings `ctypes`, which most sessions do without

    here = {one.pid: one for one in found}
    return [
        one
        for one in found
        if one.parent not in here or not linux.same_memory(one.living, here[one.parent].living)
    ]


def tree(root: int, read: Callable[[str], str] = text) -> list[Process]:
    """`root` and its descendants. In a pid namespace whose process 1 it is, nobody leaves them."""
    found: dict[int, Process] = {}
    stack = [root]
    while stack:
        process = look(stack.pop(), read)
        # A number that was free for a moment may be another's by now, whose parent is not of the tree.
        if process is not None and (process.pid == root or process.parent in found):
            found[process.pid] = process
            stack += children(process.pid, process.threads, read)
    return [*found.values()]
