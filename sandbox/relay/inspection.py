"""Asks the inspectors about every message, in order, and does what they say.

An inspector sees what the ones before it left of a message. A request of the client's can be held: until
the relay has read a list of the server's that an inspector needs (`fetch`), or until a person has answered
(`ask`). Then the inspectors go on where they stopped.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sandbox.event import Value
from sandbox.excess import Excess
from sandbox.inspect.judged import Asked, Edit, Finding, Inspector, Judged
from sandbox.relay.asking import OWN, Asking, Question
from sandbox.relay.denials import (
    answer,
    answer_event,
    bare,
    because,
    denial_event,
    edited,
    finding_event,
    foremost,
    refused_answer,
)
from sandbox.relay.facts import passed
from sandbox.relay.granted import Granted
from sandbox.relay.ledger import Pending, Side
from sandbox.relay.listing import Listings
from sandbox.relay.outbox import Desk, Outbox
from sandbox.relay.questions import Answer, again, wording
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.salvage import Id

MOST_HELD = 64
ANSWER_S = 120.0
LIST_S = 10.0
"""How long the server may take to let its lists be read before a call is refused for want of them."""
FINISH_S = 0.01
LONG = 1 << 17
"""Bytes of a message through which inspectors look at once, on as many processors as there are."""
_LISTS = frozenset(
    "tools/list resources/list resources/templates/list prompts/list server/discover initialize".split()
)
"""Of these the request's parameters are kept until their answer: pages have a cursor."""

_NONE: Final[dict[str, Any]] = {}

Told = Mapping[str, Value]
About = tuple[str | None, str | None]
"""Method and tool of the client's request that a message is, or answers."""
Worded = Callable[[Frame, About, Finding], str]
"""What a person is asked."""


def wording_alone(frame: Frame, about: About, finding: Finding) -> str:
    """The question where nothing is known of the session."""
    return wording(frame, about, finding, "the server", "default")


class _Held:
    """A request that waits: where its inspection goes on, and for which lists."""

    def __init__(self, frame: Frame, at: int, missing: set[str]) -> None:
        self.frame = frame
        self.at = at
        self.missing = missing
        self.timer: threading.Timer | None = None


