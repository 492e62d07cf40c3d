"""One spare holder for the next session for as long as this one lives: who takes it is given another."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from socket import SHUT_RDWR
from threading import Event, Thread

from sandbox.backend.docker.holder import Spare

PAUSE_S = 1.0
"""Whoever took the last one starts its server first."""
ENDED_S = 3.0


class Reserve:
    """Makes it beside the session's own work; a start without a spare takes longer, so no error is told."""

    def __init__(self, make: Callable[[], Spare | None]) -> None:
        self._make = make
        self._over = Event()
        self._spare: Spare | None = None
        self._thread = Thread(target=self._run, name="spare", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(Exception):
            while self._keep():
                self._over.wait(PAUSE_S)

    def _keep(self) -> bool:
        """One, until somebody has it; False where another session's waits already, or nothing is to wait."""
        made = self._spare = self._make()
        if made is None or self._over.is_set():
            return False
        made.connection.settimeout(None)
        taken = not made.connection.recv(1) and not self._over.is_set()
        if taken:
            self._spare = None
            made.close()
        return taken

    def close(self) -> None:
        """Ends the spare that nobody took."""
        self._over.set()
        if self._spare is not None:
            with suppress(OSError):  # it is taken or dead
                self._spare.connection.shutdown(SHUT_RDWR)
        self._thread.join(ENDED_S)
        if self._spare is not None:
            self._spare.close()
