"""Carries MCP messages between a client and a sandboxed server over pipes: two directions, one FIFO each.

Nothing is read before what came before it is written (`carriers`), which is all the backpressure there is:
whatever either side does, at most one frame and one read's worth of bytes is held per direction. What is
forwarded is what arrived, byte for byte, but for
the answer to a failed call during which something was denied: it says so too (`explain`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sandbox.event import Event, Value
from sandbox.relay.answers import Answers, Desk
from sandbox.relay.carriers import Carriers, Lane
from sandbox.relay.explain import amend, printable, reports_failure
from sandbox.relay.facts import Counts, failed_call, fault_event, frame_detail, passed
from sandbox.relay.ledger import Ended, Ledger, Pending, Refused, Side
from sandbox.relay.limits import Limits
from sandbox.relay.noise import NoiseTally
from sandbox.relay.outlet import Outlet, widen
from sandbox.relay.refusals import cancel_frame, expired, over_limit, overdue, refusal, said
from sandbox.relay.reports import Reports
from sandbox.relay.timeouts import Timeouts
from sandbox.wire.jsonrpc import CAP, INTERNAL_ERROR, Fault, Frame, FrameReader
from sandbox.wire.salvage import Id

if TYPE_CHECKING:
    from sandbox.relay.inspection import Inspection


class Relay:
    """A session's messages. It owns and closes `server_in`; the other descriptors stay the caller's.

    `emit` is called from both threads, after the bytes went out; if it raises, nothing is forwarded any
    more and `failed` holds the exception. `later(make, *args)`, where given, takes the events of small frames
    that passed, to be made when nobody waits. `noise` gets the start of every stdout line that is no message.
    `stop`, where given, is asked about every message of the server's; a reason keeps it from the client.
    `inspection`, where given, judges every message that may pass otherwise; `noted` makes its event.
    `idle` is called once after long messages, when none has come for a while and nothing is to do.
    `changed` is called after each of `client_eof`, `client_gone`, `server_eof`, `server_spoke`, `failed`.
    """

    def __init__(
        self,
        *,
        client_in: int,
        client_out: int,
        server_in: int,
        server_out: int,
        emit: Callable[[Event], None],
        noise: Callable[[bytes], None] = lambda line: None,
        changed: Callable[[], None] = lambda: None,
        cap: int = CAP,
        later: Callable[..., None] | None = None,
        stop: Callable[[Frame], str | None] | None = None,
        limits: Limits | None = None,
        inspection: Inspection | None = None,
        noted: Callable[[Side, Frame], Event] = passed,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._client_ends = (client_in, client_out)
        self._from_client_reader, self._from_server_reader = FrameReader(cap), FrameReader(cap)
        self._carriers = Carriers(
            Lane(client_in, self._carry_to_server, self._end_to_server),
            Lane(server_out, self._carry_to_client, self._end_to_client),
            idle,
        )
        self._client = Outlet(client_out, self._carriers.apart)
        self._server = Outlet(server_in, self._carriers.apart)
        self._log = Reports(emit, later, noted, self._carriers.apart, self._fail)
        self._report = self._log.report
        self._noise = noise
        self._changed = changed
        self._stop = stop
        self._cap = cap
        self.limits = limits or Limits()
        self.limits.serves(self._server, self._carriers.apart)
        self.counts = Counts()
        self._ledger = Ledger()
        self._answers = Answers(self._client, self._server, self._ledger, cap, self._lose_client)
        self._inspection = inspection
        if inspection is not None:
            desk = Desk(
                self._answers, self._server, self._ledger,
                self._report, self.limits.hand_over, self._forward, self._fail,
            )  # fmt: skip
            inspection.serve(desk)
        self._tally = NoiseTally()
        self.last_activity = time.monotonic()
        self.failed: BaseException | None = None
        self.client_eof = threading.Event()
        self.client_gone = threading.Event()
        self.server_eof = threading.Event()
        self.server_spoke = threading.Event()

    def start(self) -> None:
        """Begin to carry."""
        for fd in self._client_ends:
            widen(fd)
        self._carriers.start()
        if self.limits.timeout is not None:
            Timeouts(self.limits.timeout, self._ledger, self._expire, self._fail).start(self.server_eof)

    def pending_calls(self) -> tuple[Pending, ...]:
        """The client's requests that have no answer yet, oldest first."""
        return self._ledger.pending()

    def open_calls(self) -> int:
        """How many requests the server is at work on: `ping` and `subscriptions/listen` are no work."""
        return self._ledger.open_calls()

    def explain(self, text: str) -> int:
        """Tell every call that is open now of a denial, in its answer if that reports failure; how many.

        `text` is our own words, a line that names host, rule and profile line. A call is told of eight
        different ones, or of its first where hundreds are open; the others are counted. From any thread.
        """
        return self._ledger.explain(printable(text))

    @property
    def era(self) -> str:
        """`legacy`, `modern`, or `unknown` until the client's first telling message."""
        return self._ledger.era

    @property
    def client(self) -> tuple[str, str]:
        """The name and version that the client gave itself; empty until it has."""
        return self._ledger.client

    def fail_pending(
        self, code: int, message: str, data: Mapping[str, Value] | None = None, *, within: float = 1.0
    ) -> int:
        """Answer every open request of the client's, and each later one, with this error; how many got it.

        Exactly once each, never inside another frame, and done after `within` seconds even if the client
        reads nothing. Call it after `server_eof` (or a kill) so that real answers come first.
        """
        deadline = time.monotonic() + within
        answered = 0
        for call in self._ledger.end(Ended(code, message, dict(data or {}))):
            answer = self._answers.error(call.id, code, message, data, call.told)
            if not self._client.send_within(answer, deadline):
                break
            answered += 1
            self._report(failed_call(call, code, data))
        return answered

    # --- client to server ---------------------------------------------------------------------------

    def _carry_to_server(self, chunk: bytes) -> bool:
        reader = self._from_client_reader
        self._each(reader.feed(chunk), self._from_client)
        return reader.under_way

    def _end_to_server(self, error: BaseException | None) -> None:
        try:
            if error is not None:
                raise error
            self._each(self._from_client_reader.close(), self._from_client)
        except BaseException as failure:
            self._fail(failure)
        finally:
            self._signal(self.client_eof)
            if self._inspection is not None:
                self._inspection.finish(self.server_eof)
            self._server.close()

    def _from_client(self, item: Frame | Fault) -> None:
        now = self.last_activity = time.monotonic()
        counts = self.counts
        if isinstance(item, Fault):
            counts.bytes_up += item.size
            counts.refused += 1
            self._refuse_client_fault(item)
            if self.limits.counts_client:
                self._over_limit(None, now)
            return
        counts.bytes_up += len(item.data)
        inspection = self._inspection
        if inspection is not None and item.kind == "response" and inspection.takes("client", item):
            return
        refused = self._ledger.from_client(item, now)
        if refused is not None:
            self._conclude("client", item, refused)
        elif not (self.limits.counts_client and self._over_limit(item, now)):
            frame = item if inspection is None else inspection.to_server(item)
            if frame is not None:
                self._forward(frame)

    def _forward(self, frame: Frame) -> None:
        """Send the server a message that may pass; from any thread."""
        self.counts.calls += frame.kind == "request"
        if self._server.send(frame.data):
            self._log.passed("client", frame)
        else:
            self._conclude("client", frame, self._server_gone(frame))

    def _over_limit(self, frame: Frame | None, now: float) -> bool:
        """Whether a limit of the profile keeps `frame` from the server; its asker is told, or will be."""
        open_now = 0 if self.limits.concurrency is None else self._ledger.at_once()
        stopped = self.limits.from_client(frame, open_now, now)
        if stopped is None:
            return False
        excess, told = stopped.excess, self.limits.told(stopped.excess)
        if frame is not None:
            self.counts.refused += 1
            self._report(over_limit(frame, excess, told))
        if not stopped.told:
            # The sandbox ends, and its end answers this request with all that are open.
            self.limits.hand_over(excess)
        elif frame is not None and self._ledger.settle("client", frame.id):
            self._answers.to_client(refusal(frame, excess, told, modern=self.era == "modern"))
        return True

    def _expire(self, call: Pending, waited: float) -> None:
        """Answer a call whose time is over, and tell the server that nobody waits any more."""
        excess = overdue(waited, self.limits.timeout or 0.0)
        told = self.limits.told(excess)
        words = said(excess, told)
        self.counts.expired += 1
        self._report(expired(call, excess, told))
        self._answers.to_client(self._answers.error(call.id, INTERNAL_ERROR, words, told, call.told))
        if not (self._inspection and self._inspection.expired(call.id)) and call.method != "initialize":
            # Without waiting: a server that reads nothing is `traffic.stall`'s.
            self._server.send_now(cancel_frame(call.id, words))

    def _server_gone(self, frame: Frame) -> Refused:
        """The server reads no more; `fail_pending` may have answered this request already."""
        open_still = frame.kind == "request" and self._ledger.settle("client", frame.id)
        reason = "the server has closed its input"
        return Refused("server-gone", reason, INTERNAL_ERROR, "client" if open_still else None, frame.id)

    def _refuse_client_fault(self, fault: Fault) -> None:
        """Answer every refused line of the client's, with its id unless that would answer another call."""
        self._report(fault_event("client", fault))
        if fault.kind == "response":
            self._answers.fail_requests("server", fault.ids, fault.rule, fault.reason)
        else:
            ids: list[Id] = [id for id in fault.ids if not self._ledger.knows("client", id)]
            for id in ids or [None]:
                self._answers.tell("client", id, fault.code, fault.rule, fault.reason)

    # --- server to client ---------------------------------------------------------------------------

    def _carry_to_client(self, chunk: bytes) -> bool:
        reader = self._from_server_reader
        if self.limits.flooded:
            return False  # what else is in the pipe is the same, and its end is waited for
        self._each(reader.feed(chunk), self._from_server)
        if reader.wasting or reader.blank_lines:
            self.limits.nothing(reader, time.monotonic())
        return reader.under_way

    def _end_to_client(self, error: BaseException | None) -> None:
        try:
            if error is not None:
                raise error
            self._each(self._from_server_reader.close(), self._from_server)
            if rest := self._tally.rest():
                self._report(rest)
        except BaseException as failure:
            self._fail(failure)
        finally:
            self._signal(self.server_eof)

    def _from_server(self, item: Frame | Fault) -> None:
        now = time.monotonic()
        counts = self.counts
        if isinstance(item, Fault):
            counts.bytes_down += item.size
            if self.limits.useless(item, now):
                self._refuse_server_fault(item, now)
            return
        counts.bytes_down += len(item.data)
        if item.kind != "response" and not self.limits.unasked(now):
            return
        self.last_activity = now
        if not self.server_spoke.is_set():
            self._signal(self.server_spoke)
        if self._stop is not None and self._stopped(self._stop, item):
            return
        inspection = self._inspection
        if inspection is not None and item.kind == "response" and inspection.takes("server", item):
            return
        verdict = self._ledger_on(item, now)
        if isinstance(verdict, Refused):
            if item.kind != "response" or (self.limits.unasked(now) and self.limits.wasted(item.size, now)):
                self._conclude("server", item, verdict)
            return
        frame = item if inspection is None else inspection.to_client(item, verdict)
        if frame is None:
            counts.withheld += 1
            return
        counts.answered += frame.kind == "response"
        if verdict is not None and verdict.denied:
            self._send_explained(frame, verdict)
        elif self._client.send(frame.data):
            self._log.passed("server", frame)
        else:
            self._conclude("server", frame, self._client_lost())

    def _ledger_on(self, frame: Frame, now: float) -> Refused | Pending | None:
        """Why the server may not say this now, or the request that it answers."""
        if frame.kind == "response" and self._inspection is not None and self._inspection.holds(frame.id):
            return Refused("unasked-response", "an answer to a request that the server never got")
        return self._ledger.from_server(frame, now)

    def _send_explained(self, frame: Frame, call: Pending) -> None:
        """Send the answer to a call during which something was denied; if it failed, with what that was."""
        amended = amend(frame.data, call.told, self._cap) if reports_failure(frame.message) else None
        if not self._client.send(frame.data if amended is None else amended):
            self._conclude("server", frame, self._client_lost())
        elif amended is None:
            self._log.passed("server", frame)
        else:
            # Size and hash are of what the server said.
            detail = {**frame_detail("server", frame), "amended": True}
            self._report(Event("relay.response", detail))

    def _client_lost(self) -> Refused:
        self._lose_client()
        return Refused("client-gone", "the client has closed its input")

    def _stopped(self, stop: Callable[[Frame], str | None], frame: Frame) -> bool:
        """Whether `stop` keeps `frame` from the client; whoever waits because of it is answered."""
        if frame.kind == "response" and reports_failure(frame.message):
            self._carriers.apart()  # `stop` may wait for the denials that are why
        try:
            reason = stop(frame)
        except BaseException as error:
            self._fail(error)
            return True
        if reason is None:
            return False
        self._conclude("server", frame, Refused("canary", reason))
        if frame.kind == "response":
            self._answers.fail_requests("client", [frame.id], "canary", reason)
        elif frame.kind == "request":
            # The reason would tell a server which of the secrets that it found are none.
            self._answers.refuse_requests([frame.id], INTERNAL_ERROR, "refused", "the request was refused")
        return True

    def _refuse_server_fault(self, fault: Fault, now: float) -> None:
        if fault.noise:
            self._noise(fault.head)
            if due := self._tally.add(fault.size, now):
                self._report(due)
            return
        self.counts.withheld += 1
        self._report(fault_event("server", fault))
        if fault.kind != "request":
            if self._inspection is not None:
                self._inspection.refused(fault.ids)
            self._answers.fail_requests("client", fault.ids, fault.rule, fault.reason)
        else:
            self._answers.refuse_requests(fault.ids, fault.code, fault.rule, fault.reason)

    # --- both ---------------------------------------------------------------------------------------

    def _each(self, items: list[Frame | Fault], carry: Callable[[Frame | Fault], None]) -> None:
        for item in items:
            if self.failed is None:
                carry(item)

    def _conclude(self, side: Side, frame: Frame, refused: Refused) -> None:
        """Record that a message was not passed on, and tell whoever waits for it."""
        if side == "client":
            self.counts.refused += 1
        else:
            self.counts.withheld += 1
        # A denial is on disk before anybody hears of it.
        detail = {**frame_detail(side, frame), "reason": refused.reason}
        self._report(Event("relay.dropped", detail, refused.rule))
        if refused.to is not None:
            self._answers.tell(
                refused.to, refused.id, refused.code, refused.rule, refused.reason, refused.data
            )

    def _lose_client(self) -> None:
        if not self.client_gone.is_set():
            self._signal(self.client_gone)

    def _signal(self, what: threading.Event) -> None:
        what.set()
        self._changed()

    def _fail(self, error: BaseException) -> None:
        """Stop forwarding for good; the session reads `failed` and ends."""
        self.failed = self.failed or error
        self._changed()
