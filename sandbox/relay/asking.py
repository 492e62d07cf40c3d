"""Asks a person about a message that an inspector holds: through the client where it can, else at a terminal.

In the legacy era the client gets an `elicitation/create` of ours; in the modern one (MCP 2026-07-28) its call
is answered with `input_required`, and the answer comes with the same call under a new id. A client that
offers no form leaves `mcp-sandbox answer`. Each question is answered once, and silence is a no. What a
server says answers none: our ids and states never reach it.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, Protocol

from sandbox.inspect.excerpt import excerpt
from sandbox.inspect.judged import Finding
from sandbox.relay.ledger import Side
from sandbox.relay.questions import (
    KEY,
    Answer,
    asks_same,
    choice,
    elicitation,
    input_required,
    offers_forms,
    own_capabilities,
)
from sandbox.relay.refusals import cancel_frame
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.salvage import Id

OWN = "mcp-sandbox-"
"""How the ids and states of our own questions begin; the rest cannot be guessed."""
MOST_OPEN = 64
MOST_BYTES = 32 << 20
"""Of all messages together that wait for a person."""
_PAST = 256
_LISTED = 16
"""Questions that a terminal is told of at once."""

Way = Literal["new", "client", "round", "terminal"]


class Question:
    """A message of one side's that waits; `text` is for a person, `answered` is called once."""

    def __init__(
        self,
        side: Side,
        frame: Frame,
        asked: tuple[str | None, str | None],
        finding: Finding,
        text: str,
        answered: Callable[[Answer], None],
    ) -> None:
        """`asked`: method and tool of the client's request that the message is, or answers."""
        self.side = side
        self.frame = frame
        self.asked = asked
        self.finding = finding
        self.text = text
        self.answered = answered
        self.id = os.urandom(8).hex()
        self.own = OWN + os.urandom(24).hex()
        """The id or the state by which the client's answer is known."""
        self.way: Way = "new"
        self.since = time.monotonic()
        self.timer: threading.Timer | None = None


class Desk(Protocol):
    """What asking needs of the relay."""

    def to_client(self, data: bytes) -> None: ...
    def settle(self, side: Side, id: Id) -> object: ...
    @property
    def era(self) -> str: ...


