"""One cgroup a sandbox, in version 1 or 2: create with limits, attach, count OOM kills, kill, remove.

Files and units: cgroup-v1/memory.rst, cgroup-v1/pids.rst, cgroup-v2.rst of the kernel's documentation.
"""

from __future__ import annotations

import os
import time

from sandbox import kernel_files
from sandbox.plan.spec import Limits

PERIOD_US = 100_000
REMOVE_ATTEMPTS = 200
REMOVE_PAUSE_S = 0.01
# The sandbox's own init counts as a process, and it is ours, not the server's.
OWN_PROCESSES = 1


def settings(limits: Limits) -> list[tuple[str, str, str, bool]]:
    """What to write: controller, file, value, and whether the kernel may lack that file."""
    if limits.mechanism == "cgroup-v2":
        return [("unified", name, value, optional) for name, value, optional in _version_2(limits)]
    return _version_1(limits) if limits.mechanism == "cgroup-v1" else []


def _version_1(limits: Limits) -> list[tuple[str, str, str, bool]]:
    rows: list[tuple[str, str, str, bool]] = []
    if limits.memory is not None:
        rows += [
            ("memory", "memory.limit_in_bytes", str(limits.memory), False),
            # Swap accounting is a kernel option; without it swappiness 0 keeps this group's pages in memory.
            ("memory", "memory.memsw.limit_in_bytes", str(limits.memory), True),
            ("memory", "memory.swappiness", "0", True),
            # What waits in sockets, UDP's too, has a count of its own here, and none until this is written.
            ("memory", "memory.kmem.tcp.limit_in_bytes", str(limits.memory), True),
        ]
    if limits.pids is not None:
        rows.append(("pids", "pids.max", str(limits.pids + OWN_PROCESSES), False))
    if limits.cpus is not None:
        rows += [
            ("cpu", "cpu.cfs_period_us", str(PERIOD_US), False),
            ("cpu", "cpu.cfs_quota_us", str(int(limits.cpus * PERIOD_US)), False),
        ]
    return rows


def _version_2(limits: Limits) -> list[tuple[str, str, bool]]:
    rows: list[tuple[str, str, bool]] = []
    if limits.memory is not None:
        rows += [
            ("memory.max", str(limits.memory), False),
            ("memory.swap.max", "0", True),
            ("memory.oom.group", "1", True),
        ]
    if limits.pids is not None:
        rows.append(("pids.max", str(limits.pids + OWN_PROCESSES), False))
    if limits.cpus is not None:
        rows.append(("cpu.max", f"{int(limits.cpus * PERIOD_US)} {PERIOD_US}", False))
    return rows


def directory_name(session: str) -> str:
    """The name of a session's cgroup below each parent."""
    return f"mcp-sandbox-{session}"


def places(limits: Limits, session: str) -> dict[str, str]:
    """Controller (or `unified`) -> the directory of a session; `scope`: it gets a parent of its own."""
    name, parents = directory_name(session), dict(limits.cgroups)
    if "scope" in parents:
        parents = {"unified": f"{parents['scope']}/{name}.scope"}
    return {controller: f"{parent}/{name}" for controller, parent in parents.items()}


class Cgroup:
    """The directories of one sandbox, one for each controller; empty where rlimits do the work."""

    def __init__(self, limits: Limits, session: str) -> None:
        self.directories = places(limits, session)
        self._limits = limits
        self._session = session

    def create(self) -> None:
        """Makes the directories and writes every limit; raises OSError when one cannot be set.

        With a scope it is the caller, the keeper, that moves into it first.
        """
        if "scope" in dict(self._limits.cgroups):
            from sandbox import scope  # only where a service manager rules

            scope.enter(directory_name(self._session))
            scope.settle(os.path.dirname(self.directories["unified"]))
        for path in self.directories.values():
            os.mkdir(path)
        for controller, name, value, optional in settings(self._limits):
            try:
                kernel_files.write(f"{self.directories[controller]}/{name}", value)
            except OSError:
                if not optional:
                    raise

    def doors(self) -> tuple[int, ...]:
        """What a process goes in by (`enter`), in version 1, whatever rights it still has by then.

        The kernel asks for those of whoever has opened them.
        """
        if self._limits.mechanism != "cgroup-v1":
            return ()
        return tuple(
            os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC) for path in self.directories.values()
        )

    def attach(self, pid: int) -> None:
        """Moves the process `pid` in, in version 2; its children follow."""
        if self._limits.mechanism == "cgroup-v2":
            kernel_files.write(f"{self.directories['unified']}/cgroup.procs", str(pid))

    def oom_kills(self) -> int:
        """How often the kernel killed a process here for want of memory (0 where it does not say)."""
        names = {"memory": "memory.oom_control", "unified": "memory.events"}
        return sum(
            _count(f"{self.directories[c]}/{f}", "oom_kill")
            for c, f in names.items()
            if c in self.directories
        )

    def peak(self) -> int:
        """The most bytes that were in use at once; 0 where no file says it (version 2 before 5.19)."""
        names = {"memory": "memory.max_usage_in_bytes", "unified": "memory.peak"}
        found = (f"{self.directories[c]}/{f}" for c, f in names.items() if c in self.directories)
        return max(map(_first, found), default=0)

    def oom_event(self) -> int | None:
        """A descriptor that becomes readable when memory runs out (version 1), to be asked for once.

        Version 2 needs none: memory.oom.group ends the whole cgroup, process 1 too.
        """
        if self._limits.mechanism != "cgroup-v1" or self._limits.memory is None:
            return None
        event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = os.open(f"{self.directories['memory']}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel_files.write(f"{self.directories['memory']}/cgroup.event_control", f"{event} {control}")
        except OSError:
            # Real-time kernels have no such events: the limit holds all the same, the end comes later.
            os.close(event)
            return None
        finally:
            os.close(control)
        return event

    def kill(self) -> None:
        """cgroup.kill where it exists (Linux 5.14); the pid namespace's end does the same elsewhere."""
        for path in self.directories.values():
            if os.path.exists(f"{path}/cgroup.kill"):
                kernel_files.write(f"{path}/cgroup.kill", "1")

    def remove(self) -> bool:
        """Removes every directory; False when one stayed busy for two seconds."""
        left = [path for path in self.directories.values() if not _remove(path)]
        return not left


def enter(doors: tuple[int, ...]) -> None:
    """Moves the calling process in, which must have one thread alone; its children follow.

    That takes the kernel no time. To move another it waits until nobody is about to fork, 5 to 17 ms.
    """
    for door in doors:
        os.write(door, b"0")
        os.close(door)


def _count(path: str, key: str) -> int:
    try:
        with open(path) as lines:
            return next((int(line.split()[1]) for line in lines if line.split()[0] == key), 0)
    except OSError:
        return 0


def _first(path: str) -> int:
    try:
        return kernel_files.number(path)
    except (OSError, ValueError):
        return 0


def _remove(path: str) -> bool:
    # A dead task leaves its cgroup a moment after its parent has reaped it.
    for _ in range(REMOVE_ATTEMPTS):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(REMOVE_PAUSE_S)
        else:
            return True
    return False
