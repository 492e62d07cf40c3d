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
    pytest.param(
        replace(RUNNING, wall=50.0), 150.0, Decision(Step.BREACH, quota="wall"), id="wall time counts all"
    ),
    pytest.param(replace(RUNNING, wall=50.0), 149.0, Decision(Step.WAIT, 150.0), id="wall time not reached"),
    pytest.param(
        replace(RUNNING, idle=5.0), 106.0, Decision(Step.BREACH, quota="idle"), id="idle since the last frame"
    ),
    pytest.param(
        replace(RUNNING, idle=5.0, pending=1), 200.0, Decision(Step.WAIT), id="an open call is not idleness"
    ),
    pytest.param(
        replace(CLOSED, wall=1.0),
        110.0,
        Decision(Step.BREACH, quota="wall"),
        id="a breach comes before a polite end",
    ),
]


@pytest.mark.parametrize(("times", "now", "expected"), CASES)
def test_decision(times: Times, now: float, expected: Decision) -> None:
    assert decide(times, now) == expected


def test_the_deadlines_fit_the_two_seconds_that_clients_give() -> None:
    assert TERMINATE_AFTER_S < KILL_AFTER_S < 2.0 - 0.5
