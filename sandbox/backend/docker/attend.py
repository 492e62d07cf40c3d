"""The keeper while a server runs in its container: it obeys the wrapper until any of them ends."""

from __future__ import annotations

import os
import select
import signal
import time

from sandbox.backend import report
from sandbox.backend.docker.bridge import Bridge
from sandbox.backend.running import FREEZE, TERMINATE, THAW

SPARE_AFTER_S = 1.0
"""A spare is for the next session; this one's server starts first."""
LAST_ANSWERS_S = 0.25
"""A server that is gone has nothing more to say than what the bridge can still read."""
AFTER_BRIDGE_S = 1.0
OWN_END_S = 0.4
"""An engine tells of a server's end later than its connections do: whose end it was decides the status."""
TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.backend.docker.container import Container


class Attendance:
    """One session's; then `over` says whether the server is, and `asked` whether that was wished for."""

    def __init__(self, container: Container, bridge: Bridge | None, lifeline: int, to: int) -> None:
        self.over = self.asked = False
        self._container = container
        self._bridge = bridge
        self._lifeline = lifeline
        self._to = to
        self._by_us = False
        self._done = False
        self._poll = select.poll()
        for fd in (container.ended, lifeline, *(() if bridge is None else (bridge.fileno(),))):
            self._poll.register(fd, select.POLLIN)
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._later(SPARE_AFTER_S, container.keep_spare)

    @property
    def status(self) -> int | None:
        """As whoever ended first without us; None where nobody did."""
        if self._bridge is None or (self.over and not self._by_us):
            return self._container.status
        return self._bridge.code

    def run(self) -> None:
        """Returns when the wrapper wants no more of it, or it is over."""
        while not self._done:
            wait = max(0.0, self._due[0][0] - time.monotonic()) * 1000 if self._due else None
            for fd, _ in self._poll.poll(wait):
                if fd == self._container.ended:
                    self._server_over(fd)
                elif fd == self._lifeline:
                    self._obey(os.read(fd, 64))
                else:
                    self._bridge_over(fd)
            while not self._done and self._due and self._due[0][0] <= time.monotonic():
                self._due.pop(0)[1]()

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, what))
        self._due.sort(key=lambda one: one[0])

    def _server_over(self, fd: int) -> None:
        self._poll.unregister(fd)
        self.over = True
        if self._bridge is None or self._bridge.code is not None:
            self._finish()
        else:
            self._later(LAST_ANSWERS_S, self._finish)

    def _bridge_over(self, fd: int) -> None:
        assert self._bridge is not None  # noqa: S101 - its own descriptor woke us
        self._poll.unregister(fd)
        failed = self._bridge.collect()
        if self.over:
            self._finish()
            return
        self._later(OWN_END_S if failed else 0.0, self._end_server)
        self._later(AFTER_BRIDGE_S, self._finish)

    def _end_server(self) -> None:
        if not self.over:
            self._by_us = True
            self._container.terminate()

    def _finish(self) -> None:
        self._done = True

    def _obey(self, command: bytes) -> None:
        if not command:
            self.asked = self._done = True
            return
        if TERMINATE in command:
            self.asked = True
            self._container.terminate()
        if FREEZE in command:
            self._signal(signal.SIGSTOP)
            report.tell(self._to, "frozen" if self._container.pause() else "unable")
        if THAW in command:
            report.tell(self._to, "thawed" if self._container.unpause() else "unable")
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._bridge is not None:
            self._bridge.send(number)
