"""Memory for the tables of pages, where no cgroup counts it: a page that is only looked at may cost another.

Whoever reads one byte of each 2 MiB of a mapping has nothing resident, since all of them are the zero page,
and holds 4 KiB of tables for each (proc(5), VmPTE). No rlimit bounds it.
"""

from __future__ import annotations

from sandbox.watchdog import processes
from sandbox.watchdog.processes import Process

LEAST = 16 << 20
"""Less than this is not looked for: it is a file more of each process."""


class Tables:
    """What a tree has; the machine's own sum says whether to ask."""

    def __init__(self) -> None:
        self._before = machine()

    def of(self, found: list[Process]) -> int:
        """Bytes of the tree; 0 while the machine's sum has hardly grown."""
        now = machine()
        self._before = min(self._before, now)
        return sum(_tables(one.living) for one in found) if now - self._before >= LEAST else 0


def machine() -> int:
    """All tables of this machine."""
    return _kib("/proc/meminfo", "PageTables:")


def _tables(pid: int) -> int:
    return _kib(f"/proc/{pid}/status", "VmPTE:")


def _kib(path: str, name: str) -> int:
    for line in processes.text(path).splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return 0
