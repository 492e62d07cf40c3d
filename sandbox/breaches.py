"""What becomes of a sandbox whose limit was exceeded: a warning, a question, or its end with the evidence.

A question stops every process where it stands and waits for a person; while it waits, the limits go on to be
measured. What is not answered in time, or cannot be stopped or woken for certain, is ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sandbox.audit.clerk import Clerk
from sandbox.audit.redact import Redactor
from sandbox.backend.running import Running
from sandbox.errors import AuditError
from sandbox.event import Event, Value
from sandbox.evidence import Evidence
from sandbox.excess import Excess
from sandbox.notices import one_line
from sandbox.policy.breach import Episodes, ending, key_origin, place, raised
from sandbox.policy.model import Policy
from sandbox.policy.quota import show_duration
from sandbox.records import dataclass, replace
from sandbox.standstill import Standstill

FREEZE_S = 1.5
"""How long a keeper may take to stop or to wake everything; an engine needs a tenth of that."""
OURS = frozenset(("audit", "engine", "gateway", "relay"))
"""What ends a session without a quota or rule of the profile being broken."""


@dataclass(frozen=True, slots=True)
class Question:
    """Everything stands still for this excess since `asked`, and is ended at `until`."""

    excess: Excess
    asked: float
    until: float
    standstill: Standstill | None
    """None where an engine holds everything, in a cgroup's freezer that no signal opens."""


