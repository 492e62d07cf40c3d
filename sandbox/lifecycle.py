"""When a session ends, decided from times alone: no clock, no process (P).

Clients close stdin, wait 2 s, send SIGTERM, wait 2 s, send SIGKILL (MCP 2025-11-25, Lifecycle,
Shutdown; both SDKs). Everything of ours must be gone within the first two seconds.
"""

from __future__ import annotations

from enum import Enum

from sandbox.records import dataclass

TERMINATE_AFTER_S = 0.9
KILL_AFTER_S = 1.25
FIRST_ANSWER_S = 10.0
"""A client that pipes one request in and closes still gets its answer from a server that is starting."""


class Step(Enum):
    """What the session does next."""

    WAIT = "wait"
    TERMINATE = "terminate"
    KILL = "kill"
    BREACH = "breach"


@dataclass(frozen=True, slots=True)
class Times:
    """Moments in seconds of one monotonic clock; None where it has not happened."""

    started: float
    client_closed: float | None = None
    signalled: float | None = None
    spoke: float | None = None
    active: float = 0.0
    pending: int = 0
    wall: float | None = None
    idle: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The step for now, the moment of the next look, and the quota that was exceeded."""

    step: Step
    until: float | None = None
    quota: str = ""


def decide(times: Times, now: float) -> Decision:
    """Quotas first, then the end that was asked for; otherwise wait until the next of both."""
    due = _quota_ends(times)
    for quota, end in due:
        if now >= end:
            return Decision(Step.BREACH, quota=quota)
    asked = _asked(times, now)
    if asked is None:
        return Decision(Step.WAIT, min((end for _, end in due), default=None))
    if now >= asked + KILL_AFTER_S:
        return Decision(Step.KILL)
    if times.signalled is not None or now >= asked + TERMINATE_AFTER_S:
        return Decision(Step.TERMINATE, asked + KILL_AFTER_S)
    return Decision(Step.WAIT, asked + TERMINATE_AFTER_S)


def _quota_ends(times: Times) -> list[tuple[str, float]]:
    ends = []
    if times.wall is not None:
        ends.append(("wall", times.started + times.wall))
    if times.idle is not None and times.pending == 0:
        ends.append(("idle", max(times.started, times.active) + times.idle))
    return ends


def _asked(times: Times, now: float) -> float | None:
    """The moment from which the end counts: a signal, or the client's end of file."""
    if times.signalled is not None:
        return times.signalled
    if times.client_closed is None:
        return None
    if times.spoke is None and times.pending:
        return max(times.client_closed, min(now, times.started + FIRST_ANSWER_S))
    return max(times.client_closed, times.spoke or 0.0)
