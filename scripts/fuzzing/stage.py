"""A relay without threads and pipes: frames and ledger are the relay's own, what is sent is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sandbox.event import Event
from sandbox.excess import Excess
from sandbox.inspect.judged import Finding, Inspector
from sandbox.relay.inspection import Inspection
from sandbox.relay.ledger import Ledger, Pending, Refused, Side
from sandbox.secrecy import Secrecy
from sandbox.wire.jsonrpc import Frame, FrameReader
from sandbox.wire.salvage import Id

CAP = 1 << 20


class Sent:
    """What would be said to either side, and the ledger that knows who waits."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.settle: Callable[[Side, Id], Pending | None] = ledger.settle
        self.is_open: Callable[[Id], bool] = ledger.is_open
        self.said: list[bytes] = []
        self.events: list[Event] = []
        self.ended = False

    def to_client(self, data: bytes) -> None:
        """A message of ours."""
        self.said.append(data)

    def to_server(self, data: bytes) -> None:
        """A message of ours."""
        self.said.append(data)

    def report(self, event: Event) -> None:
        """An event."""
        self.events.append(event)

    def breach(self, excess: Excess) -> None:
        """The end of the sandbox."""
        self.ended = True

    def failed(self, error: BaseException) -> None:
        """The end of the session by a fault of our own."""
        raise error

    def forward(self, frame: Frame) -> None:
        """A request that was held."""
        self.said.append(bytes(frame.data))

    @property
    def era(self) -> str:
        """The ledger's."""
        return self._ledger.era


class Stage:
    """One session of some inspectors; every message that is sent is kept in `sent`."""

    def __init__(self, inspectors: Sequence[Inspector], keeping: Secrecy | None = None) -> None:
        self._ledger = Ledger()
        self.sent = Sent(self._ledger)
        secretive = keeping.holds if keeping else lambda frame: False
        self._inspection = Inspection(inspectors, _told, secretive=secretive)
        self._inspection.serve(self.sent)

    def say(self, side: Side, frame: Frame) -> Frame | None:
        """What becomes of one message."""
        if frame.kind == "response" and self._inspection.takes(side, frame):
            return None
        if side == "client":
            if self._ledger.from_client(frame, 0.0) is not None:
                return None
            return self._inspection.to_server(frame)
        call = self._ledger.from_server(frame, 0.0)
        return None if isinstance(call, Refused) else self._inspection.to_client(frame, call)

    def play(self, data: bytes) -> list[Frame]:
        """The messages of a conversation (`conversations.spoken`) that would be passed on."""
        passed = []
        for line in data.split(b"\n"):
            side: Side = "server" if line[:1] == b"<" else "client"
            for item in FrameReader(CAP).feed(line[1:] + b"\n"):
                if isinstance(item, Frame) and (frame := self.say(side, item)) is not None:
                    passed.append(frame)
        return passed


def _told(finding: Finding) -> dict[str, str]:
    return {"place": finding.place, "profile": "default"}