class Breaches:
    """Decides by `[breach]`, once for each excess; `name` is set once one of them ended the sandbox."""

    def __init__(
        self, policy: Policy, session: str, running: Running, clerk: Clerk, redactor: Redactor,
        note: Callable[[str], None], evidence: Evidence, notify: Callable[[Mapping[str, Value]], None],
    ) -> None:  # fmt: skip
        self.name = ""
        """The quota without its `quota.`, or the rule."""
        self.reason = ""
        """What the client is told."""
        self.data: dict[str, Value] = {}
        """What the client is told in numbers, with the line of the profile and what would allow it."""
        self.warned = ""
        """The last warning."""
        self._policy = policy
        self._session = session
        self._running = running
        self._clerk = clerk
        self._redactor = redactor
        self._note = note
        self._evidence = evidence
        self._notify = notify
        self._episodes = Episodes()
        self._question: Question | None = None
        self.ending = False
        """The end was asked for and is near: nothing is worth a question any more."""
        self._answered = False

    def exceeded(self, excess: Excess) -> None:
        """A limit was exceeded: what the profile wants done about it is done."""
        if self.name:
            return
        wanted = ending(self._policy.breach, excess.key)
        if wanted == "warn":
            self._warn(excess)
        elif wanted == "freeze":
            self._freeze(excess)
        else:
            self.end(excess)

    @property
    def frozen(self) -> bool:
        """Whether every process stands still until a person answers."""
        return self._question is not None

    def resume(self) -> bool:
        """A person lets it go on; False where nothing waits for that. From any thread."""
        self._answered = self.frozen
        return self._answered

    def answer(self, now: float) -> float | None:
        """Acts on the answer, or on there being none; the moment until which one is waited for."""
        question = self._question
        if question is None or self.name or self.ending:
            return None  # who is being ended moves
        if self._answered:
            self._thaw(question, now)
            return None
        why, look = question.standstill.look(now) if question.standstill else ("", question.until)
        if why:
            self.end(replace(question.excess, why=f"{question.excess.why}; frozen, and {why}"))
        elif now >= question.until:
            waited = show_duration(round(now - question.asked, 1))
            why = f"{question.excess.why}; frozen, nobody answered in {waited}"
            self.end(replace(question.excess, why=why))
        return None if self._question is None else min(question.until, look)

    def below(self, key: str) -> None:
        """A limit was seen to be kept."""
        self._episodes.below(key)

    def end(self, excess: Excess) -> None:
        """Ends the sandbox, at once and whole; the evidence is on disk before the client hears of it."""
        if self.name:
            return
        try:
            self._evidence.look()
        finally:
            self._running.kill()
        self._evidence.keep()
        self.name = _name(excess.key)
        self._question = None
        why = self._clean(excess.why)
        where = "" if excess.key in OURS else f" [{self._place(excess.key)}]"
        self.reason = f"ended by mcp-sandbox: {self._broken(excess.key)}{why}{where}"
        self.data = self._data(excess)
        if self.name != "audit":  # else nothing can be written any more
            self._record(excess, why)
        self._note(self._said())
        self._notify({"event": "breach", "message": self.reason, **self.data})

    def report(self) -> None:
        """Puts the evidence on disk, with the last that the server said."""
        if self.name and self.name != "audit":
            self._emit(Event("breach.report", self._evidence.report(), rule=str(self.data["rule"])))

    # --- one excess ---------------------------------------------------------------------------------

    def _warn(self, excess: Excess) -> None:
        if not self._episodes.begins(_matter(excess), time.monotonic(), excess.measured):
            return
        self.warned = self._clean(excess.why)
        self._emit(Event("quota.warn", self._detail(excess, self.warned), rule=excess.key))
        what = f"{self._broken(excess.key)}{self.warned} [{self._place(excess.key)}]"
        self._note(f"warning: {_kind(excess.key)}-exceeded\n  {what}")

    def _freeze(self, excess: Excess) -> None:
        now = time.monotonic()
        if self.frozen or self.ending or not self._episodes.begins(_matter(excess), now, excess.measured):
            return
        if not self._running.freeze(FREEZE_S):
            self.end(replace(excess, why=f"{excess.why}; it could not be frozen"))
            return
        self._answered = False
        now = time.monotonic()
        self._question = Question(excess, now, now + self._policy.breach.answer, self._standstill(now))
        why = self._clean(excess.why)
        self._emit(Event("quota.freeze", self._detail(excess, why), rule=excess.key))
        self._ask(excess, why)

    def _standstill(self, now: float) -> Standstill | None:
        root = self._running.init_pid
        if root is None or self._running.container:
            return None
        return Standstill(root, now, self._running.stop_again)

    def _ask(self, excess: Excess, why: str) -> None:
        if not self.frozen:
            return  # nothing can be written any more, and that ended it
        what = f"frozen by mcp-sandbox: {self._broken(excess.key)}{why} [{self._place(excess.key)}]"
        ends = f"ended after {show_duration(self._policy.breach.answer)} without an answer"
        hint = f"mcp-sandbox resume {self._session}, or mcp-sandbox stop {self._session}"
        self._note(f"warning: {_kind(excess.key)}-frozen\n  {what}\n  {ends}\n\nhint: {hint}")
        self._notify({"event": "freeze", "message": f"{what}; {hint}", **self._data(excess)})

    def _thaw(self, question: Question, now: float) -> None:
        excess = question.excess
        if not self._running.thaw(FREEZE_S):
            self.end(replace(excess, why=f"{excess.why}; frozen, and it could not go on"))
            return
        self._question = None
        self._answered = False
        self._episodes.allow(_matter(excess), now, excess.measured, excess.limit)
        detail: dict[str, Value] = {"quota": _name(excess.key), "after": round(now - question.asked, 3)}
        self._emit(Event("quota.resume", detail, rule=excess.key))
        self._note(f"mcp-sandbox: goes on after {_kind(excess.key)} `{_name(excess.key)}`")

    def _record(self, excess: Excess, why: str) -> None:
        rule = excess.key if "." in excess.key else f"quota.{excess.key}"
        self._emit(Event("quota.breach", self._detail(excess, why), rule=rule))
        self._emit(Event("kill", {"reason": self.name}))

    def _emit(self, event: Event) -> None:
        try:
            self._clerk.emit(event, sync=True)
        except AuditError as error:
            self._note(str(error))
            self.end(Excess("audit", f"the audit log failed: {error.what}"))

    def _detail(self, excess: Excess, why: str) -> dict[str, Value]:
        found: dict[str, Value] = {"quota": _name(excess.key), "why": why, **_numbers(excess)}
        found["profile"] = self._place(excess.key)
        return found | {name: value for name, value in excess.detail.items() if name not in found}

    def _data(self, excess: Excess) -> dict[str, Value]:
        if excess.key in OURS:
            return {"rule": excess.key, "session": self._session}
        found: dict[str, Value] = {"rule": excess.key, **_numbers(excess)}
        told = excess.detail.get("raise")
        more = told if isinstance(told, dict) else raised(excess.key, excess.measured, excess.limit)
        return {**found, "profile": self._place(excess.key), **more, "session": self._session}

    def _said(self) -> str:
        """The words on stderr: what happened, where the limit stands, and what shows the evidence."""
        if self.name in OURS:
            return f"error: {self.name}-failed\n  {self.reason}"
        kind = _kind(str(self.data["rule"]))
        allows = self.data.get("flag") or self.data.get("key")
        more = f"\n  allowed with `{allows}`" if allows else ""
        hint = f"hint: mcp-sandbox audit show {self._session}"
        return f"error: {kind}-breach\n  {self.reason}{more}\n\n{hint}"

    def _broken(self, key: str) -> str:
        return "" if key in OURS else f"{_kind(key)} `{_name(key)}`, "

    def _place(self, key: str) -> str:
        return place(key_origin(self._policy, key))

    def _clean(self, text: str) -> str:
        return one_line(self._redactor.text(text))


def _matter(excess: Excess) -> str:
    """What is one and the same to a person: the limit; of forbidden system calls each by itself."""
    call = excess.detail.get("call")
    return f"{excess.key} {excess.detail.get('machine')} {call}" if call else excess.key


def _numbers(excess: Excess) -> dict[str, Value]:
    numbers = {"measured": excess.measured, "limit": excess.limit}
    return {name: value for name, value in numbers.items() if value is not None}


def _name(key: str) -> str:
    return key.removeprefix("quota.")


def _kind(key: str) -> str:
    return "quota" if key.startswith("quota.") else "rule"


def told(rule: str, why: str, detail: Mapping[str, Value]) -> Excess:
    """What the egress gateway or the keeper tells of, in the words that everything else uses."""
    key = rule if "." in rule or rule in OURS else f"quota.{rule}"
    measured, limit = (_number(detail.get(name)) for name in ("used", "limit"))
    return Excess(key, why, measured, limit, detail)


def _number(value: Value) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
