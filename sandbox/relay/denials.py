"""What comes of a verdict: the message after its edits, what the log is told and whoever waits (P)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.event import Event, Value
from sandbox.inspect.judged import Edit, Finding, Judged
from sandbox.relay.facts import frame_detail
from sandbox.relay.ledger import Side
from sandbox.relay.questions import Answer
from sandbox.relay.refusals import failed_result
from sandbox.verdict import Action, Verdict
from sandbox.wire.jsonrpc import INTERNAL_ERROR, Frame, FrameReader, error_frame
from sandbox.wire.salvage import Id
from sandbox.wire.splice import splice

REFUSED = -1
"""The code that MCP's examples give a request that a person has refused (2025-11-25, Sampling)."""
_KINDS = {
    "protocol": "protocol.found",
    "pins": "pin.changed",
    "poison": "poison.found",
    "secrets": "secret.found",
    "calls": "tool.found",
    "client": "request.found",
}


_MALFORMED = {"protocol.shape": -32602, "protocol.direction": -32601, "protocol.method": -32601}
"""Requests that are none, and the code that a server has for them (JSON-RPC 2.0, 5.1)."""


NOT_TOLD = "not told: the message holds a secret"
_QUOTE_NOTHING = frozenset({"protocol", "secrets"})
"""Inspectors whose findings have no word that the sender of the message chose."""


def bare(judged: Judged) -> Judged:
    """The same without a word of the message."""
    findings = tuple(
        one
        if one.inspector in _QUOTE_NOTHING
        else Finding(one.inspector, one.rule, _part(one), NOT_TOLD, one.score)
        for one in judged.findings
    )
    if findings == judged.findings:
        return judged
    verdict = Verdict(judged.verdict.action, judged.verdict.rule, NOT_TOLD)
    return Judged(verdict, findings, judged.edits, judged.fetch)


def _part(finding: Finding) -> str:
    """The member of the message that it is about, which is the protocol's word."""
    return "/".join(finding.place.split("/", 2)[:2])


def said(finding: Finding, told: Mapping[str, Value]) -> str:
    """The refusal in words: rule, reason, and where the rule was written."""
    return (
        f"refused by mcp-sandbox: rule `{finding.rule}`, {finding.reason} [{told.get('profile', 'default')}]"
    )


def answer(id: Id, method: str | None, finding: Finding, told: Mapping[str, Value], *, modern: bool) -> bytes:
    """What the client gets in place of an answer; a model sees a failed result, and no error.

    A request that is malformed is a client's fault and no model's: it gets the error that servers give.
    """
    words = said(finding, told)
    if finding.rule in _MALFORMED and not finding.place.startswith("/result"):
        return error_frame(id, _MALFORMED[finding.rule], words, dict(told))
    if method == "tools/call":
        return failed_result(id, words, told, modern=modern)
    return error_frame(id, INTERNAL_ERROR, words, dict(told))


def refused_answer(id: Id, finding: Finding) -> bytes:
    """What a server gets for a request that was refused: the rule, and nothing of what it was judged by."""
    return error_frame(id, REFUSED, f"refused by mcp-sandbox: rule `{finding.rule}`")


def finding_event(side: Side, frame: Frame, finding: Finding, action: Action) -> Event:
    """The event of one finding; a message that is kept back has an event of its own."""
    kind = _KINDS.get(finding.inspector, "protocol.found")
    if kind == "secret.found" and action is Action.REDACT and finding.rule != "secrets.restored":
        kind = "secret.redacted"
    detail: dict[str, Value] = {**_of_frame(side, frame, finding), "action": action.value}
    detail |= {"place": finding.place[:256], "reason": finding.reason}
    if finding.score:
        detail["score"] = finding.score
    if finding.shown:
        detail["shown"] = finding.shown
    return Event(kind, detail, finding.rule)


def answer_event(side: Side, frame: Frame, finding: Finding, answer: Answer) -> Event:
    """The event of a question that was answered, or was not."""
    detail: dict[str, Value] = {**frame_detail(side, frame), "answer": "allow" if answer.yes else "refuse"}
    detail |= {"reason": answer.why, "by": answer.by, "waited": answer.waited, "place": finding.place[:256]}
    if answer.retry is not None:
        id = answer.retry.id
        detail["again"] = id[:128] if isinstance(id, str) else id
    return Event("tool.ask", detail, finding.rule)


def denial_event(side: Side, frame: Frame, finding: Finding) -> Event:
    """The event of a message that was kept back."""
    kind = "tool.deny" if side == "client" and frame.method == "tools/call" else "relay.dropped"
    detail = {**_of_frame(side, frame, finding), "reason": finding.reason, "place": finding.place[:256]}
    return Event(kind, detail, finding.rule)


def _of_frame(side: Side, frame: Frame, finding: Finding) -> dict[str, Value]:
    """What the events say of the message; no hash of one with a secret, which would confirm a guess of it."""
    detail = frame_detail(side, frame)
    if finding.inspector == "secrets":
        del detail["sha256"]
    return detail


def because(finding: Finding, why: str) -> Finding:
    """The finding with a further reason."""
    return Finding(finding.inspector, finding.rule, finding.place, f"{finding.reason}: {why}")


def foremost(judged: Judged) -> Finding:
    """What a verdict rests on before all."""
    verdict = judged.verdict
    return judged.findings[0] if judged.findings else Finding("relay", verdict.rule, "", verdict.reason)


def edited(frame: Frame, edits: Sequence[Edit]) -> Frame:
    """The frame after `edits`; what they make of it has to be a message still."""
    made = FrameReader(1 << 62).feed(splice(frame.data, edits))
    if len(made) != 1 or not isinstance(made[0], Frame):
        raise ValueError("an edit made something of a message that is none")
    return made[0]
