"""Whether memory stands still, in some microseconds: one short read a process, two for all the others."""

from __future__ import annotations

from sandbox.watchdog import processes
from sandbox.watchdog.processes import PAGE, Process
from sandbox.watchdog.shared import machine

GROWN = 1 / 64
"""The part of the limit that may have come since the last whole look."""
MOST = 64
"""With more processes a glance would cost what a whole look does."""


class Glance:
    """Remembers what each process had at the last whole look."""

    def __init__(self) -> None:
        self._read = processes.Reader()
        self._then: dict[str, int] = {}
        self._newest = ""
        self._shared = 0

    def at(self, found: list[Process]) -> None:
        """These are all, with what they have now."""
        paths = {f"/proc/{one.living}/statm": one.resident for one in found}
        self._then = paths if len(paths) <= MOST else {}
        self._newest = self._last_begun()
        self._shared = machine(self._read)
        self._read.forget()

    def calm(self, limit: int) -> bool:
        """Whether they have hardly more, and nobody has begun since; False where that is not known."""
        # What cannot be read is no sign of calm.
        if not self._then or not self._newest or self._newest != self._last_begun():
            return False
        more = max(0, machine(self._read) - self._shared)
        for path, then in self._then.items():
            words = self._read(path).split()
            if len(words) < 2:
                return False
            more += max(0, int(words[1]) * PAGE - then)
        return more <= GROWN * limit

    def _last_begun(self) -> str:
        """The number of the process that began last on this machine, of ours or not (proc_loadavg(5))."""
        return self._read("/proc/loadavg").rpartition(" ")[2]

    def close(self) -> None:
        """Closes every file."""
        self._then = {}
        self._read.forget()
        self._read.forget()
