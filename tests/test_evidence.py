"""What is looked at before the end of a sandbox: bounded, whatever the sandbox does meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox.event import Value
from sandbox.evidence import CALLS, PROCESSES, SAMPLES, Evidence, Sources, calls, processes, samples
from sandbox.policy.sample import Sample

# A tree of 100 processes, the last below ten others; the first thread is not the one that forks.
TREE = """
import ctypes, os, sys, threading, time
ctypes.CDLL(None).prctl(15, b"\\x1b[2J\\xffname", 0, 0, 0)
def grow():
    for _ in range(90):
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(0)
    for _ in range(9):
        if os.fork():
            os.read(0, 1)
            os._exit(0)
    print("ready", flush=True)
    os.read(0, 1)
    os._exit(0)
threading.Thread(target=grow).start()
os.read(0, 1)
"""


@pytest.fixture
def tree() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", TREE], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.communicate(b"x" * 200)


def test_the_tree_is_bounded_in_number_and_in_time(tree: int) -> None:
    began = time.monotonic()
    seen = processes(tree)
    took = time.monotonic() - began
    found = cast(list[dict[str, Any]], seen["processes"])
    assert found[0]["pid"] == tree
    assert found[0]["name"] == "\x1b[2J\\xffname", "as it is: who shows it escapes it"
    assert 1 < len(found) <= PROCESSES
    assert took < 0.5, "a loaded machine may stop us between two looks, not keep us at it"
    known = {one["pid"] for one in found}
    assert all(one["parent"] in known for one in found[1:])
    if len(found) == PROCESSES:
        assert cast(int, seen["more_processes"]) >= 91 - PROCESSES


def test_a_tree_that_is_gone_is_empty() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    assert processes(gone.pid) == {"processes": [], "more_processes": 0}
    assert processes(None) == {"processes": [], "more_processes": 0}


def test_numbers_of_one_process() -> None:
    (one,) = [one for one in cast(list[dict[str, Any]], processes(os.getpid())["processes"])
              if one["pid"] == os.getpid()]  # fmt: skip
    assert one["parent"] == os.getppid()
    assert one["memory"] > 1 << 20
    assert one["threads"] >= 1


def test_calls_and_samples_are_bounded() -> None:
    many = [SimpleNamespace(method="tools/call", tool=f"t{n}", since=100.0 - n) for n in range(CALLS + 5)]
    kept = calls(cast(Any, many), 101.5)
    assert len(cast(list[Value], kept["calls"])) == CALLS
    assert kept["more_calls"] == 5
    assert cast(list[Value], kept["calls"])[0] == {"method": "tools/call", "tool": "t0", "age": 1.5}
    taken = [Sample(float(n), 1.0, 0.0, memory=n) for n in range(SAMPLES + 7)]
    last = cast(list[Mapping[str, Value]], samples(taken, 50.0)["samples"])
    assert len(last) == SAMPLES
    assert (last[-1]["memory"], last[-1]["before"]) == (36, 14.0)


def test_it_comes_together_in_the_order_in_which_it_can_be_had() -> None:
    stderr = "before"
    sources = Sources(
        calls=lambda: [], samples=lambda: [], egress=lambda: [(time.monotonic(), {"kind": "egress.deny"})],
        stderr=lambda: stderr,
    )  # fmt: skip
    evidence = Evidence(cast(Any, SimpleNamespace(init_pid=os.getpid(), over=False)), sources)
    evidence.look()
    evidence.keep()
    stderr = "last words"
    report = evidence.report()
    assert report["stderr"] == "last words"
    assert cast(list[Any], report["egress"])[0]["kind"] == "egress.deny"
    assert {"processes", "more_processes", "calls", "more_calls", "samples"} <= report.keys()


def told_nothing(running: object) -> Evidence:
    return Evidence(cast(Any, running), Sources(lambda: [], lambda: [], lambda: [], lambda: ""))


def test_what_was_seen_before_stands_where_nothing_is_left_to_look_at() -> None:
    running = SimpleNamespace(init_pid=os.getpid(), over=False)
    evidence = told_nothing(running)
    evidence.glance(time.monotonic(), near=True)
    running.over = True  # the pid may be another's by now
    running.init_pid = 1
    evidence.look()
    evidence.keep()
    report = evidence.report()
    assert cast(list[Any], report["processes"])[0]["pid"] == os.getpid()
    assert cast(float, report["before"]) >= 0


def test_glances_are_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = told_nothing(SimpleNamespace(init_pid=os.getpid(), over=False))
    looks: list[float] = []
    monkeypatch.setattr(evidence, "look", lambda: looks.append(1))
    start = time.monotonic() + 1
    for tenth in range(600):
        evidence.glance(start + tenth / 10, near=False)
    seldom = len(looks)
    for tenth in range(600, 1200):
        evidence.glance(start + tenth / 10, near=True)
    assert 5 <= seldom <= 7
    assert 50 <= len(looks) - seldom <= 62
