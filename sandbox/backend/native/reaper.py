"""Process 1 once the server runs: collects who ended, obeys the wrapper, ends with server or bridge."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress

from sandbox.backend import report
from sandbox.backend.running import FREEZE, TERMINATE, THAW
from sandbox.records import dataclass

LAST_ANSWERS_S = 0.25
"""A server that is gone has nothing more to say than what the bridge can still read."""
AFTER_BRIDGE_S = 1.0
"""The client's two seconds have begun when its bridge ends."""
OWN_END_S = 0.1
"""A bridge may see that a server crashed before we do: whose end it was decides the exit status."""


@dataclass(frozen=True, slots=True)
class Children:
    """The server, and in front of one that speaks HTTP its bridge; 0 where there is none."""

    server: int
    bridge: int = 0
    stdin: int = -1
    """The end that keeps such a server's own stdin open."""


class Reaper:
    """`run` never returns: the end of process 1 is the end of every process of the sandbox."""

    def __init__(self, children: Children, lifeline: int, to: int) -> None:
        self._children = children
        self._lifeline = lifeline
        self._to = to
        self._codes: dict[int, int] = {}
        """Of those two that have ended, how: a status, or a signal below 0."""
        self._terminate_at: float | None = None
        self._end_at: float | None = None
        self._asked = False

    def run(self) -> None:
        """Until both have ended, or the time is over that one has after the other."""
        woken, wake = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        poll.register(self._lifeline, select.POLLIN)
        while True:
            self._collect()
            for fd, _ in poll.poll(self._wait()):
                if fd == woken:
                    os.read(woken, 4096)
                else:
                    self._obey(os.read(self._lifeline, 64))
            self._do_due(time.monotonic())

    def _wait(self) -> float | None:
        moments = [at for at in (self._terminate_at, self._end_at) if at is not None]
        return max(0.0, min(moments) - time.monotonic()) * 1000 if moments else None

    def _do_due(self, now: float) -> None:
        if self._terminate_at is not None and now >= self._terminate_at:
            self._terminate_at, self._asked = None, True
            os.close(self._children.stdin)
            os.kill(self._children.server, signal.SIGTERM)
        if self._end_at is not None and now >= self._end_at:
            self._end()

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in (self._children.server, self._children.bridge):
                self._codes[pid] = os.waitstatus_to_exitcode(status)
                self._over(pid)

    def _over(self, pid: int) -> None:
        """What the other one still has to do, where there is one."""
        if not self._children.bridge or len(self._codes) == 2:
            self._end()
        now = time.monotonic()
        if pid == self._children.server:
            self._end_at = now + LAST_ANSWERS_S
        else:
            self._terminate_at = now + (OWN_END_S if self._codes[pid] else 0.0)
            self._end_at = now + AFTER_BRIDGE_S

    def _end(self) -> None:
        by_itself = self._children.server in self._codes and not self._asked
        code = self._codes[self._children.server if by_itself else self._children.bridge]
        report.tell(self._to, "ended", *(("status", code) if code >= 0 else ("signal", -code)))
        os._exit(0)

    def _obey(self, command: bytes) -> None:
        if not command:
            os._exit(0)
        if TERMINATE in command and self._children.server not in self._codes:
            os.kill(self._children.server, signal.SIGTERM)
        if FREEZE in command:
            _all(signal.SIGSTOP)
            report.tell(self._to, "frozen")
        if THAW in command:
            _all(signal.SIGCONT)
            report.tell(self._to, "thawed")


def _all(number: signal.Signals) -> None:
    """To every other process of the pid namespace at once, also to one just being forked (kill(2))."""
    with suppress(ProcessLookupError):
        os.kill(-1, number)
