"""What every inspector promises of every verdict, held against each one that the fuzzer draws from it."""

from __future__ import annotations

import time
import unicodedata
from typing import Any

from fuzzing.conversations import SECRET
from sandbox.inspect.judged import DROP, SHOWN_CHARS, Asked, Finding, Inspector, Judged
from sandbox.relay.denials import edited
from sandbox.verdict import Action
from sandbox.wire.jsonrpc import Frame
from sandbox.wire.structs import msgspec

REASON_CHARS = 1000
MOST_FINDINGS = 1000
PATIENCE_S, PATIENCE_A_BYTE_S = 0.5, 20e-6
"""The processor's time that one message may take, instrumented as everything is here."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ROOTS = ("poison.", "secrets.", "protocol.", "pins.", "tools.", "client.", "inspect.", "calls.", "relay.")
_spelt = msgspec.json.encode


class Broken(AssertionError):
    """A promise was not kept."""


class Watched:
    """An inspector that is held to its promises."""

    def __init__(self, inner: Inspector) -> None:
        self.inner = inner
        self.name = inner.name

    def to_server(self, frame: Frame, asked: None = None) -> Judged | None:
        """Of a message of the client's."""
        return self._held(frame, lambda: self.inner.to_server(frame))

    def to_client(self, frame: Frame, asked: Asked | None) -> Judged | None:
        """Of a message of the server's."""
        return self._held(frame, lambda: self.inner.to_client(frame, asked))

    def _held(self, frame: Frame, judge: Any) -> Judged | None:
        before = _spelt(frame.message)
        began = time.thread_time()
        judged: Judged | None = judge()
        took = time.thread_time() - began
        if took > PATIENCE_S + PATIENCE_A_BYTE_S * len(frame.data):
            raise Broken(f"`{self.name}` took {took:.2f} s for {len(frame.data)} bytes")
        if _spelt(frame.message) != before:
            raise Broken(f"`{self.name}` changed a message that others see too")
        if judged is not None:
            hold(self.name, frame, judged)
        return judged


def hold(name: str, frame: Frame, judged: Judged) -> None:
    """Raises `Broken` for the first promise that a verdict does not keep."""
    action = judged.verdict.action
    if len(judged.findings) > MOST_FINDINGS:
        raise Broken(f"`{name}` has {len(judged.findings)} findings of one message")
    for finding in judged.findings:
        _hold_finding(name, finding)
    if bool(judged.edits) != (action is Action.REDACT):
        raise Broken(f"`{name}` says {action.value} with {len(judged.edits)} edits")
    # What the others quote is taken out where it is told.
    if name == "secrets" and (SECRET in repr(judged.findings) or SECRET in judged.verdict.reason):
        raise Broken(f"`{name}` tells a secret")
    if judged.edits:
        _hold_edits(name, frame, judged)


def _hold_finding(name: str, finding: Finding) -> None:
    if not finding.rule.startswith(_ROOTS):
        raise Broken(f"`{name}` has the rule `{finding.rule}`, which is no inspector's and no key")
    if finding.place and not finding.place.startswith("/"):
        raise Broken(f"`{name}` names the place {finding.place!r}, which is no pointer")
    if len(finding.shown) > SHOWN_CHARS or not 0 < len(finding.reason) <= REASON_CHARS:
        raise Broken(f"`{name}` is too long or says nothing: {finding.rule}")
    if not 0 <= finding.score <= 10:
        raise Broken(f"`{name}` scores {finding.score}")
    for text in (finding.shown, finding.reason):
        hidden = next((one for one in text if unicodedata.category(one) in _UNSEEN), None)
        if hidden is not None:
            raise Broken(f"`{name}` shows {hidden!r} raw, by the rule `{finding.rule}`")


def _hold_edits(name: str, frame: Frame, judged: Judged) -> None:
    after = edited(frame, judged.edits)
    if (after.kind, after.id, after.method) != (frame.kind, frame.id, frame.method):
        raise Broken(f"`{name}` edits what a message is")
    if after.message == frame.message and any(edit.value is DROP for edit in judged.edits):
        raise Broken(f"`{name}` drops what is not there")
