"""The end of a session, however it comes: within two seconds nothing is left, and the status is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from sandbox import engine
from tests.attacks.inside import Attacker, World, furnished
from tests.backends import NATIVE
from tests.conftest import ROOT, Ready
from tests.e2e.remains import Remains, adopted_orphans, descendants, named, text

pytestmark = pytest.mark.backends(docker="user")
SECONDS = 2.0
MIB = 1 << 20


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller and its home, made once, on a host that can build the sandbox."""
    with furnished(caller, backend, ready(backend)) as made:
        yield made


@pytest.fixture
def remains(world: World) -> Iterator[Remains]:
    """Counts what the test's sandboxes leave; orphans of theirs become ours, so that none hides."""
    with adopted_orphans(), ExitStack() as stack:
        api = None if world.backend == NATIVE else stack.enter_context(closing(engine.connect(os.environ)))
        yield Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)


@pytest.fixture
def server(world: World, remains: Remains) -> Iterator[Attacker]:
    """A running server in a process group of its own."""
    with world.inside(start_new_session=True) as made:
        made.call("processes.parent")
        yield made
        made.process.kill()


Act = Callable[[Attacker, World], None]


def close_stdin(server: Attacker, _world: World) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.stdin = None


def signalled(number: int) -> Act:
    return lambda server, _world: os.kill(server.process.pid, number)


def kill_group(server: Attacker, _world: World) -> None:
    os.killpg(server.process.pid, signal.SIGKILL)


def kill_keeper(server: Attacker, _world: World) -> None:
    os.kill(named("mcp-keeper", server.process.pid), signal.SIGKILL)


def kill_init(server: Attacker, world: World) -> None:
    os.kill(world.init(server), signal.SIGKILL)


def kill_server(server: Attacker, world: World) -> None:
    os.kill(descendants(world.init(server))[0], signal.SIGKILL)


ENDS = [
    pytest.param(close_stdin, 0, id="end of file"),
    pytest.param(signalled(signal.SIGTERM), 128 + signal.SIGTERM, id="SIGTERM"),
    pytest.param(signalled(signal.SIGINT), 128 + signal.SIGINT, id="SIGINT"),
    pytest.param(signalled(signal.SIGHUP), 128 + signal.SIGHUP, id="SIGHUP"),
    pytest.param(signalled(signal.SIGKILL), -signal.SIGKILL, id="SIGKILL of the wrapper"),
    pytest.param(kill_group, -signal.SIGKILL, id="SIGKILL of the wrapper's group"),
    pytest.param(kill_keeper, 128 + signal.SIGKILL, id="SIGKILL of the keeper"),
    pytest.param(kill_init, 128 + signal.SIGKILL, id="SIGKILL of process 1"),
    pytest.param(kill_server, 128 + signal.SIGKILL, id="SIGKILL of the server"),
]


def ended(server: Attacker, world: World, remains: Remains, act: Act) -> tuple[int, str]:
    """Acts, and holds that nothing is left two seconds later; the status and what was said."""
    kinds = {"processes", "leases", "namespaces" if world.backend == NATIVE else "containers"}
    assert kinds <= remains.now().keys(), "the control: it is seen while it lives"
    started = time.monotonic()
    act(server, world)
    status = server.process.wait(SECONDS)
    assert remains.within(started + SECONDS - time.monotonic()) == {}
    return status, server.finish()[1]


@pytest.mark.threat("T2", proves="no process, mount, cgroup, lease or file is left, however a session ends")
@pytest.mark.parametrize(("act", "status"), ENDS)
def test_an_end_leaves_nothing(
    act: Act, status: int, server: Attacker, world: World, remains: Remains
) -> None:
    assert ended(server, world, remains, act)[0] == status


@pytest.mark.threat(
    "T2", proves="daemons that left every session and ignore every signal end with the sandbox"
)
@pytest.mark.parametrize(("act", "status"), ENDS)
def test_the_end_of_a_server_that_clings(
    act: Act, status: int, server: Attacker, world: World, remains: Remains
) -> None:
    """Two daemons, and a server that reads nothing any more and ignores every signal."""
    for _ in range(2):
        assert "got" in server.call("processes.daemonise", child=False, mark=remains.mark)
    server.call("processes.ignore_everything", child=False)
    server.ask("processes.deaf")
    assert ended(server, world, remains, act)[0] == status


