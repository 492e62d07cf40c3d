"""What a plan says of messages and calls: each limit, where it was written, what becomes of who breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.plan.describe import rows
from sandbox.plan.plan import plan
from sandbox.plan.rows import Row
from sandbox.policy.model import BreachPolicy, Stopping
from sandbox.records import replace
from tests.plan.world import facts, policy, survey

LIMITS = [
    ({"traffic": {"rate": 100.0}}, "100 a second of the client's", "traffic.rate"),
    ({"traffic": {"rate": 0.5}}, "30 a minute of the client's", "traffic.rate"),
    ({"traffic": {"concurrency": 4}}, "4 requests open at once", "traffic.concurrency"),
    (
        {"traffic": {"flood": 50 / 60}},
        "50 a minute of the server's that answer nothing",
        "traffic.flood",
    ),
    ({"traffic": {"waste": 1 << 20}}, "1 MiB a minute that are no message", "traffic.waste"),
    ({"traffic": {"stall": 90.0}}, "a message waits at most 1.5 min for the server to read", "traffic.stall"),
    ({"tools": {"calls": 9}}, "9 in a session", "tools.calls"),
    ({"tools": {"rate": 10 / 3600}}, "10 an hour", "tools.rate"),
    ({"tools": {"repeat": 3}}, "3 alike within 1 min", "tools.repeat"),
    ({"tools": {"budget": 2.5}}, "cost at most 2.5 together", "tools.budget"),
]
ENDS: list[tuple[Stopping, str]] = [
    ("kill", "breach"), ("freeze", "frozen"), ("warn", "a warning"), ("deny", "refused"),
]  # fmt: skip

DENIED = {
    "traffic.flood": "read no faster", "traffic.waste": "read no faster", "traffic.stall": "breach",
}  # fmt: skip


def said(table: dict[str, Any], breach: BreachPolicy) -> dict[str, Row]:
    """The rows by the key behind them."""
    asked = replace(policy(table), breach=breach)
    return {row.key: row for row in rows(plan(asked, facts(), survey({})), facts(), asked)}


@pytest.mark.parametrize(("table", "what", "key"), LIMITS)
@pytest.mark.parametrize(("action", "then"), ENDS)
def test_a_limit_and_what_it_comes_to(
    table: dict[str, Any], what: str, key: str, action: Stopping, then: str
) -> None:
    row = said(table, BreachPolicy(traffic=action, calls=action))[key]
    assert row.what == what
    assert row.mechanism.endswith(f"then {DENIED.get(key, then) if action == 'deny' else then}")
    assert str(row.origin).startswith("web.toml:")


def test_a_timeout_ends_the_call_alone() -> None:
    row = said({"traffic": {"timeout": 300.0}}, BreachPolicy())["traffic.timeout"]
    assert (row.what, row.mechanism) == ("an answer within 5 min", "the call gets an error and is cancelled")


def test_what_has_a_default_is_said_and_nothing_else() -> None:
    keys = [key for key in said({}, BreachPolicy()) if key.startswith(("traffic.", "tools."))]
    assert keys == ["traffic.message", "traffic.flood", "traffic.waste", "traffic.stall"]
