"""Writes the events of ordinary traffic beside the relay instead of inside it.

Hashing and writing one event takes longer than the rest of a message's way through us. What passed is
therefore queued and written within `GATHER_S`; whatever was refused, changed or ended is written at
once, after all that came before it. A SIGKILL of the wrapper can lose the last `GATHER_S` of traffic.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.event import Event

GATHER_S = 0.01
MOST = 4096
TRAFFIC = frozenset({"relay.request", "relay.response", "relay.notification"})


class Clerk:
    """A sink for several threads that never reorders; a failed write makes every later `emit` raise."""

    def __init__(self, sink: Sink) -> None:
        self.error: AuditError | None = None
        self._sink = sink
        self._queue: deque[Event] = deque()
        self._writing = threading.Lock()
        self._called = threading.Event()
        self._started = False
        self._failed: Callable[[], None] = lambda: None

    def start(self, failed: Callable[[], None]) -> None:
        """Begins to queue; `failed` is called once from the clerk's thread when a write fails."""
        self._failed = failed
        self._started = True
        threading.Thread(target=self._work, name="audit-clerk", daemon=True).start()

    def emit(self, event: Event, *, sync: bool = False) -> None:
        """Records `event`: traffic soon, everything else before this returns."""
        if self.error is not None:
            raise self.error
        if event.kind not in TRAFFIC or not self._started:
            self.flush()
            self._sink.emit(event, sync=sync)
            return
        self._queue.append(event)
        if len(self._queue) > MOST:
            self.flush()
        elif not self._called.is_set():
            self._called.set()

    def flush(self) -> None:
        """Writes all that is queued; raises `AuditError` and keeps it when that fails."""
        with self._writing:
            try:
                while self._queue:
                    self._sink.emit(self._queue.popleft())
            except AuditError as error:
                self.error = error
                raise

    def _work(self) -> None:
        while self.error is None:
            self._called.wait()
            time.sleep(GATHER_S)
            self._called.clear()
            try:
                self.flush()
            except AuditError:
                self._failed()
