"""Hands the events of messages to the log: of what passed when nobody waits, of what was decided at once."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.event import Event
from sandbox.relay.ledger import Side
from sandbox.wire.jsonrpc import Frame

DEFERRED = 2048  # larger frames are not kept for the clerk: their event is made at once, and kept


def _made(event: Event) -> Event:
    return event


class Reports:
    """The log as the relay sees it; what `emit` or `later` raise goes to `failed`."""

    def __init__(
        self,
        emit: Callable[[Event], None],
        later: Callable[..., None] | None,
        noted: Callable[[Side, Frame], Event],
        waits: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._emit = emit
        self._later = later
        self._noted = noted
        self._waits = waits
        self._failed = failed

    def report(self, event: Event) -> None:
        """Record the event before this returns; it may be synced to the disk."""
        self._waits()
        try:
            self._emit(event)
        except BaseException as error:
            self._failed(error)

    def passed(self, side: Side, frame: Frame) -> None:
        """Record, soon, that a message was passed on."""
        later = self._later
        try:
            if later is None:
                self._emit(self._noted(side, frame))
            elif len(frame.data) > DEFERRED:
                later(_made, self._noted(side, frame))
            else:
                later(self._noted, side, frame)
        except BaseException as error:
            self._failed(error)
