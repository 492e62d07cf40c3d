"""What a cgroup counts, version 1 or 2, from files that stay open; and the kernel's word when it refuses.

Files and units: cgroup-v1/memory.rst, cgroup-v1/cpuacct.rst, cgroup-v1/pids.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping

from sandbox.watchdog import processes
from sandbox.watchdog.meter import Usage
from sandbox.watchdog.times import Times

OWN_PROCESSES = 1
"""Process 1: of a sandbox of ours, or the engine's init."""
_CHUNK = 1 << 16
_NOTIFIED = select.POLLPRI | select.POLLERR
# What is read -> version 1: controllers that may have it, and the file; version 2: the file.
_FILES = {
    "memory": (("memory",), "memory.usage_in_bytes", "memory.current"),
    "peak": (("memory",), "memory.max_usage_in_bytes", "memory.peak"),
    "stat": (("memory",), "memory.stat", "memory.stat"),
    "swap": ((), "", "memory.swap.current"),
    "ooms": (("memory",), "memory.oom_control", "memory.events"),
    "pressure": ((), "", "memory.pressure"),
    "pids": (("pids",), "pids.current", "pids.current"),
    "refused": (("pids",), "pids.events", "pids.events"),
    "procs": (("pids", "memory"), "cgroup.procs", "cgroup.procs"),
    "cpu": (("cpuacct", "cpu"), "cpuacct.usage", "cpu.stat"),
}


class CgroupMeter:
    """`directories`: by controller, or `unified`; `root`: process 1 in it, which is not the server's."""

    def __init__(self, directories: Mapping[str, str], root: int) -> None:
        self._unified = "memory" not in directories
        self._root = root
        self._times = Times()
        self._files = {
            name: fd
            for name in _FILES
            if name != "procs" and (fd := _open(self._paths(name, directories))) is not None
        }
        # Version 1 keeps its answer for whoever has the file open: it is opened each time.
        self._procs = next(iter(self._paths("procs", directories)), "")
        self._oom = -1 if self._unified else _oom_event(directories["memory"])
        self._told = 0
        self._seen: tuple[int | None, int | None] = (None, None)
        self.measure()  # a notification counts from the last read

    def _paths(self, name: str, directories: Mapping[str, str]) -> list[str]:
        controllers, first, second = _FILES[name]
        if self._unified:
            return [f"{directories[one]}/{second}" for one in ("unified",) if one in directories]
        return [f"{directories[one]}/{first}" for one in controllers if one in directories]

    def watched(self) -> Mapping[int, int]:
        """Version 1 tells of memory by an eventfd (memory.rst, 9), and from Linux 6.12 of no process."""
        found = {self._files[one]: _NOTIFIED for one in ("ooms", "refused") if one in self._files}
        if self._oom >= 0:
            found.pop(self._files.get("ooms", -1), None)
            found[self._oom] = select.POLLIN
        return found

    def called(self) -> bool:
        """Whether something was refused since the last look: the kernel calls for less, and often."""
        return self._refusals() != self._seen

    def _refusals(self) -> tuple[int | None, int | None]:
        return self._ooms(), _pairs(self._read("refused")).get("max")

    def measure(self) -> Usage:
        """Some microseconds: each file is one read."""
        self._seen = ooms, refused = self._refusals()
        stat = _pairs(self._read("stat"))
        found = [int(one) for one in processes.text(self._procs).split()]
        pids = _number(self._read("pids"))
        return Usage(
            memory=_number(self._read("memory")),
            cache=stat.get("file") if self._unified else stat.get("total_cache", stat.get("cache")),
            peak=_number(self._read("peak")),
            swap=_number(self._read("swap")) if self._unified else stat.get("total_swap"),
            ooms=ooms,
            pressure=_pressure(self._read("pressure")),
            pids=None if pids is None else max(0, pids - OWN_PROCESSES),
            processes=tuple(pid for pid in found if pid != self._root),
            refused=refused,
            cpu=self._cpu(found),
        )

    def _ooms(self) -> int | None:
        """Memory that ran out and processes ended for it: the larger, as version 1 may say either alone."""
        events = _events(self._oom) if self._oom >= 0 else 0
        found = _pairs(self._read("ooms"))
        if not found:
            self._rest()
            return None  # the cgroup is gone, which its event tells too
        self._told += events
        return max(found.get("oom_kill", 0), self._told)

    def _cpu(self, found: list[int]) -> float | None:
        """By the kernel's sum; version 1 has it apart, and joining one hierarchy more is for who asks."""
        if "cpu" not in self._files:
            return self._times.add(one for pid in found if (one := processes.look(pid)) is not None)
        said = self._read("cpu")
        if not self._unified:
            nanoseconds = _number(said)
            return None if nanoseconds is None else nanoseconds / 1e9
        microseconds = _pairs(said).get("usage_usec")
        return None if microseconds is None else microseconds / 1e6

    def _read(self, name: str) -> str:
        if name not in self._files:
            return ""
        try:
            return os.pread(self._files[name], _CHUNK, 0).decode(errors="replace")
        except OSError:  # the cgroup is gone
            return ""

    def _rest(self) -> None:
        """Files of a cgroup that is gone are ready for ever: in their place something that never is."""
        silent = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        for fd in self.watched():
            os.dup2(silent, fd, inheritable=False)
        os.close(silent)

    def calm(self) -> bool:
        """Others hold memory."""
        return True

    def halt(self) -> None:
        """The kernel does."""

    def close(self) -> None:
        """Closes every file."""
        for fd in (*self._files.values(), *([self._oom] if self._oom >= 0 else [])):
            os.close(fd)
        self._files, self._oom = {}, -1


def _open(paths: list[str]) -> int | None:
    for path in paths:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
    return None


def _oom_event(directory: str) -> int:
    """A descriptor that becomes readable when memory runs out; -1 where we may not ask for it."""
    event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(f"{directory}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            asked = os.open(f"{directory}/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(asked, f"{event} {control}".encode())
            finally:
                os.close(asked)
        finally:
            os.close(control)
    except OSError:
        os.close(event)
        return -1
    return event


def _events(fd: int) -> int:
    try:
        return os.eventfd_read(fd)
    except OSError:
        return 0  # nothing new


def _number(said: str) -> int | None:
    said = said.strip()
    return int(said) if said.isdecimal() else None


def _pairs(said: str) -> dict[str, int]:
    pairs = (line.split() for line in said.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _pressure(said: str) -> float | None:
    for word in said.partition("\n")[0].split():
        if word.startswith("avg10="):
            return float(word.removeprefix("avg10="))
    return None
