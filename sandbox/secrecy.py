"""What keeps secrets out of a session's messages, its stderr, its log and whatever else it writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from sandbox import first_looks, waived
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.inspect.credentials import Credentials, shipped
from sandbox.inspect.known import Known, granted
from sandbox.inspect.lines import Lines
from sandbox.inspect.marks import Marks
from sandbox.inspect.redaction import Found, Redaction
from sandbox.inspect.secrets import Secrets
from sandbox.relay.facts import passed

if TYPE_CHECKING:
    from sandbox.prepared import Prepared
    from sandbox.relay.ledger import Side
    from sandbox.wire.jsonrpc import Frame

TAG_CHARS = 4
_OF_TRAFFIC = frozenset(("relay.request", "relay.response", "relay.notification"))
"""Events that have a size, a hash and names; a message whose names hold a secret does not pass."""
SHOWN = 3000
"""Characters of a message that `audit.payloads` keeps."""
READ = 1 << 14
MARGIN = 4096
"""What is read beyond them and not kept, of a message that is longer still: it may end in half a secret."""
_LEAST = 8
"""No credential is shorter."""

_LOADING = threading.Lock()
_LOADED: dict[tuple[str, ...], Credentials] = {}

Pairs = Sequence[tuple[str, str]]


def _rules(environ: Mapping[str, str], waive: tuple[str, ...] = ()) -> Credentials:
    """The rules, read once a process: beside the server's start, and not before its first message."""
    with _LOADING:
        if waive not in _LOADED:
            made = waived.secrets(shipped(), waive)
            first_looks.look_first(made.questions, environ)
            _LOADED[waive] = made
        return _LOADED[waive]


def _warm(rules: Callable[[], Credentials], environ: Mapping[str, str]) -> None:
    made = rules()
    first_looks.at_leisure(made.warm(), made.questions, environ)


class Secrecy:
    """One session's: everything that is written passes here, in any mode but `off`."""

    def __init__(
        self, prepared: Prepared, session: str, secrets: Pairs, decoys: Pairs, emit: Callable[[Event], None]
    ) -> None:
        self._mode = prepared.policy.inspect.secrets
        self._emit = emit
        self._times: dict[Found, int] = {}
        self._lock = threading.Lock()
        marks = Marks(session[-TAG_CHARS:])
        known = {**granted(dict(prepared.spec.env)), **dict(secrets), **dict(decoys)}
        environ = prepared.wish.environ
        rules = partial(_rules, environ, prepared.policy.inspect.waive)
        self._redaction = Redaction(rules, Known(known), marks)
        self._decoys = Redaction(partial(_rules, environ), Known(dict(decoys)), marks) if decoys else None
        threading.Thread(target=_warm, args=(rules, environ), name="secrets", daemon=True).start()
        self.line = Lines(self._redaction, self._seen, change=self._mode != "log")
        """A line of the server's stderr as it may be shown."""

    def inspector(self) -> Secrets:
        """What judges the messages."""
        return Secrets(self._mode, self._redaction, self._decoys)

    def text(self, text: str) -> str:
        """A text without secrets."""
        return text if len(text) < _LEAST else self._redaction.clean(text)[0]

    def holds(self, frame: Frame) -> bool:
        """Whether there is a secret anywhere in the message."""
        text = bytes(frame.data).decode("utf-8", "surrogatepass")
        return self._redaction.clean(text)[0] != text

    def passed(self, side: Side, frame: Frame) -> Event:
        """The event of a message that passed, with what is in it; of a long one its beginning."""
        event = passed(side, frame)
        read = bytes(frame.data[:READ])
        clean = self.text(read.decode("utf-8", "replace").rstrip("\n"))
        cut = len(frame.data) > READ
        shown = clean[: max(0, min(SHOWN, len(clean) - MARGIN))] if cut else clean[:SHOWN]
        payload = shown if len(shown) == len(clean) and not cut else f"{shown}…"
        return Event(event.kind, {**event.detail, "payload": payload}, event.rule)

    def event(self, event: Event) -> Event:
        """An event without secrets; most have no words of anybody's."""
        if event.kind in _OF_TRAFFIC:
            return event
        return Event(event.kind, self._without(event.detail), event.rule)

    def _without(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(name): self._without(one) for name, one in value.items()}
        return [self._without(one) for one in value] if isinstance(value, list | tuple) else value

    def _seen(self, found: Found) -> None:
        """Tells the log of a find on stderr: the first, the second, the fourth and so on."""
        with self._lock:
            times = self._times[found] = self._times.get(found, 0) + 1
        if times & (times - 1):
            return
        kind = "secret.found" if self._mode == "log" else "secret.redacted"
        detail: dict[str, Value] = {"direction": "stderr", "reason": found.reason, "times": times}
        with suppress(AuditError):  # whoever writes next says so
            self._emit(Event(kind, detail, f"secrets.{found.rule}"))


def of(
    prepared: Prepared, session: str, secrets: Pairs, decoys: Pairs, emit: Callable[[Event], None]
) -> Secrecy | None:
    """What the profile asks for; None where it asks for nothing."""
    if prepared.policy.inspect.secrets == "off":
        return None
    return Secrecy(prepared, session, secrets, decoys, emit)


def payloads(
    prepared: Prepared, session: str, secrets: Pairs, decoys: Pairs, keeping: Secrecy | None
) -> Callable[[Side, Frame], Event]:
    """What makes the events of traffic where the profile wants payloads in them; never with a secret."""
    kept = keeping or Secrecy(prepared, session, secrets, decoys, lambda event: None)
    return kept.passed