class Inspection:
    """The inspectors of one session; `told` says where the rule of a finding was written.

    Of a `secretive` message no word is told: an excerpt ends anywhere, and half a secret passes for none.
    """

    def __init__(
        self,
        inspectors: Sequence[Inspector],
        told: Callable[[Finding], Told],
        asking: Asking | None = None,
        worded: Worded = wording_alone,
        secretive: Callable[[Frame], bool] = lambda frame: False,
    ) -> None:
        self._secretive = secretive
        self._inspectors = tuple(inspectors)
        self._judges: dict[Side, tuple[Callable[..., Judged | None], ...]] = {
            "client": tuple(one.to_server for one in self._inspectors),
            "server": tuple(one.to_client for one in self._inspectors),
        }
        self._ahead = tuple(one.ahead for one in self._inspectors if hasattr(one, "ahead"))
        self._told = told
        self.asking = asking or Asking(ANSWER_S)
        self._worded = worded
        self._granted = Granted()
        self._held: dict[Id, _Held] = {}
        self._params: dict[Id, Asked] = {}
        self._listings = Listings(OWN, os.urandom)
        self._desk = Outbox()

    def serve(self, desk: Desk) -> None:
        """`desk` carries from now on."""
        self._desk.serve(desk)
        self.asking.serve(self._desk)

    # --- the relay's two threads -----------------------------------------------------------------------

    def takes(self, side: Side, frame: Frame) -> bool:
        """Whether a response answers a request of our own; then nothing else is to be done with it."""
        id = frame.id
        if type(id) is not str or not id.startswith(OWN):
            return False
        with self._desk:
            return self.asking.takes(frame) if side == "client" else self._listed(frame)

    def holds(self, id: Id) -> bool:
        """Whether the request `id` has not reached the server: an answer to it is a guess."""
        return id in self._held or self.asking.holds(id)

    def refused(self, ids: Sequence[Id]) -> None:
        """An answer of the server's was no message: if we wait for it, it does not come any more."""
        for id in ids:
            if type(id) is str and id.startswith(OWN):
                with self._desk:
                    if (listing := self._listings.of(id)) is not None:
                        self._listings.turned(listing, None, id)
                        self._read(listing.method)

    def expired(self, id: Id) -> bool:
        """The time of a request is over: nothing is kept of it; whether the server never got it."""
        with self._desk:
            return self._forget(id)

    def finish(self, over: threading.Event) -> None:
        """The client has said all it will: returns once nothing of it is held for a list any more."""
        until = time.monotonic() + LIST_S
        while self._held and time.monotonic() < until and not over.wait(FINISH_S):
            pass

    def to_server(self, frame: Frame) -> Frame | None:
        """What is to be sent of a message of the client's; None: nothing, and whoever waits is told."""
        with self._desk:
            granted = None
            if frame.kind == "request":
                if frame.method in _LISTS:
                    self._params[frame.id] = Asked(str(frame.method), params=frame.message.get("params"))
                    self.asking.introduced(frame)
                elif "requestState" in frame.message.get("params", _NONE):
                    if self._resumed(frame):
                        return None
                    granted = self._granted.goes_on(frame)
            elif frame.method == "notifications/cancelled" and self._cancelled(frame):
                return None  # the server has never heard of the call
            return self._chain("client", frame, None, 0, granted)

    def to_client(self, frame: Frame, call: Pending | None) -> Frame | None:
        """The same of a message of the server's; `call`: the request that it answers."""
        with self._desk:
            asked = None
            if call is not None:
                asked = self._params.pop(call.id, None) or Asked(call.method, call.tool)
                self._granted.answered(frame)
            elif frame.method == "notifications/cancelled":
                id = frame.message.get("params", _NONE).get("requestId")
                if type(id) in (int, str) and self.asking.forget("server", id):
                    return None  # nor has the client
            if len(frame.data) > LONG:
                for ahead in self._ahead:
                    ahead(frame)
            return self._chain("server", frame, asked, 0)

    # --- the inspectors, one after another --------------------------------------------------------------

    def _chain(
        self, side: Side, frame: Frame, asked: Asked | None, start: int, granted: int | None = None
    ) -> Frame | None:
        """What the inspectors from `start` on leave of a message; that of `granted` has its yes already."""
        judges = self._judges[side]
        for at in range(start, len(judges)):
            judged = judges[at](frame, asked)
            if judged is None or (at == granted and judged.verdict.action is Action.ASK):
                continue
            going_on = self._act(side, frame, asked, judged, at)
            if going_on is None:
                return None
            frame = going_on
        return frame

    def _act(self, side: Side, frame: Frame, asked: Asked | None, judged: Judged, at: int) -> Frame | None:
        action = judged.verdict.action
        if judged.fetch:
            self._fetch(frame, at, judged.fetch)
            return None
        if judged.findings and self._secretive(frame):
            judged = bare(judged)
        for finding in judged.findings:
            self._desk.report(finding_event(side, frame, finding, action))
        if action is Action.ALLOW:
            return frame
        if action is Action.REDACT:
            return edited(frame, judged.edits)
        if action is Action.ASK and (frame.kind == "request" or asked is not None):
            self._ask(side, frame, asked, judged, at)
            return None
        if action is Action.KILL:
            self._desk.breach(Excess(judged.verdict.rule, judged.verdict.reason))
        self._deny(side, frame, asked, foremost(judged))
        return None

    def _deny(self, side: Side, frame: Frame, asked: Asked | None, finding: Finding) -> None:
        """Keep a message back; on disk before anybody hears of it."""
        told = {"rule": finding.rule, **self._told(finding)}
        self._desk.report(denial_event(side, frame, finding))
        modern = self._desk.era == "modern"
        if side == "client":
            self._params.pop(frame.id, None)
            if frame.kind == "request" and self._desk.settle("client", frame.id):
                self._desk.to_client(answer(frame.id, frame.method, finding, told, modern=modern))
            elif frame.kind == "response":
                # The server's question is closed already: it must not wait for ever.
                self._desk.to_server(refused_answer(frame.id, finding))
        elif frame.kind == "response" and asked is not None and not asked.ours:
            self._desk.to_client(answer(frame.id, asked.method, finding, told, modern=modern))
        elif frame.kind == "request":
            self._desk.settle("server", frame.id)
            self._desk.to_server(refused_answer(frame.id, finding))

    # --- held requests ----------------------------------------------------------------------------------

    def _hold(self, frame: Frame, at: int, missing: Sequence[str]) -> _Held | None:
        if len(self._held) >= MOST_HELD:
            why = f"{MOST_HELD} calls wait already"
            self._deny("client", frame, None, Finding("relay", "relay.held", "", why))
            return None
        held = self._held[frame.id] = _Held(frame, at, set(missing))
        return held

    def _let_go(self, id: Id) -> _Held | None:
        """The request that was held under `id`, which waits no longer."""
        held = self._held.pop(id, None)
        if held is not None and held.timer is not None:
            held.timer.cancel()
        return held

    def _cancelled(self, frame: Frame) -> bool:
        """Forget what the client has given up; whether the server does not know of it."""
        id = frame.message.get("params", _NONE).get("requestId")
        return type(id) in (int, str) and self._forget(id)

    def _forget(self, id: Id) -> bool:
        self._params.pop(id, None)
        held = self._let_go(id) is not None
        return self.asking.forget("client", id) or held

    def _go_on(self, held: _Held, start: int) -> None:
        """Inspect a held request further and send it, unless the client has given it up."""
        if self._let_go(held.frame.id) is None or not self._desk.is_open(held.frame.id):
            return
        frame = self._chain("client", held.frame, None, start)
        if frame is not None:
            self._desk.forward(frame)

    # --- questions to a person ----------------------------------------------------------------------------

    def _ask(self, side: Side, frame: Frame, asked: Asked | None, judged: Judged, at: int) -> None:
        finding = foremost(judged)
        about = (frame.method, frame.tool) if asked is None else (asked.method, asked.tool)

        def answered(answer: Answer) -> None:
            self._guarded(lambda: self._answered(side, frame, asked, judged, at, answer))

        text = self._worded(frame, about, finding)
        self.asking.ask(Question(side, frame, about, finding, text, answered))

    def _answered(
        self, side: Side, frame: Frame, asked: Asked | None, judged: Judged, at: int, answer: Answer
    ) -> None:
        """Go on with a message that somebody was asked about, or refuse it."""
        finding = foremost(judged)
        self._desk.report(answer_event(side, frame, finding, answer))
        # Whoever waits now: in the modern era the call under its new id.
        waiting = answer.retry or frame
        if answer.yes:
            self._go_on_with(side, frame, asked, judged, at, answer.retry)
        elif side == "client" or answer.retry is not None:
            self._deny("client", waiting, None, because(finding, answer.why))
        else:
            self._deny(side, frame, asked, because(finding, answer.why))

    def _go_on_with(
        self, side: Side, frame: Frame, asked: Asked | None, judged: Judged, at: int, retry: Frame | None
    ) -> None:
        start, granted = at + 1, None
        if retry is not None:
            if not self._desk.is_open(retry.id):
                return
            # Under its new id a call is new to every inspector.
            start, granted = (0, at) if side == "client" else (at + 1, None)
            frame = edited(frame, again(frame, retry) if side == "client" else (Edit(("id",), retry.id),))
        elif side == "client" and not self._desk.is_open(frame.id):
            return
        frame = edited(frame, judged.edits) if judged.edits else frame
        going_on = self._chain(side, frame, asked, start, granted)
        if going_on is not None:
            self._send(side, going_on, at)

    def _send(self, side: Side, frame: Frame, at: int) -> None:
        """Send a message that was held and may pass."""
        if side == "client":
            self._granted.note(frame, at)
            self._desk.forward(frame)
            return
        if frame.kind == "response" and not self._desk.settle("client", frame.id):
            return
        self._desk.to_client(bytes(frame.data))
        self._desk.report(passed("server", frame))

    def _resumed(self, frame: Frame) -> bool:
        """Whether a call brings the answer to a question of ours along, and is done with."""
        resumed = self.asking.resumed(frame)
        if isinstance(resumed, Finding):
            self._deny("client", frame, None, resumed)
            return True
        return resumed

    def _fetch(self, frame: Frame, at: int, methods: Sequence[str]) -> None:
        held = self._held.get(frame.id) or self._hold(frame, at, methods)
        if held is None:
            return
        for method in methods:
            first = self._listings.begin(method, frame)
            if first is not None:
                self._desk.to_server(first)
        held.timer = threading.Timer(LIST_S, self._guarded, (lambda: self._late(held),))
        held.timer.daemon = True
        held.timer.start()

    def _listed(self, frame: Frame) -> bool:
        """One page of a list that we read ourselves has come."""
        listing = self._listings.of(frame.id)
        if listing is None:
            return False
        asked = Asked(listing.method, params=listing.params, ours=True)
        page = frame if "error" in frame.message else self._chain("server", frame, asked, 0)
        following = self._listings.turned(listing, page, frame.id)
        if following is not None:
            self._desk.to_server(following)
        else:
            self._read(listing.method)
        return True

    def _read(self, method: str) -> None:
        """A list is read as far as it can be: whoever waited for it goes on."""
        for held in [one for one in self._held.values() if method in one.missing]:
            held.missing.discard(method)
            if not held.missing:
                self._once_more(held)

    def _once_more(self, held: _Held) -> None:
        """Ask the inspector that wanted lists about the same request again; once."""
        inspector = self._inspectors[held.at]
        judged = inspector.to_server(held.frame)
        if judged is not None and judged.fetch:
            self._late(held)
            return
        if judged is None:
            self._go_on(held, held.at + 1)
            return
        if self._let_go(held.frame.id) is None or not self._desk.is_open(held.frame.id):
            return
        frame = self._act("client", held.frame, None, judged, held.at)
        frame = None if frame is None else self._chain("client", frame, None, held.at + 1)
        if frame is not None:
            self._desk.forward(frame)

    def _late(self, held: _Held) -> None:
        if self._held.get(held.frame.id) is held:
            self._let_go(held.frame.id)
            for method in held.missing:
                self._listings.forget(method)  # the next call asks anew
            why = "the server's lists could not be read, which this call has to be held against"
            name = self._inspectors[held.at].name
            self._deny("client", held.frame, None, Finding(name, f"{name}.unread", "", why))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it as one of the relay's threads would, whose failure ends the session."""
        try:
            with self._desk:
                work()
        except BaseException as error:
            self._desk.failed(error)
