"""`stop`: the right one ends, whole; a process that is another by now is left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox import leases, stopping
from sandbox.cli import main
from sandbox.leases import Lease
from tests.attacks.inside import World
from tests.cli.running import sandboxes, sessions, tried
from tests.e2e.remains import Remains, adopted_orphans

CLINGS = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)
ENDS = "print(1, flush=True); import time; time.sleep(60)"


@contextmanager
def process(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        made.stdout.readline()
        yield made
        made.kill()


@pytest.fixture
def alone(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory of the test's own, no engine, and little patience."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{own_home}/nowhere")
    monkeypatch.setattr(stopping, "ASKED_S", 0.2)
    monkeypatch.setattr(stopping, "CLEAN_S", 0.1)


def leased(session: str, pid: int, *, earlier: int = 0) -> Lease:
    lease = Lease(session, "files", pid, leases.start_time(pid) - earlier)
    leases.take(lease, os.environ)
    return lease


@pytest.mark.parametrize(("code", "how"), [(ENDS, "stopped"), (CLINGS, "killed")])
def test_asked_first_and_then_made_to(
    code: str, how: str, alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with process(code) as one:
        leased("s-1", one.pid)
        assert main.main(["stop", "files", "--json"]) == 0
        (said,) = json.loads(capsys.readouterr().out)["sessions"]
        assert said == {"session": "s-1", "server": "files", "pid": one.pid, "how": how, "clean": True}
        assert one.wait(5) == -(signal.SIGTERM if how == "stopped" else signal.SIGKILL)
    assert leases.every(os.environ) == []


def test_a_pid_that_is_anothers_by_now_is_not_ended(alone: None, capsys: pytest.CaptureFixture[str]) -> None:
    with process(ENDS) as one:
        leased("s-1", one.pid, earlier=1)
        assert main.main(["stop", "--all"]) == 0
        assert "had ended already" in capsys.readouterr().out
        assert one.poll() is None
        # The control: with the right time the same process is the one.
        leased("s-2", one.pid)
        assert main.main(["stop", "--all"]) == 0
        assert one.wait(5) == -signal.SIGTERM


def test_one_that_may_not_be_ended_stays_and_is_said(
    alone: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refused)
    with process(ENDS) as one:
        leased("s-1", one.pid)
        assert main.main(["stop", "s-1"]) == 1
        assert "could not end files" in capsys.readouterr().out


def test_what_could_not_be_removed_is_said(
    alone: None, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    busy = own_home / "busy"
    (busy / "child").mkdir(parents=True)
    with process(ENDS) as one:
        lease = Lease("s-1", "files", one.pid, leases.start_time(one.pid), (str(busy),))
        leases.take(lease, os.environ)
        assert main.main(["stop", "s-1"]) == 1
    said = capsys.readouterr()
    assert "stopped files" in said.out
    assert "mcp-sandbox ps --prune" in said.err


@pytest.mark.parametrize("words", [[], ["files", "--all"]])
def test_it_must_be_said_what_to_stop(words: list[str], alone: None) -> None:
    assert main.main(["stop", *words]) == 2


def test_nothing_of_that_name(alone: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["stop", "other"]) == 2
    assert "no-such-session" in capsys.readouterr().err
    assert main.main(["stop", "--all"]) == 0


# --- real sandboxes -----------------------------------------------------------------------------------


@pytest.mark.backends(docker="user")
def test_a_name_that_two_have_ends_neither_and_all_means_all(world: World) -> None:
    with adopted_orphans(), sandboxes(world, "twin", "twin", "clings") as (one, other, clings):
        remains = [
            Remains(f"-{name}-", world.home / ".local" / "state", world.scratch)
            for name in ("twin", "clings")
        ]
        assert all("control sockets" in each.now() for each in remains), "the control: it is seen"
        clings.call("processes.ignore_everything", child=False)
        refused = tried(world, "stop", "twin")
        assert refused.returncode == 2
        found = [each for each in sessions(world) if each["server"] == "twin"]
        assert all(each["session"] in refused.stderr for each in found)
        assert one.process.poll() is None is other.process.poll()
        first = tried(world, "stop", str(found[0]["pid"]))
        assert (first.returncode, first.stdout.split()[:2]) == (0, ["stopped", "twin"])
        assert sorted(each["server"] for each in sessions(world)) == ["clings", "twin"]
        rest = tried(world, "stop", "--all")
        assert (rest.returncode, len(rest.stdout.splitlines())) == (0, 2)
        assert {each.process.wait(5) for each in (one, other, clings)} == {128 + signal.SIGTERM}
        assert [left for each in remains if (left := each.within(2.0))] == []
