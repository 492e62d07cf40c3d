"""What is counted against a limit in time: bursts, paces, the same thing again, and in how much memory."""

from __future__ import annotations

import pytest

from sandbox.excess import Excess
from sandbox.plan.enforceable import MOST_REPEATS
from sandbox.policy.model import Tools
from sandbox.relay.calls import Calls, limited, same_call
from sandbox.relay.rates import Pace, Repeats, span, spelt


@pytest.mark.parametrize(
    ("rate", "most", "written"),
    [
        pytest.param(100.0, 100, "100/s", id="by the second"),
        pytest.param(10.0, 10, "10/s", id="ten a second"),
        pytest.param(2.0, 120, "120/m", id="two a second may come as a hundred and twenty a minute"),
        pytest.param(30 / 60, 30, "30/m", id="by the minute"),
        pytest.param(500 / 3600, 500, "500/h", id="by the hour"),
        pytest.param(2 / 3600, 2, "2/h", id="two an hour"),
    ],
)
def test_a_burst_is_what_the_span_allows(rate: float, most: int, written: str) -> None:
    assert spelt(rate) == written
    pace = Pace.of(rate)
    assert [pace.take(50.0) for _ in range(most + 1)] == [True] * most + [False]
    assert pace.measured() > rate, "what is measured is more than the limit, in the limit's own unit"
    assert not pace.take(50.0 + span(rate)[0] / (2 * most)), "half of one has come back"


def test_a_pace_lets_on_what_is_slow_enough_for_ever() -> None:
    pace = Pace.of(20.0)
    assert all(pace.take(100.0 + n / 20) for n in range(500))
    assert not all(pace.take(200.0 + n / 25) for n in range(500))


def test_what_was_refused_does_not_count_and_a_debt_is_bounded() -> None:
    pace = Pace.of(10.0)
    for _ in range(1000):
        if not pace.take(5.0):
            pace.give_back()
    assert pace.take(5.11), "the next one is let in as if nothing had been tried"
    for _ in range(1000):
        pace.take(6.0)
    assert pace.debt() == pytest.approx(1.0)
    assert pace.take(7.11)
    pace.start_anew()
    assert all(pace.take(7.11) for _ in range(10))


def test_the_same_thing_again_is_counted_within_its_window() -> None:
    seen = Repeats(3, 60.0)
    assert [seen.see(b"a", now) for now in (0.0, 10.0, 20.0, 30.0)] == [1, 2, 3, 4]
    assert seen.see(b"b", 30.0) == 1
    assert seen.see(b"a", 60.1) == 4, "the first has left the window"
    seen.take_back(b"a")
    assert seen.see(b"a", 69.0) == 4
    seen.start_anew(b"a")
    assert seen.see(b"a", 70.0) == 1


def test_a_loop_is_remembered_while_a_hundred_thousand_other_things_are_not() -> None:
    seen = Repeats(MOST_REPEATS, 1e6)
    for number in range(100_000):
        seen.see(b"%d" % number, float(number))
        if number % 500 == 0:
            times = seen.see(b"loop", float(number))
    assert times == 200
    assert len(seen._seen) <= 1 << 16
    assert seen._moments == sum(map(len, seen._seen.values())) <= 1 << 16


def test_the_largest_repeat_that_a_plan_allows_can_be_counted() -> None:
    seen = Repeats(MOST_REPEATS, 1e6)
    times = [seen.see(b"a", float(n)) for n in range(MOST_REPEATS + 3)]
    assert times[-4:] == [MOST_REPEATS, *[MOST_REPEATS + 1] * 3]


# --- calls ---------------------------------------------------------------------------------------


def broken(calls: Calls, tool: str = "read", arguments: object = None, now: float = 1.0) -> list[Excess]:
    return [*calls.weigh({"name": tool, "arguments": arguments}, now).broken]


LIMITS = [
    pytest.param(Tools(calls=3), "tools.calls", 4, 3, id="calls"),
    pytest.param(Tools(repeat=3), "tools.repeat", 4, 3, id="repeat"),
    pytest.param(Tools(budget=3), "tools.budget", 4.0, 3, id="budget"),
    pytest.param(Tools(budget=6.0, cost=(("re*", 2.0),)), "tools.budget", 8.0, 6.0, id="cost by pattern"),
    pytest.param(Tools(rate=3 / 3600), "tools.rate", 4 / 3600, 3 / 3600, id="rate"),
]


@pytest.mark.parametrize(("tools", "key", "measured", "limit"), LIMITS)
def test_the_call_after_the_last_is_one_too_many(
    tools: Tools, key: str, measured: float, limit: float
) -> None:
    assert limited(tools)
    assert not limited(Tools())
    calls = Calls(tools)
    assert [broken(calls, now=100.0) for _ in range(3)] == [[], [], []]
    weighed = calls.weigh({"name": "read"}, 100.0)
    (excess,) = weighed.broken
    assert (excess.key, excess.limit) == (key, limit)
    assert excess.measured == pytest.approx(measured, abs=1e-3)
    calls.take_back(weighed)
    assert [one.measured for one in broken(calls, now=100.0)] == [excess.measured], "a refusal is no call"
    calls.start_anew(key, weighed)
    assert broken(calls, now=100.0) == [], "a person let it go on"


def test_every_limit_that_a_call_breaks_is_named() -> None:
    calls = Calls(Tools(calls=1, repeat=1, budget=1.0, rate=1 / 3600))
    assert broken(calls) == []
    assert {one.key for one in broken(calls)} == {"tools.calls", "tools.repeat", "tools.budget", "tools.rate"}


def test_the_first_pattern_gives_the_cost_and_nothing_may_be_free() -> None:
    calls = Calls(Tools(budget=10.0, cost=(("search_*", 5.0), ("list_*", 0.0), ("*", 0.1))))
    for _ in range(40):
        assert broken(calls, "list_files") == []
    assert broken(calls, "search_code") == broken(calls, "search_issues") == []
    (excess,) = broken(calls, "other")
    assert excess.detail == {"tool": "other", "cost": 0.1}
    thirds = Calls(Tools(budget=0.3, cost=(("*", 0.1),)))
    assert [broken(thirds) for _ in range(3)] == [[], [], []], "0.1 + 0.1 + 0.1 is 0.3 to a person"


SAME = [
    pytest.param({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}, True, id="another order"),
    pytest.param(None, {}, True, id="none and empty"),
    pytest.param({"a": 1}, {"a": 2}, False, id="another value"),
    pytest.param({"a": 1}, {"a": "1"}, False, id="another type"),
    pytest.param({"a": [1, 2]}, {"a": [2, 1]}, False, id="a list has an order"),
]


@pytest.mark.parametrize(("one", "other", "alike"), SAME)
def test_calls_are_alike_by_what_they_ask_for(one: object, other: object, *, alike: bool) -> None:
    first = {"name": "read", "arguments": one, "_meta": {"progressToken": 1}}
    second = {"_meta": {"progressToken": 2}, "arguments": other, "name": "read"}
    assert (same_call(first) == same_call(second)) is alike
    assert same_call(first) != same_call({**first, "name": "write"})
    assert same_call(first) != same_call({**first, "inputResponses": {"a": 1}, "requestState": "x"})
    assert same_call({"name": "read"}) == same_call({"name": "read", "arguments": {}})


def test_a_call_of_no_tool_is_a_call() -> None:
    calls = Calls(Tools(calls=1))
    assert calls.weigh({"name": 5}, 0.0).broken == ()
    assert calls.weigh({}, 0.0).broken
