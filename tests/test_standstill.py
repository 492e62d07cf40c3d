"""What stands still and what does not: judged from states and ticks, and seen on real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from sandbox import standstill
from sandbox.standstill import STOPS_S, Seen, Standstill
from sandbox.watchdog.processes import children

STANDS = Seen("T", 5)
LOOKS = [
    pytest.param([{1: STANDS}, {1: STANDS}, {1: STANDS}], "", id="stands"),
    pytest.param([{1: Seen("R", 5)}, {1: Seen("S", 9)}, {1: Seen("T", 9)}], "", id="stops in its own time"),
    pytest.param([{1: STANDS}, {1: Seen("R", 5)}], "woke", id="runs again"),
    pytest.param([{1: STANDS}, {1: Seen("S", 5)}], "woke", id="slept when it was looked at"),
    pytest.param([{1: STANDS}, {1: Seen("T", 6)}, {1: Seen("T", 6)}], "", id="is charged for its last step"),
    pytest.param([{1: STANDS}, {1: Seen("T", 7)}], "woke", id="ran between two looks and stopped itself"),
    pytest.param([{1: STANDS}, {1: Seen("D", 5)}], "", id="waits for a disk"),
    pytest.param([{1: STANDS}, {1: STANDS, 2: STANDS}], "began", id="one more"),
    pytest.param([{1: STANDS, 2: STANDS}, {1: STANDS}], "", id="one less"),
    pytest.param([{}, {1: STANDS}], "began", id="one where none was"),
    pytest.param([{1: Seen("R", 2 * n)} for n in range(30)], "did not stop", id="never stops"),
    pytest.param([{1: Seen("S", 1)} for n in range(30)], "did not stop", id="sleeps on"),
    pytest.param([{1: Seen("R", 0)}, {1: Seen("D", 51)}], "did not stop", id="works on"),
    pytest.param([{1: Seen("D", 1)} for n in range(30)], "", id="waits for a disk for long"),
]


@pytest.mark.parametrize(("looks", "expected"), LOOKS)
def test_judged(looks: list[dict[int, Seen]], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter(looks)
    monkeypatch.setattr(standstill, "_threads", lambda root: next(left).items())
    watch, now, why = Standstill(1, 0.0), 0.0, ""
    for _ in looks:
        assert why == "", "only the last look finds it, or the long wait"
        why, until = watch.look(now)
        assert until > now
        now = max(until, now + STOPS_S / 20)
        if expected == "did not stop" and why:
            break
    assert expected in why
    assert bool(expected) == bool(why)


@pytest.mark.parametrize(
    ("looks", "times"),
    [
        pytest.param([{1: STANDS}] * 3, 0, id="everyone stands"),
        pytest.param([{1: STANDS, 2: Seen("S", 1)}, {1: STANDS, 2: STANDS}, {2: STANDS}], 1, id="late"),
        pytest.param([{1: Seen("D", 1)}] * 80, 50, id="not for ever"),
    ],
)
def test_everyone_is_stopped_again_until_all_were_seen_to_stand(
    looks: list[dict[int, Seen]], times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, stops = iter(looks), list[float]()
    monkeypatch.setattr(standstill, "_threads", lambda root: next(left).items())
    now = 0.0
    watch = Standstill(1, now, lambda: stops.append(now))
    for _ in looks:
        assert watch.look(now)[0] == ""
        now += 0.101
    assert len(stops) == times


TREE = """
import os, sys, threading, time
if os.fork() == 0:
    threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
    print("ready", flush=True)
while True: time.sleep(0.001)
"""


@pytest.fixture
def tree() -> Iterator[tuple[int, list[int]]]:
    """A process that stands for process 1, and two below it, one with a thread that never rests."""
    run = "import subprocess, sys; subprocess.run([sys.executable, '-W', 'ignore', '-c', sys.argv[1]])"
    with subprocess.Popen([sys.executable, "-c", run, TREE], stdout=subprocess.PIPE) as root:
        assert root.stdout is not None
        assert root.stdout.readline() == b"ready\n"
        pids: list[int] = []
        below = [root.pid]
        while below:
            found = children(below.pop(), 1)
            pids += found
            below += found
        assert len(pids) == 2
        yield root.pid, pids
        for pid in pids:
            signal_to(pid, signal.SIGKILL)


def signal_to(pid: int, number: signal.Signals) -> None:
    subprocess.run(["kill", f"-{number.value}", str(pid)], check=False)


def settled(watch: Standstill, seconds: float) -> str:
    """What the looks of so many seconds find."""
    until, why = time.monotonic() + seconds, ""
    while time.monotonic() < until and not why:
        why, due = watch.look(time.monotonic())
        time.sleep(min(0.02, max(0.0, due - time.monotonic())))
    return why


def test_one_that_was_woken_before_the_first_look_is_caught(tree: tuple[int, list[int]]) -> None:
    """What wakes it once makes it stand the next time; what wakes it again is seen."""
    root, pids = tree

    def stop() -> None:
        for pid in pids:
            signal_to(pid, signal.SIGSTOP)

    stop()
    signal_to(pids[1], signal.SIGCONT)
    watch = Standstill(root, time.monotonic(), stop)
    assert settled(watch, 1.0) == ""
    assert {seen.state for _, seen in standstill._threads(root)} == {"T"}


def test_seen_on_real_processes(tree: tuple[int, list[int]]) -> None:
    root, pids = tree
    for pid in pids:
        signal_to(pid, signal.SIGSTOP)
    watch = Standstill(root, time.monotonic())
    assert settled(watch, 0.5) == ""
    signal_to(pids[1], signal.SIGCONT)
    assert settled(watch, 10.0) == "a process woke while everything was stopped"
