"""What a rule decides about one message, path, host or resource."""

from __future__ import annotations

from enum import Enum

from sandbox.records import dataclass


class Action(Enum):
    """The five outcomes a rule can have."""

    ALLOW = "allow"
    DENY = "deny"
    REDACT = "redact"
    ASK = "ask"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An action with the rule that gave it and a reason a person can read."""

    action: Action
    rule: str
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """True only for an explicit allow."""
        return self.action is Action.ALLOW

    @classmethod
    def allow(cls, rule: str, reason: str = "") -> Verdict:
        """The rule lets it pass."""
        return cls(Action.ALLOW, rule, reason)

    @classmethod
    def deny(cls, rule: str, reason: str = "") -> Verdict:
        """The rule, or the absence of one, refuses it."""
        return cls(Action.DENY, rule, reason)

    @classmethod
    def kill(cls, rule: str, reason: str = "") -> Verdict:
        """The rule ends the sandbox."""
        return cls(Action.KILL, rule, reason)
