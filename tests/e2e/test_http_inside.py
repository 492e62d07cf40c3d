"""A server inside that speaks HTTP: reached wherever it listens, and nothing is left however it ends."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine
from tests.attacks.inside import Answer, World, furnished
from tests.attacks.speaking import INITIALIZE, PORT, Speaker, program, speaking
from tests.backends import NATIVE
from tests.conftest import Ready
from tests.e2e.remains import Remains, adopted_orphans, descendants, memory, named, text

pytestmark = pytest.mark.backends(docker="user")
SECONDS = 2.0
READY_S = 1.0


@pytest.fixture(scope="module")
def world(caller: str, backend: str, ready: Ready) -> Iterator[World]:
    """A caller and its home, made once, on a host that can build the sandbox."""
    with furnished(caller, backend, ready(backend)) as made:
        yield made


@pytest.fixture
def remains(world: World) -> Iterator[Remains]:
    """Counts what the test's sandboxes leave."""
    with adopted_orphans(), ExitStack() as stack:
        api = None if world.backend == NATIVE else stack.enter_context(closing(engine.connect(os.environ)))
        yield Remains(world.name, world.home / ".local" / "state", world.scratch, engine=api)


def patient(world: World, seconds: float = READY_S) -> tuple[str, ...]:
    """The options of a profile that waits so long for its server."""
    server = f'[server]\ntransport = "http"\nport = {PORT}\nready = "{seconds}s"\n'
    profile = world.file("patient-http.toml", world.base, f'schema = 1\nextends = "base"\n{server}')
    return ("--profile", str(profile))


def events(world: World, kind: str) -> list[dict[str, Any]]:
    """What the newest log of this world says of one kind."""
    logs = [*(world.home / ".local/state/mcp-sandbox").glob("**/*.jsonl")]
    newest = max(logs, key=lambda path: path.stat().st_mtime)
    found = [json.loads(line) for line in newest.read_text().splitlines()]
    return [event for event in found if event["kind"] == kind]


# --- where it listens ------------------------------------------------------------------------------


HOSTS = [
    "127.0.0.1",
    pytest.param("::1", marks=pytest.mark.long),
    pytest.param("0.0.0.0", marks=pytest.mark.long),  # noqa: S104 - inside
    pytest.param("::", marks=pytest.mark.long),
]


@pytest.mark.parametrize("host", HOSTS)
def test_it_is_reached_wherever_it_listens_and_waiting_for_it_is_no_attempt(host: str, world: World) -> None:
    with speaking(world, host) as server:
        assert server.begin()["result"]["serverInfo"]["name"] == "listening"
        server.tell({"jsonrpc": "2.0", "id": "list", "method": "tools/list"})
        assert {tool["name"] for tool in server.message()["result"]["tools"]} >= {"connect", "kill"}
        assert server.got("own_stdin") == "nothing", "it stays open, and says nothing"
        assert server.got("say", text="a banner that is no message") == "a banner that is no message"
        assert server.outcome("connect", host="127.0.0.1", port=PORT + 1) == {"failed": "ECONNREFUSED"}
        status, said = server.finish()
    assert status == 0
    assert "a banner that is no message" in said, "its stdout goes where its stderr goes"
    ports = [event["detail"]["port"] for event in events(world, "egress.deny")]
    assert ports == [PORT + 1], "the control: another port where nobody listens is told as ever"


@pytest.mark.long
def test_one_that_listens_elsewhere_is_told_where(world: World) -> None:
    options = ("--allow-read", str(world.program), *patient(world, 2.0))
    argv = world.command(*options, server=program(world, str(PORT + 1)))
    with Speaker(argv, world.environ) as server:
        server.tell(INITIALIZE)
        assert f"nobody listens there, but on port {PORT + 1}" in server.message()["error"]["message"]


@pytest.mark.long
@pytest.mark.backends
def test_a_message_is_as_large_as_the_profile_says(world: World) -> None:
    text = f'schema = 1\n[server]\ntransport = "http"\nport = {PORT}\n[traffic]\nmessage = "24M"\n'
    profile = world.file("large-http.toml", world.base, text)
    with speaking(world, options=("--profile", str(profile))) as server:
        server.begin()
        assert len(server.got("big", size=20 << 20)) == 20 << 20
        server.ask("big", size=25 << 20)
        assert "error" in server.message(), "the control"


