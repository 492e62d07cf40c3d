"""Processes of a container that its filter ended: a breach, named where the kernel's log can be read.

An engine's filter has no listener, so a dangerous call ends its process by SIGSYS. That the server itself
ended so is known by its status; that a child did, and by which call, is in the kernel's log alone, which
most users may not read, and which drops records when it is flooded. The call is made in no case.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping

from sandbox.backend.native import notify
from sandbox.backend.running import Running
from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.host import kernel_log
from sandbox.plan.spec import Tier

KEY = "syscalls.tier"
SIGSYS_STATUS = 128 + signal.SIGSYS
MOST = 64
"""Records of the log read in one go; the rest wakes the loop again."""


class KillWatch:
    """The kernel's log of one session, as a `Source` of the main loop."""

    def __init__(self, running: Running, tier: Tier, emit: Callable[[Event], None]) -> None:
        self.denied = 0
        """Processes of the container that are known to have been ended so."""
        self._container = running.container
        self._init = running.init_pid
        self._tier = tier
        self._emit = emit
        self._log = kernel_log.opened() if self._init is not None else None
        self._first: frozenset[int] = frozenset()

    def watched(self) -> Mapping[int, int]:
        return {} if self._log is None else {self._log: select.POLLIN}

    def look(self, now: float, ready: frozenset[int]) -> tuple[list[Excess], float | None]:
        """What was ended in this container."""
        if not self._first and self._init is not None:
            self._first = _children(self._init)
        found: list[Excess] = []
        if self._log is not None and self._log in ready:
            for one in kernel_log.killed(self._log, MOST):
                if one.pid in self._first or self._is_ours(one.pid):
                    found.append(self._told(one))
        return found, None

    def _is_ours(self, pid: int) -> bool:
        """Whether it is of this container; a process that was waited for already cannot be told."""
        try:
            with open(f"/proc/{pid}/cgroup") as file:
                return self._container in file.read(4096)
        except OSError:
            return False

    def _told(self, one: kernel_log.Killed) -> Excess:
        from sandbox.plan.syscall_finding import killed_for

        machine, _, name = notify.called(one.arch, one.number)
        self.denied += 1
        why = killed_for(self._tier, machine, name)
        detail: dict[str, Value] = {"call": name, "machine": machine, "pid": one.pid, "process": one.name}
        self._emit(
            Event("syscall.deny", {**detail, "class": "dangerous", "verdict": "killed", "why": why}, rule=KEY)
        )
        by = f"`{one.name}` (pid {one.pid} of the host)"
        return Excess(KEY, f"`{name}` was called by {by}: {why}", detail=detail)

    def ended(self, status: int) -> list[Excess]:
        """The server's own end by SIGSYS is a breach, whether or not the log names the call."""
        if status != SIGSYS_STATUS or self.denied:
            return []
        # The engine's own end comes by another way than the kernel's log, and may be here first.
        found, _ = self.look(0.0, frozenset(self.watched()))
        if found:
            return found
        self.denied += 1
        detail: dict[str, Value] = {"call": "unknown", "class": "dangerous", "verdict": "killed"}
        self._emit(Event("syscall.deny", detail, rule=KEY))
        return [Excess(KEY, _UNNAMED)]

    def finish(self) -> None:
        """Lets go of the log."""
        if self._log is not None:
            os.close(self._log)
            self._log = None


_UNNAMED = "the server was ended by its filter for a forbidden system call, which only the kernel's log names"


def _children(pid: int) -> frozenset[int]:
    """The processes that the engine's init started: the server, and nothing else so early."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return frozenset(int(word) for word in file.read(4096).split())
    except (OSError, ValueError):
        return frozenset()
