"""The wrapper's ear at the gateway: its facts go to the log, to a person, to open calls, and to the watcher.

One thread reads the channel, writes each fact to the log, only then answers, and tells people last; the
gateway lets nothing pass whose fact is not answered yet.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.audit.clerk import Clerk
from sandbox.audit.redact import Redactor
from sandbox.egress.behaviour import Finding, Watcher
from sandbox.egress.words import DEFAULT_DENY, KINDS, LARGEST, SETTLE, SETTLED, WRITTEN
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.gateway import Gateway
from sandbox.notices import Notices
from sandbox.prepared import Prepared

if TYPE_CHECKING:
    from sandbox.egress.canary import Needles

SETTLE_S = 0.25
_OURS = frozenset(("closed", "session", "denied", "breach"))
"""How a connection ends that is told of otherwise, or needs no word."""
RECENT = 20
_SHOWN = ("host", "port", "protocol", "reason", "up", "down", "end")
_TEXT_MAX = 256
FINISH_S = 0.3
"""What the gateway gets at the end to say how its connections ended; our two seconds are short."""


class Calls(Protocol):
    """What of the relay is needed: who waits for an answer, and what to tell them with it."""

    def open_calls(self) -> int: ...

    def explain(self, text: str) -> int: ...


class Outbound:
    """Everything the gateway says in one session; `breach` is set once something of it ends the session."""

    def __init__(
        self, gateway: Gateway, clerk: Clerk, calls: Calls, prepared: Prepared,
        note: Callable[[str], None], changed: Callable[[], None], canaries: tuple[tuple[str, str], ...],
        redactor: Redactor,
    ) -> None:  # fmt: skip
        self.breach: tuple[str, str, Mapping[str, Value]] | None = None
        """The quota or rule, why, and the numbers."""
        self.recent: deque[tuple[float, dict[str, Value]]] = deque(maxlen=RECENT)
        """The last facts of the log, each with its moment, for whoever has to explain the end."""
        self.carried = (0, 0)
        """Bytes out and in, of connections that are over."""
        self._gateway = gateway
        self._clerk = clerk
        self._calls = calls
        self._changed = changed
        self._notices = Notices(prepared.policy, prepared.spec.server, note, redactor)
        self._elsewhere = prepared.spec.endpoint is not None and prepared.spec.endpoint.remote
        self._watcher = Watcher(prepared.policy.network.behaviour)
        self._needles = _needles(canaries)
        self._finishing = False
        self._settled = threading.Semaphore(0)
        self._unsettled = 0
        self._thread = threading.Thread(target=self._listen, name="egress", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()

    def settle(self) -> None:
        """Returns when everything that the gateway has seen by now is told, or after a bounded time.

        A refused connection is seen beside the server's own failure: its answer may be on the way already.
        """
        self._unsettled += self._gateway.ask(SETTLE)
        until = time.monotonic() + SETTLE_S
        # Earlier questions too, whose answer came too late or has not come yet: the last one is ours.
        while self._unsettled and self._settled.acquire(timeout=max(0.0, until - time.monotonic())):
            self._unsettled -= 1

    def canary_in(self, answer: bytes | bytearray) -> str | None:
        """Why a message of the server's must not reach the client; a decoy in it ends the session."""
        seen = self._needles.find(bytes(answer)) if self._needles is not None else None
        if seen is None:
            return None
        why = f"the decoy `{seen.name}` was in a message to the client"
        detail: dict[str, Value] = {"canary": seen.name, "encoding": seen.encoding, "where": "answer"}
        self._clerk.emit(Event("canary.seen", detail, rule="isolation.decoys"))
        self._end("isolation.decoys", why, detail)
        return why

    def finish(self) -> None:
        """Lets the gateway say its last, for a bounded time; the sandbox has ended."""
        self._finishing = True
        self._gateway.hang_up()
        if self._thread.is_alive():
            self._thread.join(FINISH_S)
        with suppress(AuditError):  # it has been said
            for finding in self._watcher.untold():
                self._found(finding)

    def _listen(self) -> None:
        try:
            while data := os.read(self._gateway.channel, LARGEST):
                self._hear(data)
        except AuditError as error:
            self._end("audit", f"the audit log failed: {error.what}")
            return
        except Exception as error:  # nothing that the gateway says may go unheard
            self._end("gateway", f"what the egress gateway says cannot be read: {type(error).__name__}")
            return
        if not self._finishing:
            self._end("gateway", "the egress gateway ended, and no way out is left")

    def _hear(self, data: bytes) -> None:
        if data == SETTLED:
            self._settled.release()
            return
        said = json.loads(data)
        self._take(said)
        if "quiet" not in said:
            with suppress(OSError):
                os.write(self._gateway.channel, WRITTEN)
        if "where" in said:
            self._tell_denied(said)

    def _end(self, rule: str, why: str, detail: Mapping[str, Value] | None = None) -> None:
        if self.breach is None:
            self.breach = (rule, why, detail or {})
        self._changed()

    # --- one fact -----------------------------------------------------------------------------------

    def _take(self, said: Mapping[str, Any]) -> None:
        if "fault" in said:
            self._end("gateway", f"the egress gateway failed: {said['fault']}")
            return
        now, calls = time.monotonic(), self._calls.open_calls()
        if "kind" in said:
            self._record(said, calls)
        for finding in self._behave(said, now, calls):
            self._found(finding)
        if "breach" in said:
            self._end(str(said["breach"]), str(said["why"]), said.get("detail"))

    def _record(self, said: Mapping[str, Any], calls: int) -> None:
        kind, detail = said["kind"], dict(said["detail"])
        if kind not in KINDS:
            # It reads what a hostile program says: it may tell of what is its own, and of nothing else.
            raise ValueError("a kind of event that is not the gateway's")
        if kind == "egress.allow":
            detail["open_calls"] = calls
        if kind == "egress.close":
            up, down = self.carried
            self.carried = up + int(detail.get("up", 0)), down + int(detail.get("down", 0))
            if self._elsewhere and "address" not in detail:
                self._tell_unreached(detail)
        self._clerk.emit(Event(kind, detail, rule=self._rule(said)))
        self.recent.append((time.monotonic(), {"kind": kind, **_short(detail)}))

    def _rule(self, said: Mapping[str, Any]) -> str:
        rule = str(said.get("rule", ""))
        return self._notices.rule if rule == DEFAULT_DENY else rule

    def _tell_denied(self, said: Mapping[str, Any]) -> None:
        detail = said["detail"]
        text = self._notices.denied(
            str(said["where"]), str(detail.get("reason", "")), self._rule(said), str(said.get("grant", "")),
            protocol=str(detail.get("protocol", "")), now=time.monotonic(),
        )  # fmt: skip
        if text:
            self._calls.explain(text)

    def _tell_unreached(self, detail: Mapping[str, Any]) -> None:
        """Why a server elsewhere was not reached: inside it looks like one that hangs up."""
        end = str(detail.get("end", ""))
        if end in _OURS:
            return
        from sandbox.policy.hosts import spelt  # where nothing is denied nobody asks

        where = spelt(str(detail["host"]), int(detail["port"]))
        self._calls.explain(self._notices.unreached(where, end, now=time.monotonic()))

    def _behave(self, said: Mapping[str, Any], now: float, calls: int) -> list[Finding]:
        if "activity" in said:
            return self._watcher.sent(str(said["activity"]), now, calls)
        detail = said.get("detail", {})
        if said.get("kind") == "egress.allow":
            return self._watcher.connected(f"{detail['host']}:{detail['port']}", now, calls)
        if said.get("kind") in ("egress.deny", "dns.deny"):
            count = int(detail.get("repeated", 0)) + int(detail.get("further", 0))
            return self._watcher.denied(str(said.get("where", "")), now, count or 1)
        return []

    def _found(self, finding: Finding) -> None:
        detail: dict[str, Value] = {"pattern": finding.pattern, "host": finding.host, **finding.detail}
        self._clerk.emit(Event("egress.behaviour", detail, rule=finding.key))
        if finding.action == "breach":
            self._end(finding.key, finding.why, detail)


def _short(detail: Mapping[str, Any]) -> dict[str, Value]:
    found = {name: detail[name] for name in _SHOWN if name in detail}
    return {name: one[:_TEXT_MAX] if isinstance(one, str) else one for name, one in found.items()}


def _needles(canaries: tuple[tuple[str, str], ...]) -> Needles | None:
    if not canaries:
        return None
    from sandbox.egress.canary import Needles  # costs a start without decoys nothing

    return Needles(dict(canaries))
