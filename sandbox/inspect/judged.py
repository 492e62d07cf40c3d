"""What an inspector says of one message: findings, a verdict, and what has to be changed in it (P)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from sandbox.records import dataclass
from sandbox.verdict import Action, Verdict
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.splice import DROP as DROP
from sandbox.wire.splice import Edit as Edit
from sandbox.wire.splice import Place
from sandbox.wire.structs import msgspec

SHOWN_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an inspector saw.

    `place` is a JSON Pointer into the message (RFC 6901). `shown` is an excerpt with everything hidden made
    visible, at most `SHOWN_CHARS`, and empty where what was found is a secret: neither it nor `reason` ever
    holds one. `score` is 0 to 10 where the inspector weighs.
    """

    inspector: str
    rule: str
    place: str
    reason: str
    score: float = 0.0
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict with what it rests on.

    `allow` lets the message pass and tells of the findings; `redact` applies `edits`; `deny` answers whoever
    waits with `verdict.rule` and `verdict.reason`; `ask` holds a request of the client's until a person has
    said yes; `kill` ends the sandbox. `fetch` names list methods (`tools/list`) that the relay has to read to
    their end, by requests of its own, before the same inspector is asked about the same request again: the
    verdict is not looked at then.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    edits: tuple[Edit, ...] = ()
    fetch: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True, gc=False):  # one for every answer: no record of ours is as cheap
    """The request of the client's that a message of the server's answers; `ours` where the relay sent it."""

    method: str
    tool: str | None = None
    params: dict[str, Any] | None = None
    ours: bool = False


class Inspector(Protocol):
    """Judges messages one by one; None says that there is nothing to say, and has to cost next to nothing.

    Both are called with a lock held, so never at once. They do no I/O and read no clock: what an inspector
    has to keep or to be told comes through what it was built with. One that takes long over long messages
    may also have `ahead(frame)`, called before the first inspector is asked about such a one of the server's.
    """

    name: str

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of a message of the client's."""

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of a message of the server's, with the request that it answers where it answers one."""


def found(*findings: Finding) -> Judged:
    """Lets the message pass and tells of these findings."""
    return Judged(Verdict.allow(findings[0].rule, findings[0].reason), findings)


def denied(first: Finding, *rest: Finding) -> Judged:
    """Keeps the message back because of the first finding."""
    return Judged(Verdict.deny(first.rule, first.reason), (first, *rest))


def changed(edits: Sequence[Edit], *findings: Finding) -> Judged:
    """Lets the message pass with these edits."""
    verdict = Verdict(Action.REDACT, findings[0].rule, findings[0].reason)
    return Judged(verdict, findings, tuple(edits))


def pointer(place: Place) -> str:
    """The JSON Pointer of a place (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)
