"""What the relay itself says to either side: errors in place of answers, and what its inspection decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from sandbox.event import Event, Value
from sandbox.excess import Excess
from sandbox.relay.explain import amend
from sandbox.relay.ledger import Ledger, Side
from sandbox.relay.outlet import Outlet
from sandbox.wire.jsonrpc import INTERNAL_ERROR, Frame, error_frame
from sandbox.wire.salvage import Id


class Answers:
    """Speaks to client and server between what is carried; a client that is gone is told to `lose_client`."""

    def __init__(
        self, client: Outlet, server: Outlet, ledger: Ledger, cap: int, lose_client: Callable[[], None]
    ) -> None:
        self._client = client
        self._server = server
        self._ledger = ledger
        self._cap = cap
        self._lose_client = lose_client

    def tell(
        self,
        side: Side,
        id: Id,
        code: int,
        rule: str,
        reason: str,
        data: Mapping[str, Value] | None = None,
        denied: Sequence[str] = (),
    ) -> None:
        """Send `side` an error response of our own."""
        # Words of the session's (`fail_pending`) come with its data and are said as they are.
        text = reason if data else f"mcp-sandbox: {reason}"
        answer = self.error(id, code, text, data or {"rule": rule}, denied)
        if side == "server":
            self._server.send(answer)
        else:
            self.to_client(answer)

    def error(
        self, id: Id, code: int, text: str, data: Mapping[str, Value] | None, denied: Sequence[str]
    ) -> bytes:
        """An error response of our own, with what was denied while its call was open."""
        answer = error_frame(id, code, text, dict(data or {}))
        return amend(answer, denied, self._cap) or answer if denied else answer

    def fail_requests(self, side: Side, ids: Iterable[Id], rule: str, reason: str) -> None:
        """A refused answer is still an answer: whoever waits for it on `side` gets an error instead."""
        text = f"the answer was refused: {reason}"
        for id in ids:
            if call := self._ledger.settle(side, id):
                self.tell(side, id, INTERNAL_ERROR, rule, text, denied=call.told)

    def refuse_requests(self, ids: Iterable[Id], code: int, rule: str, reason: str) -> None:
        """Answer refused requests of the server's, where servers may ask and this ends no other one."""
        if self._ledger.era == "legacy":
            for id in ids:
                if not self._ledger.knows("server", id):
                    self.tell("server", id, code, rule, reason)

    def to_client(self, data: bytes) -> None:
        """Send a whole message of ours."""
        if not self._client.send(data):
            self._lose_client()


class Desk:
    """What an inspection may do with the relay (`relay.outbox.Desk`)."""

    def __init__(
        self,
        answers: Answers,
        server: Outlet,
        ledger: Ledger,
        report: Callable[[Event], None],
        breach: Callable[[Excess], None],
        forward: Callable[[Frame], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.to_client = answers.to_client
        self.settle = ledger.settle
        self.is_open = ledger.is_open
        self.report = report
        self.breach = breach
        self.forward = forward
        self.failed = failed
        self._server = server
        self._ledger = ledger

    def to_server(self, data: bytes) -> None:
        """Send a whole message of ours."""
        self._server.send(data)

    @property
    def era(self) -> str:
        """`legacy`, `modern` or `unknown`."""
        return self._ledger.era
