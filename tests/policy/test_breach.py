"""What becomes of an excess, when it is a new one, and what would have allowed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbox.policy import quota
from sandbox.policy.breach import SETTLE_S, Episodes, ending, key_origin, place, raised, shown
from sandbox.policy.model import BreachPolicy, Origin, Policy

ASKED = BreachPolicy(
    pids="warn",
    disk="freeze",
    written="freeze",
    idle="warn",
    syscall="freeze",
    traffic="deny",
    calls="freeze",
)
ENDINGS = [
    pytest.param("quota.pids", "warn", id="a quota by its own key"),
    pytest.param("quota.disk", "freeze", id="another"),
    pytest.param("quota.wall", "kill", id="what is not written"),
    pytest.param("quota.memory", "kill", id="memory, of which nobody can have more than there is"),
    pytest.param("syscalls.tier", "freeze", id="a forbidden call"),
    pytest.param("tools.repeat", "freeze", id="calls of tools together"),
    pytest.param("tools.budget", "freeze", id="their budget too"),
    pytest.param("traffic.flood", "kill", id="what was to be denied, and could not be"),
    pytest.param("network.upload", "kill", id="a budget of the network"),
    pytest.param("isolation.decoys", "kill", id="a decoy"),
    pytest.param("audit", "kill", id="the log itself"),
    pytest.param("quota.grace", "kill", id="a key of the table that is no quota"),
    pytest.param("quota.notify", "kill", id="another"),
    pytest.param("quota.", "kill", id="nothing"),
    pytest.param("", "kill", id="nothing at all"),
]


@pytest.mark.parametrize(("key", "expected"), ENDINGS)
def test_the_profile_says_what_becomes_of_it(key: str, expected: str) -> None:
    assert ending(ASKED, key) == expected


def test_traffic_and_calls_may_warn() -> None:
    mild = replace(ASKED, traffic="warn", calls="warn")
    assert [ending(mild, key) for key in ("traffic.stall", "tools.calls")] == ["warn", "warn"]


# --- episodes ------------------------------------------------------------------------------------


def test_a_lasting_excess_is_one_however_often_it_is_measured() -> None:
    episodes = Episodes()
    begins = [episodes.begins("quota.pids", 0.5 * n, 128) for n in range(200)]
    assert begins == [True] + [False] * 199


def test_after_a_time_within_the_limit_it_is_a_new_one() -> None:
    episodes = Episodes()
    assert episodes.begins("quota.pids", 0.0, 128)
    assert not episodes.begins("quota.pids", SETTLE_S, 128)
    assert episodes.begins("quota.pids", 2 * SETTLE_S + 0.1, 128)


def test_what_only_grows_is_told_once_however_seldom_it_is_measured() -> None:
    episodes = Episodes()
    assert [episodes.begins("quota.wall", 3600.0 * n, 3600.0 * n) for n in (1, 2, 3)] == [True, False, False]


def test_what_was_seen_below_is_new_at_once() -> None:
    episodes = Episodes()
    assert episodes.begins("quota.idle", 0.0, 60.0)
    episodes.below("quota.idle")
    assert episodes.begins("quota.idle", 1.0, 60.0)


def test_each_limit_has_its_own() -> None:
    episodes = Episodes()
    assert [episodes.begins(key, 0.0, 1) for key in ("quota.pids", "quota.disk")] == [True, True]


def test_who_lets_it_go_on_allows_as_much_once_more() -> None:
    episodes = Episodes()
    assert episodes.begins("quota.written", 0.0, 110.0)
    episodes.allow("quota.written", 5.0, 110.0, 100.0)
    begins = [episodes.begins("quota.written", 6.0 + n, 110.0 + 25 * n) for n in range(8)]
    assert begins == [False, False, False, False, True, False, False, False]


def test_who_lets_a_steady_excess_go_on_is_not_asked_again_while_it_lasts() -> None:
    episodes = Episodes()
    assert episodes.begins("quota.pids", 0.0, 128)
    episodes.allow("quota.pids", 120.0, 128, 128)
    assert not episodes.begins("quota.pids", 121.0, 128)
    assert episodes.begins("quota.pids", 121.0 + SETTLE_S + 0.1, 128)


# --- what would have allowed it --------------------------------------------------------------------

RAISED = [
    pytest.param("quota.memory", 513 << 20, 512 << 20, {"flag": "--memory 1G"}, id="the next size"),
    pytest.param("quota.memory", 3 << 30, 512 << 20, {"flag": "--memory 4G"}, id="more than was measured"),
    pytest.param("quota.pids", 128, 128, {"flag": "--pids 256"}, id="a count"),
    pytest.param("quota.wall", 43200.2, 43200.0, {"flag": "--wall 1d"}, id="a time"),
    pytest.param("quota.open_files", 1024, 1024, {"key": "quota.open_files = 2048"}, id="no option, a key"),
    pytest.param("quota.cpu_time", 60.1, 60.0, {"key": 'quota.cpu_time = "2m"'}, id="a key with a unit"),
    pytest.param("traffic.rate", 120.0, 100.0, {"key": 'traffic.rate = "200/s"'}, id="a rate"),
    pytest.param("traffic.rate", 0.6, 0.5, {"key": 'traffic.rate = "1/s"'}, id="a slow rate"),
    pytest.param("tools.rate", 1 / 90, 1 / 120, {"key": 'tools.rate = "1/m"'}, id="a slower one"),
    pytest.param("tools.rate", 1 / 9000, 1 / 12000, {"key": 'tools.rate = "1/h"'}, id="the slowest"),
    pytest.param("tools.budget", 2.75, 2.5, {"key": "tools.budget = 5"}, id="a cost"),
    pytest.param("tools.budget", 0.5, 0.3, {"key": "tools.budget = 0.6"}, id="a small cost"),
    pytest.param(
        'network.budget."a.example".upload', 2048, 1024,
        {"key": 'network.budget."a.example".upload = "2K"'}, id="a host's budget",
    ),
    pytest.param("syscalls.tier", None, None, {}, id="nothing to raise"),
    pytest.param("traffic.flood", 5.0, float("inf"), {}, id="no limit at all"),
    pytest.param("traffic.flood", float("inf"), 10.0, {"key": 'traffic.flood = "20/s"'}, id="beyond measure"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "measured", "limit", "expected"), RAISED)
def test_what_would_allow_it(
    key: str, measured: float | None, limit: float | None, expected: dict[str, str]
) -> None:
    assert raised(key, measured, limit) == expected


PASTED = [
    pytest.param("quota.memory", quota.memory, (16 << 20, (16 << 20) + 1, 3 << 30), id="memory"),
    pytest.param("traffic.waste", quota.size, (1, 1000, 1 << 24), id="a size"),
    pytest.param("quota.wall", quota.duration, (0.25, 1, 61, 90.5, 3600, 86400, 1e6), id="a time"),
    pytest.param("traffic.flood", quota.rate, (1 / 3600, 0.02, 0.9, 1, 61.5, 999_999), id="a rate"),
]


@pytest.mark.parametrize(("key", "read", "values"), PASTED)
def test_what_is_shown_can_be_pasted(
    key: str, read: Callable[[object], float], values: tuple[float, ...]
) -> None:
    for value in values:
        assert 0.999999 * value <= read(shown(key, value)) < 2 * value + 1e-9


def test_nothing_is_offered_that_no_profile_may_say() -> None:
    year = 366 * 86400.0
    assert raised("quota.wall", year, year) == {}
    assert raised("traffic.rate", 1e6, 1e6) == {}
    assert raised("quota.memory", 1 << 50, 1 << 50) == {}


# --- where it stands -----------------------------------------------------------------------------


def test_the_line_of_the_key_or_of_the_table_above_it() -> None:
    written = (("quota.memory", Origin("/home/me/web.toml", 12)), ("network.budget", Origin("web.toml", 3)))
    policy = Policy("web", origins=written)
    assert place(key_origin(policy, "quota.memory")) == "web.toml:12"
    assert place(key_origin(policy, 'network.budget."a.example".upload')) == "web.toml:3"
    assert place(key_origin(policy, "quota.pids")) == "default"
    assert place(Origin("--memory")) == "--memory"
