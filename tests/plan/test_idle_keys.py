"""Keys that bound nothing alone stop the start, wherever the key that they need may come from."""

from __future__ import annotations

from sandbox.plan.enforceable import unenforceable
from sandbox.policy.model import Policy, Tools


def keys(tools: Tools) -> list[str]:
    return [key for key, _, _ in unenforceable(Policy("web", tools=tools))]


def test_a_cost_needs_a_budget() -> None:
    assert keys(Tools(cost=(("search_*", 5.0),))) == ["tools.cost"]
    assert keys(Tools(cost=(("search_*", 5.0),), budget=10.0)) == []


def test_a_window_needs_a_repeat() -> None:
    assert keys(Tools(window=30.0)) == ["tools.window"]
    assert keys(Tools(window=30.0, repeat=3)) == []
