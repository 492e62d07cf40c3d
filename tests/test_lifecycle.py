"""The end of a session, decided from times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.lifecycle import (
    FIRST_ANSWER_S,
    KILL_AFTER_S,
    TERMINATE_AFTER_S,
    Decision,
    Step,
    Times,
    decide,
    exceeded,
)

RUNNING = Times(started=100.0, spoke=101.0, active=101.0)
CLOSED = replace(RUNNING, client_closed=110.0)

CASES = [
    pytest.param(RUNNING, 1e6, Decision(Step.WAIT), id="a quiet server lives for days"),
    pytest.param(
        CLOSED,
        110.0,
        Decision(Step.WAIT, 110.0 + TERMINATE_AFTER_S),
        id="end of file gives the server time to end itself",
    ),
    pytest.param(
        CLOSED, 110.0 + TERMINATE_AFTER_S, Decision(Step.TERMINATE, 110.0 + KILL_AFTER_S), id="then SIGTERM"
    ),
    pytest.param(CLOSED, 110.0 + KILL_AFTER_S, Decision(Step.KILL), id="then the end, within two seconds"),
    pytest.param(
        replace(RUNNING, signalled=120.0),
        120.0,
        Decision(Step.TERMINATE, 120.0 + KILL_AFTER_S),
        id="a signal is passed on at once",
    ),
    pytest.param(
        replace(CLOSED, signalled=111.0),
        111.0 + KILL_AFTER_S,
        Decision(Step.KILL),
        id="a signal has its own deadline",
    ),
    pytest.param(
        replace(CLOSED, client_closed=102.0, spoke=None, pending=1),
        100.0 + FIRST_ANSWER_S - 0.5,
        Decision(Step.WAIT, 100.0 + FIRST_ANSWER_S - 0.5 + TERMINATE_AFTER_S),
        id="a piped request waits for a server that has not spoken",
    ),
    pytest.param(
        replace(CLOSED, spoke=None, pending=1),
        100.0 + FIRST_ANSWER_S + KILL_AFTER_S,
        Decision(Step.KILL),
        id="but not for ever",
    ),
    pytest.param(
        replace(CLOSED, spoke=None),
        110.0 + KILL_AFTER_S,
        Decision(Step.KILL),
        id="nothing asked, nothing awaited",
    ),
]


@pytest.mark.parametrize(("times", "now", "expected"), CASES)
def test_decision(times: Times, now: float, expected: Decision) -> None:
    assert decide(times, now) == expected


QUOTAS = [
    pytest.param(RUNNING, 1e6, [], None, id="no quota, no look"),
    pytest.param(
        replace(RUNNING, wall=50.0), 150.0, [("quota.wall", 50.0, 50.0)], 200.0, id="wall counts all"
    ),
    pytest.param(replace(RUNNING, wall=50.0), 149.0, [], 150.0, id="wall time not reached"),
    pytest.param(
        replace(RUNNING, idle=5.0), 106.5, [("quota.idle", 5.5, 5.0)], 111.5, id="idle since the last frame"
    ),
    pytest.param(replace(RUNNING, idle=5.0, pending=1), 200.0, [], None, id="an open call is not idleness"),
    pytest.param(
        replace(CLOSED, wall=1.0, idle=500.0), 110.0, [("quota.wall", 10.0, 1.0)], 111.0, id="each by itself"
    ),
]


@pytest.mark.parametrize(("times", "now", "found", "until"), QUOTAS)
def test_quotas_of_time(
    times: Times, now: float, found: list[tuple[str, float, float]], until: float | None
) -> None:
    excesses, moment = exceeded(times, now)
    assert [(one.key, one.measured, one.limit) for one in excesses] == found
    assert moment == until


def test_what_is_over_is_said_in_words() -> None:
    [wall] = exceeded(replace(RUNNING, wall=50.0), 150.04)[0]
    assert wall.why == "the session has run for 50s, the limit is 50s"


def test_the_deadlines_fit_the_two_seconds_that_clients_give() -> None:
    assert TERMINATE_AFTER_S < KILL_AFTER_S < 2.0 - 0.5