class Asking:
    """The questions of one session; each waits for `seconds`."""

    def __init__(
        self,
        seconds: float,
        note: Callable[[str], None] = lambda text: None,
        server: str = "the server",
        *,
        forms: bool = True,
    ) -> None:
        """`forms`: the client's own may be used, where it has some."""
        self._forms = forms
        self._seconds = seconds
        self._note = note
        self._server = server
        self._lock = threading.Lock()
        self._open: dict[str, Question] = {}
        self._past: OrderedDict[str, None] = OrderedDict()
        self._offered = False
        self._desk: Desk = None  # type: ignore[assignment]  # set by `serve`, before any message

    def serve(self, desk: Desk) -> None:
        """`desk` carries from now on."""
        self._desk = desk

    def introduced(self, frame: Frame) -> None:
        """What a request of the client's says that the client offers."""
        offered = own_capabilities(frame)
        if offered is not None:
            self._offered = self._forms and offers_forms(offered)

    # --- asked ------------------------------------------------------------------------------------------

    def ask(self, question: Question) -> None:
        """Put the question to a person; with the relay's inspection held."""
        with self._lock:
            held = sum(len(one.frame.data) for one in self._open.values())
            full = len(self._open) >= MOST_OPEN or held + len(question.frame.data) > MOST_BYTES
            if not full:
                self._open[question.id] = question
        if full:
            question.answered(Answer(False, "too many calls wait for an answer already", "nobody", 0.0))
            return
        question.timer = threading.Timer(self._seconds, self._silent, (question,))
        question.timer.daemon = True
        question.timer.start()
        self._put(question)

    def _put(self, question: Question) -> None:
        modern = self._desk.era == "modern"
        if modern and self._offers(question):
            question.way = "round"
            self._ask_in_rounds(question)
        elif question.frame.kind == "response":
            # The call that it answers is closed: nobody waits any more while a terminal is looked for.
            self._answer(
                question, False, "nobody can be asked: no form of the client's can be used", "nobody"
            )
        elif not modern and self._offered:
            question.way = "client"
            self._desk.to_client(elicitation(question.own, question.text))
        else:
            self._at_terminal(question)

    def _offers(self, question: Question) -> bool:
        """A modern request says itself what its client offers."""
        offered = own_capabilities(question.frame) if question.side == "client" else None
        return self._offered if offered is None else self._forms and offers_forms(offered)

    def _ask_in_rounds(self, question: Question) -> None:
        """Answer the call for now; it is open no more until it comes again."""
        id = question.frame.id
        if question.side == "server" or self._desk.settle("client", id):
            self._desk.to_client(input_required(id, question.own, question.text))
        else:
            self._close(question)

    def _at_terminal(self, question: Question) -> None:
        what = excerpt(question.asked[1] or question.frame.method or "a message", 64)
        for_s = f"for {self._seconds:g} s"
        self._note(f"mcp-sandbox: `{what}` of `{self._server}` waits for you, {for_s}: `mcp-sandbox answer`")
        question.way = "terminal"

    # --- answered ---------------------------------------------------------------------------------------

    def takes(self, frame: Frame) -> bool:
        """Whether a response of the client's answers a question of ours; then it is done with."""
        question = self._find("client", frame.id)
        if question is None:
            return False
        if "error" in frame.message:
            # It offers forms and cannot show one (an older revision was agreed upon): that is no answer.
            self._at_terminal(question)
            return True
        yes, why = choice(frame.message["result"])
        self._answer(question, yes, why, "client")
        return True

    def resumed(self, frame: Frame) -> Finding | bool:
        """Whether a request of the client's is a call that was asked about, and comes with the answer.

        A finding says why it is none: the state is nobody's, or the call is another one now.
        """
        params = frame.message.get("params", {})
        state = params.get("requestState")
        if type(state) is not str or not state.startswith(OWN):
            return False
        question = self._find("round", state)
        if question is None:
            why = "the question is closed" if state in self._past else "there is no such question"
            return Finding("calls", "tools.ask", "/params/requestState", why)
        if not asks_same(frame, question.frame, question.asked, question.side):
            why = "the call is another one than was asked about"
            self._answer(question, False, why, "client", frame)
            return True
        given = params.get("inputResponses")
        yes, why = choice(given.get(KEY) if type(given) is dict else None)
        self._answer(question, yes, why, "client", frame)
        return True

    def holds(self, id: Id) -> bool:
        """Whether a call of the client's waits for a person under `id`."""
        if not self._open:
            return False
        with self._lock:
            return any(_is(one, "client", id) for one in self._open.values())

    def forget(self, side: Side, id: Id) -> bool:
        """A request is cancelled by whoever sent it; whether somebody was being asked about it."""
        with self._lock:
            found = [one for one in self._open.values() if _is(one, side, id)]
        for question in found:
            if self._close(question):
                self._withdraw(question)
        return bool(found)

    def _find(self, way: Way, own: Id) -> Question | None:
        with self._lock:
            return next((one for one in self._open.values() if one.way == way and one.own == own), None)

    def _silent(self, question: Question) -> None:
        if self._close(question):
            self._withdraw(question)
            if question.way == "round":
                return  # nobody waits; whoever comes with the state is told then
            self._tell(question, False, f"nobody answered within {self._seconds:g} s", "nobody", None)

    def _withdraw(self, question: Question) -> None:
        if question.way == "client":
            self._desk.to_client(cancel_frame(question.own, "the question is closed"))

    def _answer(self, question: Question, yes: bool, why: str, by: str, retry: Frame | None = None) -> bool:
        """Answer an open question; False where another answer was first."""
        if not self._close(question):
            return False
        if by == "terminal":
            self._withdraw(question)
        self._tell(question, yes, why, by, retry)
        return True

    def _tell(self, question: Question, yes: bool, why: str, by: str, retry: Frame | None) -> None:
        waited = round(time.monotonic() - question.since, 3)
        question.answered(Answer(yes, why, by, waited, retry))

    def _close(self, question: Question) -> bool:
        with self._lock:
            if self._open.pop(question.id, None) is None:
                return False
            self._past[question.own] = None
            if len(self._past) > _PAST:
                self._past.popitem(last=False)
        if question.timer is not None:
            question.timer.cancel()
        return True

    # --- a terminal, by the control socket's thread -------------------------------------------------------

    def questions(self) -> list[dict[str, Any]]:
        """What waits, the oldest first; a call of the modern era waits at its client and nowhere else."""
        with self._lock:
            waiting = [one for one in self._open.values() if one.way in ("client", "terminal")][:_LISTED]
        now = time.monotonic()
        return [
            {
                "question": one.id,
                "what": (one.asked[1] or one.frame.method or "")[:80],
                "rule": one.finding.rule[:200],
                "asked": one.way,
                "left": round(max(0.0, one.since + self._seconds - now), 1),
            }
            for one in waiting
        ]

    def text(self, id: str) -> str | None:
        """What a person is asked by an open question."""
        with self._lock:
            question = self._open.get(id)
        return None if question is None or question.way == "round" else question.text

    def answer(self, id: str, *, yes: bool) -> bool:
        """A person at a terminal has decided; False where the question is not open any more."""
        with self._lock:
            question = self._open.get(id)
        if question is None or question.way == "round":
            return False
        why = "allowed at a terminal" if yes else "refused at a terminal"
        return self._answer(question, yes, why, "terminal")


def _is(question: Question, side: Side, id: Id) -> bool:
    return question.side == side and question.way != "round" and _same_id(question.frame.id, id)


def _same_id(one: Id, other: Id) -> bool:
    return type(one) is type(other) and one == other
