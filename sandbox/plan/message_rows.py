"""What holds for messages and tool calls, as rows: each limit, and what becomes of who breaks it (P)."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.plan.rows import Row, duration, size
from sandbox.plan.spec import Spec
from sandbox.plan.tool_rows import tool_rows
from sandbox.policy.model import Policy, Stopping

_CLIENT = "counted by the relay"
_SERVER = "counted by the relay, on stdout"


def message_rows(spec: Spec, policy: Policy) -> Iterator[Row]:
    """Messages first, then tool calls."""
    yield Row("messages", f"frames of at most {size(spec.message)}", "relay", "traffic.message")
    yield from _traffic(policy)
    yield from _calls(policy)
    yield from tool_rows(policy)


def _traffic(policy: Policy) -> Iterator[Row]:
    traffic, action = policy.traffic, policy.breach.traffic
    then, slower = f"then {_then(action)}", f"then {_then(action, 'read no faster')}"
    if traffic.rate is not None:
        yield Row("messages", f"{_rate(traffic.rate)} of the client's", f"{_CLIENT}, {then}", "traffic.rate")
    if traffic.concurrency is not None:
        what = f"{traffic.concurrency} requests open at once"
        yield Row("messages", what, f"{_CLIENT}, {then}", "traffic.concurrency")
    if traffic.timeout is not None:
        what = f"an answer within {duration(traffic.timeout)}"
        yield Row("messages", what, "the call gets an error and is cancelled", "traffic.timeout")
    if traffic.flood is not None:
        what = f"{_rate(traffic.flood)} of the server's that answer nothing"
        yield Row("messages", what, f"{_SERVER}, {slower}", "traffic.flood")
    if traffic.waste is not None:
        what = f"{size(traffic.waste)} a minute that are no message"
        yield Row("messages", what, f"{_SERVER}, {slower}", "traffic.waste")
    if traffic.stall is not None:
        what = f"a message waits at most {duration(traffic.stall)} for the server to read"
        # Half a message cannot be taken back: nothing is left to refuse.
        yield Row("messages", what, f"{_CLIENT}, then {_then(action, 'breach')}", "traffic.stall")


def _calls(policy: Policy) -> Iterator[Row]:
    tools, how = policy.tools, f"{_CLIENT}, then {_then(policy.breach.calls)}"
    if tools.calls is not None:
        yield Row("calls", f"{tools.calls} in a session", how, "tools.calls")
    if tools.rate is not None:
        yield Row("calls", _rate(tools.rate), how, "tools.rate")
    if tools.repeat is not None:
        what = f"{tools.repeat} alike within {duration(tools.window)}"
        yield Row("calls", what, how, "tools.repeat")
    if tools.budget is not None:
        yield Row("calls", f"cost at most {tools.budget:g} together", how, "tools.budget")


def _then(action: Stopping, denied: str = "refused") -> str:
    return {"kill": "breach", "freeze": "frozen", "warn": "a warning", "deny": denied}[action]


def _rate(rate: float) -> str:
    """As a person reads it: in the shortest unit that makes it no less than one."""
    for unit, seconds in (("second", 1), ("minute", 60)):
        if rate * seconds >= 1:
            return f"{round(rate * seconds, 3):g} a {unit}"
    return f"{round(rate * 3600, 3):g} an hour"
