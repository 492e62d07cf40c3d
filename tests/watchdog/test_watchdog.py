"""The watchdog: when it looks, what it keeps and says, and what it makes of a sandbox that is over."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Mapping

import pytest

from sandbox.event import Event
from sandbox.policy.model import Quota
from sandbox.records import replace
from sandbox.watchdog.meter import Usage
from sandbox.watchdog.tree import TreeMeter
from sandbox.watchdog.watchdog import KEPT, REPORT_S, Watchdog, Watched, described

MIB = 1 << 20
QUOTA = Quota(memory=100 * MIB, pids=40)


class Fake:
    """A meter that tells what it is told."""

    def __init__(self) -> None:
        self.usage = Usage(memory=MIB, ooms=0, pids=1, processes=(), refused=0, cpu=0.0)
        self.looked = 0
        self.closed = False
        self.calls = True

    def watched(self) -> Mapping[int, int]:
        return {7: select.POLLPRI}

    def called(self) -> bool:
        return self.calls

    def measure(self) -> Usage:
        self.looked += 1
        return self.usage

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def meter() -> Fake:
    return Fake()


@pytest.fixture
def events() -> list[Event]:
    return []


def dog(meter: Fake, events: list[Event], quota: Quota = QUOTA, **more: object) -> Watchdog:
    watched = replace(Watched(meter, quota, counted=True, root=0, places={}), **more)
    return Watchdog(watched, events.append, lambda: 0.0)


def test_it_looks_when_that_is_due_or_the_kernel_calls(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events)
    now = time.monotonic()
    _, until = watchdog.look(now, frozenset())
    assert until is not None
    assert watchdog.look(now + 0.01, frozenset()) == ([], until)
    assert watchdog.look(now + 0.01, frozenset({3})) == ([], until), "another's descriptor"
    assert meter.looked == 1
    watchdog.look(now + 0.02, frozenset({7}))
    assert meter.looked == 2
    meter.calls = False
    watchdog.look(now + 0.03, frozenset({7}))
    assert meter.looked == 2, "the kernel called for nothing"
    watchdog.look(now + 2.0, frozenset())
    assert meter.looked == 3


def test_what_is_exceeded_is_told_at_each_look(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events)
    now = time.monotonic()
    assert not watchdog.look(now, frozenset())[0]
    meter.usage = replace(meter.usage, refused=1)
    (found,), _ = watchdog.look(now + 0.1, frozenset({7}))
    assert (found.key, found.measured, found.limit) == ("quota.pids", 40, 40)
    assert not watchdog.look(now + 0.2, frozenset({7}))[0], "nothing was refused since"


def test_grace_holds_it_back(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events, replace(QUOTA, cpu_time=1.0), grace=5.0)
    meter.usage = replace(meter.usage, cpu=2.0)
    now = time.monotonic()
    assert not watchdog.look(now, frozenset())[0]
    assert not watchdog.look(now + 4.9, frozenset())[0]
    assert watchdog.look(now + 5.1, frozenset())[0]


def test_it_keeps_the_last_and_reports_seldom(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events)
    now = time.monotonic()
    for second in range(40):
        watchdog.look(now + 1.5 * second, frozenset())
    assert len(watchdog.samples) == KEPT
    assert watchdog.last is watchdog.samples[-1]
    assert [event.kind for event in events] == ["quota.sample"]
    watchdog.look(now + REPORT_S - 1, frozenset())
    assert len(events) == 1
    # A second more: in a sum of two floats that time may be a little less.
    watchdog.look(now + REPORT_S + 1, frozenset())
    assert len(events) == 2
    watchdog.look(now + REPORT_S + 3, frozenset())
    watchdog.finish()
    assert len(events) == 3
    assert meter.closed


def test_one_look_is_one_event(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events)
    watchdog.look(time.monotonic(), frozenset())
    watchdog.finish()
    assert len(events) == 1


def test_a_sandbox_that_is_over_is_no_sample(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events)
    now = time.monotonic()
    watchdog.look(now, frozenset())
    meter.usage = Usage()
    assert watchdog.look(now + 2, frozenset()) == ([], now + 3)
    assert len(watchdog.samples) == 1


def test_a_measure_that_failed_once_is_asked_again(meter: Fake, events: list[Event]) -> None:
    watchdog = dog(meter, events)
    now, before = time.monotonic(), meter.usage
    watchdog.look(now, frozenset())
    meter.usage = Usage()
    _, again = watchdog.look(now + 2, frozenset())
    meter.usage = before
    assert again is not None
    watchdog.look(again, frozenset())
    assert len(watchdog.samples) == 2


def test_a_sample_says_what_is_known_and_nothing_else(meter: Fake, events: list[Event]) -> None:
    place = os.open("/dev/shm", os.O_PATH | os.O_DIRECTORY)
    meter.usage = replace(meter.usage, processes=(os.getpid(),))
    watchdog = dog(meter, events, replace(QUOTA, written=MIB), root=os.getpid(), places={"/dev/shm": place})
    watchdog.look(time.monotonic(), frozenset())
    watchdog.finish()
    said = events[0].detail
    assert {"wall", "memory", "pids", "processes", "open_files", "opener", "disks", "written"} <= said.keys()
    assert not {"moment", "swap", "pressure", "sent"} & said.keys()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(place)


def test_watching_costs_less_than_half_a_percent_of_a_processor(events: list[Event]) -> None:
    """By its own pace, of a real tree whose memory sums hold; `scripts/watchdog-cost` has more."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        meter = TreeMeter(os.getpid(), 1 << 40)
        quota = Quota(memory=1 << 40, pids=1 << 20, open_files=1 << 20)
        watchdog = Watchdog(Watched(meter, quota, False, 0, {}), events.append, lambda: 0.0)
        now = first = time.monotonic()
        began = time.thread_time()
        for _ in range(50):
            _, until = watchdog.look(now, frozenset())
            assert until is not None
            now = until
        assert (time.thread_time() - began) / (now - first) < 0.005
        watchdog.finish()
        process.kill()


def test_network_bytes_are_the_gateways(meter: Fake, events: list[Event]) -> None:
    watched = Watched(meter, QUOTA, counted=True, root=0, places={})
    for carried, expected in ((None, (None, None)), (lambda: (7, 9), (7, 9))):
        watchdog = Watchdog(watched, events.append, lambda: 0.0, carried)
        watchdog.look(time.monotonic(), frozenset())
        assert watchdog.last is not None
        assert (watchdog.last.sent, watchdog.last.received) == expected


def test_processes_in_a_kernel_of_their_own_are_not_looked_into(meter: Fake, events: list[Event]) -> None:
    meter.usage = replace(meter.usage, processes=(os.getpid(),))
    watchdog = dog(meter, events, replace(QUOTA, written=MIB), within=False)
    watchdog.look(time.monotonic(), frozenset())
    assert watchdog.last is not None
    assert (watchdog.last.open_files, watchdog.last.written) == (None, None)
    assert "open_files" not in described(watchdog.last)
