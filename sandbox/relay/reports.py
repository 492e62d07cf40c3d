"""Hands the events of messages to the log: of what passed when nobody waits, of what was decided at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sandbox.event import Event
from sandbox.relay.ledger import Side
from sandbox.wire.jsonrpc import Frame

DEFERRED = 2048
"""Bytes up to which a message is kept until its event is made; decoded, it may be eighty times as large."""
KEPT = 8192
"""Bytes up to which its bytes are kept and nothing decoded; the event of a longer one is made at once."""
_PLAIN: Final[dict[str, Any]] = {}
_ERROR: Final[dict[str, Any]] = {"error": None}


def _made(event: Event) -> Event:
    return event


def _undecoded(frame: Frame) -> Frame:
    """The message with as much of its content as events tell."""
    told = _ERROR if "error" in frame.message else _PLAIN
    return Frame(frame.data, frame.kind, frame.id, frame.method, frame.tool, told)


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
        later, size = self._later, len(frame.data)
        try:
            if later is None:
                self._emit(self._noted(side, frame))
            elif size > KEPT:
                later(_made, self._noted(side, frame))
            else:
                later(self._noted, side, frame if size <= DEFERRED else _undecoded(frame))
        except BaseException as error:
            self._failed(error)
