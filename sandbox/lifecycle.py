"""When a session ends, decided from times alone: no clock, no process (P).

Clients close stdin, wait 2 s, send SIGTERM, wait 2 s, send SIGKILL (MCP 2025-11-25, Lifecycle,
Shutdown; both SDKs). Everything of ours must be gone within the first two seconds.
"""

from __future__ import annotations

from enum import Enum

from sandbox.excess import Excess
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
    """The step for now, and the moment of the next look."""

    step: Step
    until: float | None = None


def decide(times: Times, now: float) -> Decision:
    """The end that was asked for, by a signal or by the client's end of file."""
    asked = _asked(times, now)
    if asked is None:
        return Decision(Step.WAIT)
    if now >= asked + KILL_AFTER_S:
        return Decision(Step.KILL)
    if times.signalled is not None or now >= asked + TERMINATE_AFTER_S:
        return Decision(Step.TERMINATE, asked + KILL_AFTER_S)
    return Decision(Step.WAIT, asked + TERMINATE_AFTER_S)


def exceeded(times: Times, now: float) -> tuple[list[Excess], float | None]:
    """The quotas of time that are over, and the moment of the next look."""
    found: list[Excess] = []
    moments: list[float] = []
    for name, begun, limit in _quotas(times):
        if now < begun + limit:
            moments.append(begun + limit)
        else:
            found.append(_excess(name, now - begun, limit))
            # Whoever let it go on may be told again, and an idle server may have been busy since.
            moments.append(now + limit)
    return found, min(moments, default=None)


def _quotas(times: Times) -> list[tuple[str, float, float]]:
    """Of each quota its name, the moment from which it counts, and its seconds."""
    quotas = []
    if times.wall is not None:
        quotas.append(("wall", times.started, times.wall))
    if times.idle is not None and times.pending == 0:
        quotas.append(("idle", max(times.started, times.active), times.idle))
    return quotas


def _excess(name: str, measured: float, limit: float) -> Excess:
    from sandbox.policy.quota import show_duration

    did = "the session has run for" if name == "wall" else "no message for"
    why = f"{did} {show_duration(round(measured, 1))}, the limit is {show_duration(limit)}"
    return Excess(f"quota.{name}", why, round(measured, 3), limit)


def _asked(times: Times, now: float) -> float | None:
    """The moment from which the end counts: a signal, or the client's end of file."""
    if times.signalled is not None:
        return times.signalled
    if times.client_closed is None:
        return None
    if times.spoke is None and times.pending:
        return max(times.client_closed, min(now, times.started + FIRST_ANSWER_S))
    return max(times.client_closed, times.spoke or 0.0)