def test_what_the_caller_has_besides_is_not_in_the_bridges_memory(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("root alone reads another process's memory")
    other = "canary-of-another-server-51c2"
    argv = world.command(
        "--allow-read", str(world.program), "--http", str(PORT), server=program(world, str(PORT))
    )
    with Speaker(argv, {**world.environ, "OTHER_TOKEN": other}) as server:
        server.begin()
        (wrapper, *_) = [pid for pid in descendants(os.getpid()) if other.encode() in memory(pid)]
        assert wrapper, "the control: what it was forked from"
        assert other.encode() not in memory(named("mcp-bridge", server.process.pid))
        server.finish()


# --- how it ends -----------------------------------------------------------------------------------

Act = Callable[[Speaker, World], None]


def close_stdin(server: Speaker, _world: World) -> None:
    assert server.process.stdin is not None
    server.process.stdin.close()
    server.process.stdin = None


def kill_bridge(server: Speaker, world: World) -> None:
    """From inside, where it is there to be killed."""
    if world.backend == NATIVE:
        (bridge,) = server.got("named", comm="mcp-bridge")
        server.ask("kill", pid=bridge)
    else:
        assert server.got("named", comm="mcp-bridge") == [], "it runs beside the container"
        os.kill(named("mcp-bridge", server.process.pid), signal.SIGKILL)


def signalled(number: int) -> Act:
    return lambda server, _world: os.kill(server.process.pid, number)


ENDS = [
    pytest.param("", close_stdin, 0, id="end of file"),
    pytest.param("deaf", close_stdin, 0, id="end of file, it ignores SIGTERM", marks=pytest.mark.long),
    pytest.param("", signalled(signal.SIGTERM), 128 + signal.SIGTERM, id="SIGTERM", marks=pytest.mark.long),
    pytest.param(
        "deaf",
        signalled(signal.SIGTERM),
        128 + signal.SIGTERM,
        id="SIGTERM, which it ignores",
        marks=pytest.mark.long,
    ),
    pytest.param(
        "", signalled(signal.SIGKILL), -signal.SIGKILL, id="SIGKILL of the wrapper", marks=pytest.mark.long
    ),
    pytest.param("", kill_bridge, 128 + signal.SIGKILL, id="SIGKILL of the bridge"),
]


@pytest.mark.parametrize(("deed", "act", "status"), ENDS)
def test_an_end_leaves_nothing(deed: str, act: Act, status: int, world: World, remains: Remains) -> None:
    with speaking(world, "127.0.0.1", *([deed] if deed else []), start_new_session=True) as server:
        server.begin()
        assert remains.now(), "the control: it is seen while it lives"
        act(server, world)
        started = time.monotonic()
        assert server.process.wait(SECONDS) == status
        assert remains.within(started + SECONDS - time.monotonic()) == {}


def test_a_server_that_ends_answers_for_its_status(world: World, remains: Remains) -> None:
    """Its status is ours, and whoever waits is told."""
    with speaking(world) as server:
        server.begin()
        waits = server.ask("hang")
        leaves = server.ask("leave", status=7)
        answers = [server.message(), server.message()]
        assert {one["id"] for one in answers} == {waits, leaves}
        assert all("error" in one for one in answers)
        assert server.process.wait(SECONDS) == 7
    assert remains.within(SECONDS) == {}


@pytest.mark.backends
def test_a_server_that_never_listens_is_told_by_its_deadline(world: World, remains: Remains) -> None:
    with speaking(world, "127.0.0.1", "silent", options=patient(world)) as server:
        started = time.monotonic()
        server.tell(INITIALIZE)
        answer = server.message()
        assert READY_S <= time.monotonic() - started < READY_S + 5.0
        status, said = server.finish()
    assert "error" in answer
    assert status == 1
    assert str(PORT) in said, said
    assert remains.within(SECONDS) == {}


@pytest.mark.long
def test_a_crashed_one_is_started_again_with_a_bridge_of_its_own(world: World, remains: Remains) -> None:
    text = f'schema = 1\n[server]\ntransport = "http"\nport = {PORT}\nrestart = "on-crash"\n'
    profile = world.file("again-http.toml", world.base, text)
    with speaking(world, options=("--profile", str(profile))) as server:
        server.begin()
        before = named("mcp-bridge", server.process.pid)
        server.ask("leave", status=7)
        assert "error" in server.message()
        deadline = time.monotonic() + 10
        while "result" not in again(server):  # between the two nobody answers
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert named("mcp-bridge", server.process.pid) != before
    assert remains.within(SECONDS) == {}


def again(server: Speaker) -> Answer:
    server.ask("own_stdin")
    return server.message()


@pytest.mark.long
def test_a_frozen_one_and_its_bridge_stand_still(world: World) -> None:
    server_ = f'[server]\ntransport = "http"\nport = {PORT}\n'
    limits = '[quota]\nwall = "2s"\n[breach]\nwall = "freeze"\nanswer = "2s"\n'
    profile = world.file("frozen-http.toml", world.base, f"schema = 1\n{server_}{limits}")
    with speaking(world, options=("--profile", str(profile))) as server:
        server.begin()
        bridge = named("mcp-bridge", server.process.pid)
        assert state(bridge) != "T", "the control"
        deadline = time.monotonic() + 10
        while state(bridge) != "T":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.process.wait(10) == 124


def state(pid: int) -> str:
    """Of a process (proc(5), stat)."""
    return text(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]


# --- the bridge ------------------------------------------------------------------------------------


def test_the_bridge_has_no_rights_and_shows_nothing(world: World) -> None:
    with speaking(world) as server:
        server.begin()
        bridge = named("mcp-bridge", server.process.pid)
        status = dict(line.split(":\t", 1) for line in text(f"/proc/{bridge}/status").splitlines())
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert 0 not in map(int, status["Uid"].split())
        if os.geteuid() == 0:
            assert world.word not in text(f"/proc/{bridge}/environ")
            assert sockets_of_engines(bridge) == []
        if world.backend == NATIVE:
            (inside,) = server.got("named", comm="mcp-bridge")
            assert "got" not in server.got("peek", pid=inside).values()
            (own,) = server.got("named", comm=text(f"/proc/{server_of(server, bridge)}/comm").strip())
            assert set(server.got("peek", pid=own).values()) == {"got"}, "the control: itself it may see"


def server_of(server: Speaker, bridge: int) -> int:
    """The server's first process, as the host numbers it."""
    init = named("mcp-init", server.process.pid)
    return next(pid for pid in descendants(init) if pid != bridge)


def sockets_of_engines(pid: int) -> list[str]:
    """Descriptors that lead to a container engine: connected unix sockets with a name."""
    inodes = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    lines = text(f"/proc/{pid}/net/unix").splitlines()[1:]
    return [line for line in lines if "docker" in line and f"socket:[{line.split()[6]}]" in inodes]
