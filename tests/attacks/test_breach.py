"""A sandbox that broke a limit, for real: frozen until a person answers, or ended with its evidence."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine
from tests.attacks.inside import PYTHON, RUN, Attacker, World
from tests.backends import NATIVE
from tests.e2e.remains import Remains, adopted_orphans, descendants, text

PATIENCE_S = 15.0
LOOK_S = 0.3
TICKS = os.sysconf("SC_CLK_TCK")
Event = dict[str, Any]
# Answers every call, in four processes that never rest; the last words of stderr hold a secret's look-alike.
SERVER = """
import json, os, sys
for _ in range(3):
    if os.fork() == 0:
        while True: pass
sys.stderr.write("last words, ghp_0123456789abcdefghijklmnopqrstuvwxyz\\n")
sys.stderr.flush()
for line in sys.stdin:
    call = json.loads(line)
    if call["params"]["name"] != "never":
        print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"got": os.getpid()}}), flush=True)
"""
# Has the kernel send it SIGCONT with the next byte on stdin.
WAKES = """
import fcntl, json, os, signal, sys
F_SETSIG = 10
call = json.loads(sys.stdin.buffer.raw.read(1 << 16))
fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
fcntl.fcntl(0, F_SETSIG, signal.SIGCONT)
fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
print(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {}}), flush=True)
while True: pass
"""
PROFILE = """schema = 1
extends = "base"
[quota]
idle = "{idle}"
[breach]
idle = "{action}"
answer = "{answer}"
"""


class Log:
    """The audit log of this world's newest session."""

    def __init__(self, world: World) -> None:
        self._logs = world.home / ".local/state/mcp-sandbox/audit"
        self._before = set(self._paths())

    def _paths(self) -> list[Path]:
        return [*self._logs.glob("*.jsonl")]

    @property
    def session(self) -> str:
        (path,) = set(self._paths()) - self._before
        return path.stem

    def events(self, *kinds: str) -> list[Event]:
        """What is written by now, of these kinds."""
        whole = (self._logs / f"{self.session}.jsonl").read_text().rpartition("\n")[0].splitlines()
        return [event for event in map(json.loads, whole) if event["kind"] in kinds]

    def awaited(self, kind: str) -> Event:
        """The first event of a kind, once there is one."""
        until = time.monotonic() + PATIENCE_S
        while not (found := self.events(kind)):
            assert time.monotonic() < until, f"no `{kind}`"
            time.sleep(0.01)
        return found[0]


@pytest.fixture
def log(world: World) -> Log:
    return Log(world)


@pytest.fixture
def remains(world: World) -> Iterator[Remains]:
    """Counts what the test's sandbox leaves; orphans of theirs become ours, so that none hides."""
    with adopted_orphans(), ExitStack() as stack:
        api = None if world.backend == NATIVE else stack.enter_context(closing(engine.connect(os.environ)))
        yield Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)


def serving(
    world: World, program: str = SERVER, *, idle: str = "400ms", action: str = "freeze", answer: str = "30s"
) -> Attacker:
    """The server, asked once; it then rests as far as the client can see."""
    profile = world.file("b.toml", world.base, PROFILE.format(idle=idle, action=action, answer=answer))
    made = Attacker(world.command("--profile", str(profile), server=(PYTHON, "-c", program)), world.environ)
    made.ask("first")
    assert "result" in made.message()
    return made


