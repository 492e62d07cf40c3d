"""What is taken for idle traffic, for a streak of denials and for a beacon, and what is not."""

from __future__ import annotations

from itertools import accumulate, pairwise
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.behaviour import HOSTS, MOMENTS, PAUSE, Finding, Watcher
from sandbox.policy.model import Behaviour

HOST = "api.example.com:443"
QUIET: dict[str, Any] = {"idle": "off", "denied": "off", "beacon": "off"}


def watcher(**settings: Any) -> Watcher:
    """One pattern at a time: what is not named is off."""
    return Watcher(Behaviour(**(QUIET | settings)))


def connects(watch: Watcher, times: list[float], host: str = HOST) -> list[Finding]:
    """What is found when a connection is made at each of `times`, no request open."""
    return [finding for now in times for finding in watch.connected(host, now, 0)]


# --- idle --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["connected", "sent"])
@pytest.mark.parametrize(
    ("action", "open_calls", "seen"),
    [
        pytest.param("log", 0, ["log"], id="nobody asked"),
        pytest.param("breach", 0, ["breach"], id="nobody asked, and that is a breach"),
        pytest.param("off", 0, [], id="nobody asked, and nobody cares"),
        pytest.param("breach", 1, [], id="a request is open"),
    ],
)
def test_traffic_is_idle_while_no_request_is_open(
    how: str, action: str, open_calls: int, seen: list[str]
) -> None:
    found = getattr(watcher(idle=action), how)(HOST, 5.0, open_calls)
    assert [finding.action for finding in found] == seen
    for finding in found:
        assert (finding.pattern, finding.key, finding.host) == ("idle", "network.behaviour.idle", HOST)
        assert finding.detail == {"times": 1}
        assert finding.why == f"traffic to `{HOST}` while no request was open"


def test_idle_traffic_is_logged_once_a_minute_and_tallied() -> None:
    watch = watcher(idle="log")
    found = connects(watch, [0.0, 1.0, 30.0, 59.9, 60.0, 61.0])
    assert [finding.detail["times"] for finding in found] == [1, 4]
    assert found[1].why.endswith("4 times since it was last reported")
    assert [finding.detail["times"] for finding in watch.untold()] == [1]


def test_each_host_has_a_minute_of_its_own() -> None:
    watch = watcher(idle="log")
    assert connects(watch, [0.0], "a.example:443")
    assert connects(watch, [1.0], "b.example:443")
    assert not connects(watch, [2.0], "a.example:443")


def test_where_idle_traffic_is_a_breach_every_sight_of_it_is_told() -> None:
    watch = watcher(idle="breach")
    assert len(connects(watch, [0.0, 0.1, 0.2])) == 3
    assert watch.untold() == []


# --- denied ------------------------------------------------------------------------------------------


def test_a_streak_is_told_at_its_threshold_and_at_each_multiple() -> None:
    watch = watcher(denied="log", denied_streak=3)
    found = [watch.denied(f"h{now}.example", float(now)) for now in range(7)]
    assert [len(one) for one in found] == [0, 0, 1, 0, 0, 1, 0]
    (first,), (second,) = found[2], found[5]
    assert first.detail == {
        "count": 3, "threshold": 3, "seconds": 2.0, "last": ["h0.example", "h1.example", "h2.example"],
    }  # fmt: skip
    assert (first.pattern, first.key) == ("denied-streak", "network.behaviour.denied")
    assert first.why == "3 attempts denied in a row within 2 s, the last to `h2.example`"
    assert second.detail["count"] == 6


def test_an_allowed_connection_ends_the_streak_and_an_upload_does_not() -> None:
    watch = watcher(denied="breach", denied_streak=2)
    assert not watch.denied("a.example", 0.0)
    watch.connected(HOST, 1.0, 1)
    assert not watch.denied("a.example", 2.0)
    watch.sent(HOST, 3.0, 1)
    (finding,) = watch.denied("a.example", 4.0)
    assert (finding.action, finding.detail["seconds"]) == ("breach", 2.0)


@pytest.mark.parametrize(
    ("counts", "findings"),
    [
        pytest.param([19], [0], id="one short"),
        pytest.param([20], [1], id="all at once"),
        pytest.param([65], [1], id="several thresholds at once are one finding"),
        pytest.param([19, 1, 19, 1], [0, 1, 0, 1], id="exactly at each"),
        pytest.param([0, 20], [0, 1], id="nothing is no attempt"),
    ],
)
def test_attempts_that_were_summed_up_count_one_by_one(counts: list[int], findings: list[int]) -> None:
    watch = watcher(denied="log")
    assert [len(watch.denied("x.example", float(now), count)) for now, count in enumerate(counts)] == findings


def test_denials_are_not_counted_where_they_do_not_matter() -> None:
    watch = watcher()
    assert not any(watch.denied("x.example", float(now)) for now in range(100))


