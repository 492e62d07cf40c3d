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
from typing import Any

from sandbox.audit.sink import Sink
from sandbox.errors import AuditError
from sandbox.event import Event

GATHER_S = 0.01
MOST = 512
# The interpreter's lock is let go between two batches: a message in flight waits for one at most.
BATCH = 16


class Clerk:
    """A sink for several threads that never reorders; a failed write makes every later call raise."""

    def __init__(self, sink: Sink, seen: Callable[[Event], None] = lambda event: None) -> None:
        """`seen` is told of every event that was written; it must not raise."""
        self.error: AuditError | None = None
        self._sink = sink
        self._seen = seen
        self._queue: deque[tuple[Callable[..., Event], tuple[Any, ...]]] = deque()
        self._writing = threading.Lock()
        self._called = threading.Event()
        self._failed: Callable[[], None] | None = None

    def start(self, failed: Callable[[], None]) -> None:
        """Begins to queue; `failed` is called once from the clerk's thread when a write fails."""
        self._failed = failed
        threading.Thread(target=self._work, name="audit-clerk", daemon=True).start()

    def emit(self, event: Event, *, sync: bool = False) -> None:
        """Records `event`, after all that came before it, before this returns."""
        if self.error is not None:
            raise self.error
        self.flush()
        self._sink.emit(event, sync=sync)
        self._seen(event)

    def later(self, make: Callable[..., Event], *args: Any) -> None:
        """Records `make(*args)` soon; the caller promises that the arguments are small."""
        if self.error is not None:
            raise self.error
        self._queue.append((make, args))
        if self._failed is None or len(self._queue) > MOST:
            self.flush()
        elif not self._called.is_set():
            self._called.set()

    def flush(self) -> None:
        """Writes all that is queued; raises `AuditError` and keeps it when that fails."""
        with self._writing:
            try:
                while batch := self._take():
                    self._sink.emit_all(batch)
                    for event in batch:
                        self._seen(event)
            except AuditError as error:
                self.error = error
                raise

    def _take(self) -> list[Event]:
        batch: list[Event] = []
        while self._queue and len(batch) < BATCH:
            make, args = self._queue.popleft()
            batch.append(make(*args))
        return batch

    def _work(self) -> None:
        while self.error is None:
            self._called.wait()
            time.sleep(GATHER_S)
            self._called.clear()
            try:
                self.flush()
            except AuditError:
                if self._failed is not None:
                    self._failed()