def ticks(world: World, attacker: Attacker) -> int:
    """Processor time of everything in the sandbox, in ticks of the kernel's clock."""
    inside = descendants(world.init(attacker))
    if world.backend != NATIVE:
        inside.append(world.init(attacker))
    lines = [text(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in inside]
    return sum(int(one[11]) + int(one[12]) for one in lines if one)


def works(world: World, attacker: Attacker, seconds: float) -> bool:
    """Whether anything in the sandbox gets processor time within that long."""
    before, until = ticks(world, attacker), time.monotonic() + seconds
    while time.monotonic() < until:
        if ticks(world, attacker) > before:
            return True
        time.sleep(0.02)
    return False


def answered(world: World, log: Log) -> subprocess.CompletedProcess[str]:
    """`mcp-sandbox resume`, as the same caller."""
    argv = [*world.prefix(), sys.executable, "-c", RUN, "resume", log.session]
    return subprocess.run(argv, env=world.environ, cwd="/", capture_output=True, text=True, timeout=20)


@pytest.mark.backends(docker="user")
@pytest.mark.threat("T2", proves="a frozen sandbox gets no processor time until a person lets it go on")
def test_frozen_until_a_person_answers(world: World, log: Log) -> None:
    with serving(world) as server:
        assert works(world, server, PATIENCE_S), "the control: it would go on"
        frozen = log.awaited("quota.freeze")
        assert frozen["rule"] == "quota.idle"
        assert not works(world, server, LOOK_S)
        server.ask("waits")
        with pytest.raises(TimeoutError):
            server.message(LOOK_S)
        done = answered(world, log)
        assert done.returncode == 0, done.stderr
        assert "result" in server.message(), "the call was kept, and is answered now"
        assert works(world, server, PATIENCE_S)
        assert log.awaited("quota.resume")["rule"] == "quota.idle"
        assert len(log.events("quota.resume")) == 1
        server.process.send_signal(signal.SIGTERM)
        status, said = server.finish()
    assert status == 128 + signal.SIGTERM, said
    assert f"mcp-sandbox resume {log.session}" in said
    assert log.events("quota.breach", "breach.report") == []


@pytest.mark.backends(docker="user")
@pytest.mark.threat("T2", proves="nobody answers: ended, 124, the call told, the evidence kept, nothing left")
def test_ended_without_an_answer(world: World, log: Log, remains: Remains) -> None:
    with serving(world, answer="800ms") as server:
        log.awaited("quota.freeze")
        server.ask("never")
        told = server.message()
        on_disk = [event["kind"] for event in log.events("quota.breach", "kill", "breach.report")]
        status, said = server.finish()
        assert remains.within(2.0) == {}
    assert (status, told["id"]) == (124, 2), said
    assert "nobody answered" in told["error"]["message"]
    assert told["error"]["data"]["session"] == log.session
    assert on_disk == ["quota.breach", "kill", "breach.report"], "before the client heard of it"


@pytest.mark.threat("T2", proves="the client hears which rule, what was measured, the line and the option")
def test_what_calls_are_told(world: World, log: Log) -> None:
    profile = world.file("w.toml", world.base, 'schema = 1\nextends = "base"\n[quota]\nwall = "900ms"\n')
    argv = world.command("--profile", str(profile), server=(PYTHON, "-c", SERVER))
    with Attacker(argv, world.environ) as server:
        server.ask("never")
        server.ask("never")
        told = [server.message() for _ in range(2)]
        assert server.process.wait(PATIENCE_S) == 124
    assert [one["id"] for one in told] == [1, 2]
    measured = told[0]["error"]["data"].pop("measured")
    assert told[0]["error"]["data"] == {
        "rule": "quota.wall", "limit": 0.9, "profile": "w.toml:4", "flag": "--wall 1.8s",
        "session": log.session,
    }  # fmt: skip
    assert 0.9 <= measured < 2.9
    assert told[0]["error"]["message"].startswith("ended by mcp-sandbox: quota `wall`, the session has run")
    assert told[0]["error"]["message"].endswith("the limit is 0.9s [w.toml:4]")


@pytest.mark.threat("T2", proves="a process that has itself woken while frozen ends the sandbox")
def test_what_wakes_itself_is_ended(world: World, log: Log) -> None:
    with Attacker([*world.prefix(), PYTHON, "-c", WAKES], world.environ) as outside:
        outside.ask("first")
        assert outside.message()["result"] == {}
        outside.process.send_signal(signal.SIGSTOP)
        stands = state(outside.process.pid, "T")
        outside.ask("wake up")
        assert (stands, state(outside.process.pid, "R")) == (True, True), "the control: it wakes itself"
        outside.process.kill()
    with serving(world, WAKES) as inside:
        log.awaited("quota.freeze")
        assert all(state(pid, "T") for pid in descendants(world.init(inside)))
        told = woken(inside)
        assert inside.process.wait(PATIENCE_S) == 124
    # It may be woken before we have seen it stand: then it is stopped once more, or ended where it goes on.
    assert re.search(r"frozen, and a process (woke|did not stop)", told["error"]["message"])


def woken(server: Attacker) -> dict[str, Any]:
    """What the client is told once one of its bytes has woken the server for good."""
    until = time.monotonic() + PATIENCE_S
    while True:
        server.ask("wake up")
        try:
            return server.message(LOOK_S)
        except TimeoutError:
            assert time.monotonic() < until, "it may wake as often as it likes"


def state(pid: int, wanted: str) -> bool:
    """Whether the process is in that state before long (proc(5), stat)."""
    until = time.monotonic() + PATIENCE_S
    while text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] != wanted:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def end_of_input(server: Attacker) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.stdin = None