def test_of_a_long_streak_the_last_few_names_are_kept() -> None:
    watch = watcher(denied="log", denied_streak=200)
    (finding,) = [found for n in range(200) for found in watch.denied(f"{n}.example", 0.0)]
    assert finding.detail["last"] == [f"{n}.example" for n in range(192, 200)]


# --- beacon ------------------------------------------------------------------------------------------


def every(seconds: float, count: int) -> list[float]:
    return [seconds * n for n in range(count)]


@pytest.mark.parametrize(
    ("times", "beacons"),
    [
        pytest.param(every(60, 8), 0, id="seven intervals are one too few"),
        pytest.param(every(60, 9), 1, id="eight intervals"),
        pytest.param(every(60, 16), 1, id="not told again at once"),
        pytest.param(every(60, 17), 2, id="told again after eight more"),
        pytest.param(every(1.0, 9), 1, id="one second is slow enough"),
        pytest.param(every(0.9, 90), 0, id="faster is one burst"),
        pytest.param([0, 60, 120, 180, 240, 300, 360, 420, 495], 1, id="one is late by a quarter"),
        pytest.param([0, 60, 120, 180, 240, 300, 360, 420, 500], 0, id="one is late by a third"),
        pytest.param([0, 3, 60, 61, 65, 300, 301, 309, 400, 555], 0, id="as people work"),
        pytest.param([60 * n + more for n in range(9) for more in (0, 0.2, 0.4)], 1, id="three at a time"),
        pytest.param([0, 5, 7, *(100 + 60 * n for n in range(9))], 1, id="only the last eight count"),
    ],
)  # fmt: skip
def test_regular_traffic_is_a_beacon(times: list[float], beacons: int) -> None:
    found = connects(watcher(beacon="log"), times)
    assert [finding.pattern for finding in found] == ["beacon"] * beacons


def test_a_beacon_is_explained_by_its_numbers() -> None:
    (finding,) = connects(watcher(beacon="breach", beacon_count=4), [0, 10, 20, 31, 41])
    assert finding.detail == {
        "intervals": 4, "mean": 10.25, "deviation": 0.433, "ratio": 0.0422,
        "threshold": 0.1, "shortest": 10, "longest": 11,
    }  # fmt: skip
    assert (finding.action, finding.key, finding.host) == ("breach", "network.behaviour.beacon", HOST)
    assert finding.why == (
        f"regular traffic to `{HOST}` while no request was open: "
        "4 intervals of 10.25 s, which deviate by 4.2 %"
    )


def test_uploads_on_a_live_connection_are_moments_too() -> None:
    watch = watcher(beacon="log")
    found = [*connects(watch, [0.0])]
    for now in every(30, 9)[1:]:
        found += watch.sent(HOST, now, 0)
    assert [finding.pattern for finding in found] == ["beacon"]


def test_what_happens_while_a_request_is_open_is_no_moment() -> None:
    watch = watcher(beacon="log")
    assert not [found for now in every(60, 50) for found in watch.connected(HOST, now, 1)]


def test_hosts_do_not_share_their_moments() -> None:
    watch = watcher(beacon="log")
    found = [one for now in every(60, 16) for one in watch.connected(f"{int(now) % 120}.example", now, 0)]
    assert not found


@given(
    st.lists(st.floats(1.001 * PAUSE, 1e4), min_size=5, max_size=30),
    st.integers(3, 6),
    st.floats(0.01, 0.5),
)
def test_a_beacon_is_found_where_and_only_where_the_statistics_say_so(
    gaps: list[float], count: int, jitter: float
) -> None:
    times = list(accumulate(gaps, initial=0.0))
    watch = watcher(beacon="log", beacon_count=count, beacon_jitter=jitter)
    fresh = 0
    for at, now in enumerate(times):
        fresh += 1
        last = [after - before for before, after in pairwise(times[max(0, at - count) : at + 1])]
        found = connects(watch, [now])
        # Within what two ways of rounding may differ by, either answer is right.
        if len(last) == count and abs(pstdev(last) / fmean(last) - jitter) > 1e-9:
            assert bool(found) is (fresh >= count and pstdev(last) / fmean(last) <= jitter)
        fresh = 0 if found else fresh


# --- bounds ------------------------------------------------------------------------------------------


def test_the_host_that_was_quiet_for_longest_makes_room() -> None:
    watch = watcher(idle="log")
    for n in range(HOSTS):
        connects(watch, [float(n) / HOSTS], f"{n}.example")
    connects(watch, [2.0], "0.example")
    connects(watch, [3.0], "one-more.example")
    # Of a host that is forgotten nothing is tallied: it is told as if it were new.
    assert connects(watch, [4.0], "1.example")
    assert not connects(watch, [5.0], "0.example")


def test_memory_does_not_grow_with_hosts_times_moments() -> None:
    watch = watcher(beacon="log", beacon_count=1000)
    for n in range(2 * HOSTS):
        connects(watch, [0.0, 2.0], f"{n}.example")
    assert len(watch._hosts) * 1001 <= MOMENTS
    assert all(len(seen.starts) <= 1001 for seen in watch._hosts.values())
