"""What an inspection sends while it holds its lock goes out once it has let go.

A side that reads nothing holds up whoever writes to it. With the lock held, that would hold up the other
direction too, and each would wait for the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from sandbox.event import Event
from sandbox.excess import Excess
from sandbox.relay.ledger import Pending, Side
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.salvage import Id


class Desk(Protocol):
    """What the relay does for its inspection; from any thread."""

    def to_client(self, data: bytes) -> None: ...
    def to_server(self, data: bytes) -> None: ...
    def report(self, event: Event) -> None: ...
    def breach(self, excess: Excess) -> None: ...
    def failed(self, error: BaseException) -> None:
        """Nothing is carried any more: the session ends."""

    def settle(self, side: Side, id: Id) -> Pending | None:
        """Close an open request as answered by us; None where it is not open any more."""

    def is_open(self, id: Id) -> bool:
        """Whether the client still waits for `id`."""

    def forward(self, frame: Frame) -> None:
        """Pass a held request on, as if it came now."""

    @property
    def era(self) -> str: ...


class Outbox:
    """A desk and the lock of whoever sits at it: `with outbox:` judges, and sends afterwards, in order."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner = self._depth = 0
        self._waiting: list[tuple[Callable[[Any], None], Any]] = []
        self._desk: Desk = None  # type: ignore[assignment]  # set by `serve`, before any message

    def serve(self, desk: Desk) -> None:
        """`desk` carries from now on."""
        self._desk = desk
        self.report, self.settle, self.is_open = desk.report, desk.settle, desk.is_open
        self.failed = desk.failed

    def __enter__(self) -> None:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        sent: list[tuple[Callable[[Any], None], Any]] = []
        if not self._depth:
            self._owner = 0
            if self._waiting:
                sent, self._waiting = self._waiting, sent
        self._lock.release()
        for send, what in sent:
            send(what)

    def to_client(self, data: bytes) -> None:
        """Send the client a message of ours."""
        self._send(self._desk.to_client, data)

    def to_server(self, data: bytes) -> None:
        """Send the server a message of ours."""
        self._send(self._desk.to_server, data)

    def forward(self, frame: Frame) -> None:
        """Pass a held request on."""
        self._send(self._desk.forward, frame)

    def breach(self, excess: Excess) -> None:
        """End the sandbox, which waits for the main loop."""
        self._send(self._desk.breach, excess)

    @property
    def era(self) -> str:
        """`legacy`, `modern` or `unknown`."""
        return self._desk.era

    def _send(self, send: Callable[[Any], None], what: object) -> None:
        # Only the thread that has the lock can find itself there.
        if self._owner == threading.get_ident():
            self._waiting.append((send, what))
        else:
            send(what)
