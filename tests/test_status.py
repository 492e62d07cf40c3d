"""What a session says of itself: its counts, its use, and the name that its client gave."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sandbox import leases, status
from sandbox.event import Event
from sandbox.plan.spec import Limits
from sandbox.policy.sample import Sample
from sandbox.relay.facts import Counts
from sandbox.relay.ledger import Ledger, Pending
from sandbox.status import OPEN_MAX, Status, Tally, use
from sandbox.wire.jsonrpc import Frame, FrameReader

META = "io.modelcontextprotocol/"


def event(kind: str, **detail: Any) -> Event:
    return Event(kind, detail)


@pytest.mark.parametrize(
    ("events", "what", "count"),
    [
        pytest.param([event("egress.deny")], "network", 1, id="a connection"),
        pytest.param([event("dns.deny", repeated=4, further=2)], "network", 6, id="names that were gathered"),
        pytest.param(
            [event("dns.deny", repeated=0, further=0)], "network", 1, id="one that nothing followed"
        ),
        pytest.param([event("tool.deny"), event("tool.deny")], "tools", 2, id="two tools"),
        pytest.param([event("relay.dropped", bytes=7)], "messages", 1, id="a message"),
        pytest.param([event("syscall.deny")], "syscalls", 1, id="a system call"),
        pytest.param([event("egress.allow"), event("session.end")], "network", 0, id="nothing"),
    ],
)
def test_denials_are_counted_by_what_was_denied(events: list[Event], what: str, count: int) -> None:
    tally = Tally()
    for one in events:
        tally.count(one)
    assert tally.now()["denied"][what] == sum(tally.now()["denied"].values()) == count


def test_calls_and_answers_are_the_clients() -> None:
    tally = Tally()
    for direction in ("to-server", "to-client"):
        tally.count(event("relay.request", direction=direction, method="tools/call"))
        tally.count(event("relay.response", direction=direction, error=direction == "to-client"))
    tally.count(event("relay.request", direction="to-server", method="ping"))
    assert tally.now()["messages"] == {"requests": 2, "calls": 1, "answers": 1, "errors": 1}


def test_no_count_is_lost_between_threads() -> None:
    tally = Tally()

    def work() -> None:
        for _ in range(2000):
            tally.count(event("tool.deny"))

    many = [threading.Thread(target=work) for _ in range(2)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    assert tally.denied["tools"] == 4000


# --- use ----------------------------------------------------------------------------------------------


def sample(moment: float, cpu: float | None, memory: int = 1) -> Sample:
    return Sample(moment=moment, wall=moment, idle=0.0, memory=memory, cpu=cpu)


def test_the_newest_sample_and_its_age() -> None:
    found = use([sample(1, 0.0), sample(5, 2.0, memory=7)], 6.5)
    assert (found["memory"], found["age"], found["share"]) == (7, 1.5, 0.5)


@pytest.mark.parametrize(
    ("samples", "share"),
    [
        pytest.param([sample(1, 1.0)], None, id="one sample says nothing of a share"),
        pytest.param([sample(1, None), sample(2, None)], None, id="where no processor time is known"),
        pytest.param(
            [sample(0, 0.0), sample(9, 0.0), sample(9.1, 0.1), sample(10, 0.9)], 0.9, id="of a second"
        ),
        pytest.param([sample(9.9, 0.0), sample(10, 0.05)], 0.5, id="of less, at the beginning"),
        pytest.param([sample(0, 3.0), sample(2, 1.0)], 0.0, id="never below nothing"),
    ],
)
def test_the_share_of_a_processor(samples: list[Sample], share: float | None) -> None:
    assert use(samples, 10)["share"] == share


def test_without_a_sample_there_is_nothing_to_say() -> None:
    assert use([], 1.0) == {}


# --- the whole answer ---------------------------------------------------------------------------------


def watch(**more: Any) -> Any:
    calls = [Pending(n, "tools/call", "x" * 500, 0.0) for n in range(100)]
    relay = SimpleNamespace(
        client=("claude-code", "2.1"), era="modern", counts=Counts(), pending_calls=lambda: tuple(calls)
    )
    breaches = SimpleNamespace(warned="", frozen=False)
    parts = {"relay": relay, "breaches": breaches, "breach": "", "signalled": 0, "stopped": False}
    return SimpleNamespace(**{**parts, **more})


def said(**more: Any) -> dict[str, Any]:
    return Status(Limits(memory=1 << 20), watch(**more), Tally()).now()


def test_the_answer_is_small_whatever_the_client_did() -> None:
    asking = SimpleNamespace(questions=lambda: [{}, {}])
    found = said(breaches=SimpleNamespace(warned="w" * 9999, frozen=True), asking=asking)
    assert found["waiting"] == 2
    assert found["open"]["all"] == 100
    assert len(found["open"]["oldest"]) == OPEN_MAX
    assert len(json.dumps(found)) < 8192
    assert found["client"] == {"name": "claude-code", "version": "2.1"}
    assert found["limits"]["memory"] == 1 << 20


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, "running"),
        ({"breaches": SimpleNamespace(warned="", frozen=True)}, "frozen"),
        ({"breach": "memory"}, "ending"),
        ({"signalled": 15}, "ending"),
        ({"stopped": True}, "ending"),
    ],
)
def test_the_state(more: dict[str, Any], state: str) -> None:
    assert said(**more)["state"] == state


def test_system_calls_are_counted_where_they_are_answered() -> None:
    found = said(syscalls=SimpleNamespace(denied=41))["denied"]
    assert (found["syscalls"], found["all"]) == (41, 41)


# --- the client's name --------------------------------------------------------------------------------


def frame(method: str, params: dict[str, Any]) -> Frame:
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
    (found,) = FrameReader().feed(line)
    assert isinstance(found, Frame)
    return found


def introduced(method: str, params: dict[str, Any]) -> tuple[str, str]:
    ledger = Ledger()
    ledger.from_client(frame(method, params), 0.0)
    return ledger.client


@pytest.mark.parametrize(
    ("info", "known"),
    [
        pytest.param({"name": "claude-code", "version": "2.1"}, ("claude-code", "2.1"), id="both"),
        pytest.param({"name": "claude-code"}, ("claude-code", ""), id="no version"),
        pytest.param({"name": 7, "version": ["x"]}, ("", ""), id="not words"),
        pytest.param({"name": "x" * 9999}, ("x" * 64, ""), id="too long"),
        pytest.param("claude-code", ("", ""), id="not an object"),
        pytest.param(None, ("", ""), id="nothing"),
    ],
)
def test_how_a_client_introduces_itself_in_either_era(info: object, known: tuple[str, str]) -> None:
    assert introduced("initialize", {"clientInfo": info}) == known
    modern = {f"{META}protocolVersion": "2026-07-28", f"{META}clientInfo": info}
    assert introduced("tools/call", {"name": "x", "_meta": modern}) == known


# --- all of them --------------------------------------------------------------------------------------


def ended() -> tuple[int, int]:
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as process:
        started = leases.start_time(process.pid)
    return process.pid, started


def test_one_that_has_just_ended_is_not_left_behind(own_home: Path) -> None:
    path = leases.take(leases.Lease("s-1", "x", *ended()), os.environ)
    threading.Timer(status.SETTLE_S / 4, os.unlink, (path,)).start()
    assert status.every(os.environ) == []


def test_one_that_stays_is(own_home: Path) -> None:
    leases.take(leases.Lease("s-1", "x", *ended()), os.environ)
    assert [one["state"] for one in status.every(os.environ)] == ["left behind"]


def test_a_lease_that_goes_while_it_is_read_is_none(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: ["s-1~1~2"])
    assert leases.every(os.environ) == []