@pytest.mark.parametrize(
    ("attack", "asked", "status"),
    [
        pytest.param("leave", {"status": 0}, 0, id="status 0"),
        pytest.param("leave", {"status": 7}, 7, id="status 7"),
        pytest.param("die", {"number": int(signal.SIGSEGV)}, 128 + signal.SIGSEGV, id="SIGSEGV"),
        pytest.param("die", {"number": int(signal.SIGTERM)}, 128 + signal.SIGTERM, id="SIGTERM of its own"),
    ],
)
def test_a_server_that_ends_by_itself(
    attack: str, asked: dict[str, int], status: int, server: Attacker, remains: Remains
) -> None:
    """Its status is ours, and every open call is answered with an error, exactly once."""
    server.ask("processes.signal_one", child=False, pid=1, number=0)
    server.message()
    open_calls = [server.ask(f"processes.{attack}", **asked), server.ask("processes.seen"), server.ask("x.y")]
    answers = [server.message() for _ in open_calls]
    assert sorted(answer["id"] for answer in answers) == open_calls
    # One that reached a pipe nobody reads any more is told so at once.
    reasons = ("the server ended", "the server has closed its input")
    assert all(any(words in answer["error"]["message"] for words in reasons) for answer in answers)
    assert server.message() == {}
    assert server.finish()[0] == status
    assert remains.within(SECONDS) == {}


@pytest.mark.backends  # at an engine: tests/backend/docker/test_lifecycle.py
def test_both_guards_killed(server: Attacker, world: World, remains: Remains) -> None:
    """Wrapper and keeper at once: everything that runs is gone, and the next start removes the rest."""
    keeper = named("mcp-keeper", server.process.pid)
    os.kill(keeper, signal.SIGSTOP)
    server.process.kill()
    os.kill(keeper, signal.SIGKILL)
    server.process.wait()
    deadline = time.monotonic() + SECONDS
    named_ones = {"leases", "cgroups", "control sockets"}
    while (left := remains.now()).keys() - named_ones and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left.keys() <= named_ones
    assert len(left["leases"]) == 1, "the control: something is left for the next start"
    with world.inside() as following:
        following.call("processes.parent")
    assert remains.within(SECONDS) == {}


def test_a_client_that_closed_its_stdout(server: Attacker, remains: Remains) -> None:
    assert server.process.stdout is not None
    server.process.stdout.close()
    server.process.stdout = None
    started = time.monotonic()
    server.ask("limits.flood", size=8 * MIB, line=100_000)
    assert server.process.wait(SECONDS + 1) in (0, 128 + signal.SIGPIPE)
    assert remains.within(started + SECONDS + 1 - time.monotonic()) == {}


def peak(pid: int) -> int:
    """The most memory a process ever had, in bytes."""
    line = next(line for line in text(f"/proc/{pid}/status").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


@pytest.mark.threat("S3", proves="a client that reads nothing costs no memory, and its end is an end")
def test_a_client_that_reads_nothing(server: Attacker, world: World, remains: Remains) -> None:
    before = peak(server.process.pid)
    server.ask("limits.flood", size=256 * MIB, line=4000)
    init = world.init(server)
    wait_until(lambda: all_blocked(init), "the server waits for its reader")
    assert peak(server.process.pid) - before < 16 * MIB
    assert ended(server, world, remains, close_stdin)[0] == 0


def all_blocked(init: int) -> bool:
    """Whether some process below waits in a pipe write."""
    return any("pipe_write" in text(f"/proc/{pid}/wchan") for pid in descendants(init))


def wait_until(what: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.01)


@pytest.mark.threat("S3", proves="floods of stdout and stderr cost no memory of the wrapper")
@pytest.mark.parametrize("attack", ["endless_line", "flood_stderr"])
def test_floods(attack: str, server: Attacker, remains: Remains) -> None:
    before = peak(server.process.pid)
    server.ask(f"limits.{attack}", size=48 * MIB, child=False)
    # An answer glued to an endless line is lost with it; the next one is not.
    server.ask("limits.descriptors", most=1)
    said = [server.message()]
    while said[-1].get("id") != 3:
        said.append(server.message())
    assert said[-1]["result"] == {"got": 1}
    assert peak(server.process.pid) - before < 40 * MIB


@pytest.mark.slow
@pytest.mark.backends  # at an engine: tests/backend/docker/test_lifecycle.py
@pytest.mark.threat("T2", proves="a wrapper killed at a random moment of its start leaves nothing")
@pytest.mark.parametrize(("number", "starts"), [("KILL", 16), ("TERM", 6)])
def test_kill_storm(number: str, starts: int, world: World) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "kill-storm"), str(starts), "--signal", number]
    environ = world.environ | {"TMPDIR": str(world.scratch)}
    done = subprocess.run(
        [*world.prefix(), *script],
        env=environ,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(Path(world.scratch).iterdir()) == []