ENDS = [
    pytest.param(end_of_input, 0, id="end of file"),
    pytest.param(lambda one: one.process.terminate(), 128 + signal.SIGTERM, id="SIGTERM"),
]


@pytest.mark.threat("T2", proves="a frozen sandbox ends with its client within two seconds, nothing left")
@pytest.mark.parametrize(("act", "status"), ENDS)
def test_a_frozen_sandbox_ends_with_its_client(
    act: Callable[[Attacker], None], status: int, world: World, log: Log, remains: Remains
) -> None:
    with serving(world) as server:
        log.awaited("quota.freeze")
        began = time.monotonic()
        act(server)
        assert server.process.wait(2.0) == status
        assert remains.within(began + 2.0 - time.monotonic()) == {}


@pytest.mark.backends(docker="user")
@pytest.mark.threat("T2", proves="a frozen sandbox does not outlive a killed wrapper by two seconds")
def test_a_frozen_sandbox_dies_with_a_killed_wrapper(world: World, log: Log, remains: Remains) -> None:
    with serving(world) as server:
        log.awaited("quota.freeze")
        server.process.kill()
        assert remains.within(2.0) == {}


@pytest.mark.threat("T2", proves="a warning is said once, in the log and to a person, and ends nothing")
def test_warned_and_nothing_more(world: World, log: Log) -> None:
    with serving(world, idle="200ms", action="warn") as server:
        log.awaited("quota.warn")
        server.ask("goes on")
        assert "result" in server.message()
        assert len(log.events("quota.warn")) == 1
        server.process.send_signal(signal.SIGTERM)
        status, said = server.finish()
    assert status == 128 + signal.SIGTERM
    assert "warning: quota-exceeded\n  quota `idle`, no message for" in said


@pytest.mark.threat("S7", proves="a breach leaves its processes, calls, samples and last words, no secret")
def test_what_a_report_holds(world: World, log: Log) -> None:
    with serving(world, answer="300ms") as server:
        log.awaited("quota.freeze")
        server.ask("never")
        assert "error" in server.message()
        assert server.finish()[0] == 124
    (report,) = log.events("breach.report")
    detail = report["detail"]
    assert report["rule"] == "quota.idle"
    assert len([one for one in detail["processes"] if one["state"] == "T"]) == 4, "stopped, before the end"
    assert detail["calls"][0]["tool"] == "never"
    assert detail["samples"][-1]["pids"] >= 4
    assert detail["stderr"] == "last words, [redacted]\n"
    argv = [*world.prefix(), sys.executable, "-c", RUN, "audit", "show", log.session]
    shown = subprocess.run(
        argv, env=world.environ, cwd="/", capture_output=True, text=True, timeout=20
    ).stdout
    for words in ("processes right before the end", "open calls", "last samples", "| last words, [redacted]"):
        assert words in shown
