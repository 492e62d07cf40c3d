"""The gateway's end and the session's: neither outlives the other, whoever is killed, stopped or at fault."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from sandbox.relay.unstarted import PATIENCE_S
from tests.attacks.inside import CALLERS, Answer, Attacker
from tests.conftest import Require
from tests.e2e.remains import Remains, adopted_orphans, descendants, named, processes, text
from tests.egress.loopback import Host, Place, gateway, place, until

AT_ONCE = 1.0
TWO = 2.0


@pytest.fixture(scope="module", params=CALLERS)
def furnished(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A caller's world, made once."""
    with place(request.param) as made:
        yield made


@pytest.fixture
def world(furnished: Place, require: Require) -> Place:
    """A caller on a host that can build the sandbox."""
    require("native")
    return furnished


@pytest.fixture
def remains(world: Place) -> Iterator[Remains]:
    """Counts what the test's sandboxes leave; orphans of theirs become ours."""
    with adopted_orphans():
        yield Remains(world.name, world.home / ".local" / "state", world.scratch)


@pytest.fixture
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


@pytest.fixture
def silent(host: Host) -> int:
    """A port of the host's behind which nobody ever reads or answers."""
    return host.serve(host.deaf)


@pytest.fixture
def busy(world: Place, remains: Remains, silent: int) -> Iterator[Attacker]:
    """A session in a process group of its own, with open connections and a call that waits for its answer."""
    with world.inside("--allow-net", f"localhost:{silent}", start_new_session=True) as made:
        assert world.call(made, "hold", port=silent, count=3) == 3
        made.ask("wait")
        until(lambda: len(world.events("egress.allow")) == 3, "all are let through")
        yield made
        made.process.kill()


@pytest.fixture
def idle(world: Place, remains: Remains) -> Iterator[Attacker]:
    """A session that may reach nothing and has tried nothing."""
    with world.inside(start_new_session=True) as made:
        assert world.call(made, "release") == 0
        yield made
        made.process.kill()


def is_alive(pid: int) -> bool:
    return any(one == pid and state not in "ZX" for one, _, state in processes())


def inside(attacker: Attacker) -> list[int]:
    """Everything that runs in the sandbox."""
    init = named("mcp-init", attacker.process.pid)
    return [init, *descendants(init)]


def rest(attacker: Attacker) -> Iterator[Answer]:
    """All that is still said to the client."""
    while message := attacker.message():
        yield message


def gone(pids: list[int], seconds: float) -> float:
    """How long it took until all of these were gone."""
    started = time.monotonic()
    until(lambda: not any(is_alive(pid) for pid in pids), f"{pids} are still there", seconds)
    return time.monotonic() - started


# --- the gateway's end --------------------------------------------------------------------------------


def kill_gateway(attacker: Attacker) -> None:
    os.kill(gateway(attacker), signal.SIGKILL)


@pytest.mark.threat("D3", proves="no server runs on without the gateway that stands before its way out")
def test_a_killed_gateway_ends_the_session(busy: Attacker, world: Place, remains: Remains) -> None:
    ours = inside(busy)
    kill_gateway(busy)
    gone(ours, AT_ONCE)
    answer = busy.message(AT_ONCE)
    words = "ended by mcp-sandbox: the egress gateway ended, and no way out is left"
    assert answer["error"]["message"] == words
    assert busy.message(AT_ONCE) == {}
    status, said = busy.finish()
    assert (status, said.count(f"error: gateway-failed\n  {words}\n")) == (124, 1)
    assert remains.within(TWO) == {}
    (breach,) = world.events("quota.breach")
    assert (breach["detail"]["quota"], breach["rule"]) == ("gateway", "quota.gateway")
    assert world.events("session.end")[0]["detail"] == {"status": 124, "reason": "gateway"}


def test_a_gateway_that_was_never_needed_is_missed_as_well(
    idle: Attacker, world: Place, remains: Remains
) -> None:
    ours = inside(idle)
    kill_gateway(idle)
    gone(ours, AT_ONCE)
    assert idle.finish()[0] == 124
    assert world.events("quota.breach")[0]["detail"]["quota"] == "gateway"
    assert remains.within(TWO) == {}


def test_a_server_that_clings_does_not_outlive_the_gateway(
    world: Place, remains: Remains, busy: Attacker
) -> None:
    """It ignores every signal, and its client reads nothing any more."""
    with world.inside(start_new_session=True) as clinging:
        world.call(clinging, "ignore_signals")
        ours = inside(clinging)
        kill_gateway(clinging)
        gone(ours, AT_ONCE)
        assert clinging.finish()[0] == 124
    # Only that session's.
    assert is_alive(gateway(busy))


@pytest.mark.slow
def test_a_gateway_that_is_killed_while_it_starts(world: Place, remains: Remains) -> None:
    """At a different moment of the start each time: either nothing runs, or what runs is ended."""
    statuses = set()
    for start in range(16):
        with world.inside() as attacker:
            until(lambda: starting(attacker), "a gateway is forked")
            time.sleep(start * 0.003)  # chooses the moment, and waits for nothing
            kill_gateway(attacker)
            # Where nothing started, the client's first request is waited for, by then outside of any sandbox.
            statuses.add(attacker.process.wait(TWO + PATIENCE_S))
        assert remains.within(TWO) == {}
    assert statuses <= {124, 125}


def starting(attacker: Attacker) -> bool:
    """Whether there is a gateway yet."""
    comms = (text(f"/proc/{pid}/comm").strip() for pid in descendants(attacker.process.pid))
    return "mcp-gateway" in comms


# --- the session's end --------------------------------------------------------------------------------


def kill_wrapper(attacker: Attacker) -> None:
    attacker.process.kill()


def kill_group(attacker: Attacker) -> None:
    os.killpg(attacker.process.pid, signal.SIGKILL)


@pytest.mark.threat("T2", proves="a gateway with open connections ends with the wrapper that was killed")
@pytest.mark.parametrize("act", [kill_wrapper, kill_group])
def test_a_killed_wrapper_takes_the_gateway_with_it(
    act: Callable[[Attacker], None], busy: Attacker, remains: Remains
) -> None:
    ours = [gateway(busy), *inside(busy)]
    act(busy)
    gone(ours, AT_ONCE)
    assert busy.process.wait(TWO) == -signal.SIGKILL
    assert remains.within(TWO) == {}


def test_a_killed_wrapper_takes_the_gateway_that_was_never_needed(idle: Attacker, remains: Remains) -> None:
    ours = [gateway(idle), *inside(idle)]
    idle.process.kill()
    gone(ours, AT_ONCE)
    assert remains.within(TWO) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_for_the_whole_group_leaves_the_gateway_its_last_words(
    number: signal.Signals, busy: Attacker, world: Place, remains: Remains
) -> None:
    """As the Python SDK does. A gateway that ended first would be a breach, and nobody would say more."""
    pid = gateway(busy)
    assert os.getpgid(pid) != busy.process.pid == os.getpgid(busy.process.pid)
    os.killpg(busy.process.pid, number)
    assert busy.process.wait(TWO) == 128 + number
    assert remains.within(TWO) == {}
    assert world.events("quota.breach") == []
    assert len(world.events("egress.close")) == len(world.events("egress.allow")) == 3
    # The server's end closes them, or else the session's.
    assert {event["detail"]["end"] for event in world.events("egress.close")} <= {"session", "closed"}


def test_signals_of_its_own_do_not_end_the_gateway(world: Place, remains: Remains, host: Host) -> None:
    port = host.serve(host.echo)
    with world.inside("--allow-net", f"localhost:{port}") as calm:
        world.call(calm, "hold", port=port, count=2)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            os.kill(gateway(calm), number)
        assert world.call(calm, "echoed") == 2
        assert calm.finish()[0] == 0


# --- a gateway that does nothing ------------------------------------------------------------------------


@pytest.mark.threat("S3", proves="a gateway that hangs holds up the server, and never the end of the session")
def test_a_stopped_gateway_does_not_hold_up_the_end(world: Place, remains: Remains, silent: int) -> None:
    with world.inside("--allow-net", f"localhost:{silent}") as held_up:
        world.call(held_up, "hold", port=silent, count=1)
        os.kill(gateway(held_up), signal.SIGSTOP)
        held_up.ask("knock", port=silent)
        init = named("mcp-init", held_up.process.pid)
        (server,) = descendants(init)
        until(lambda: "poll" in text(f"/proc/{server}/wchan"), "it waits for an answer")
        started = time.monotonic()
        assert held_up.process.stdin is not None
        held_up.process.stdin.close()
        held_up.process.stdin = None
        assert held_up.process.wait(TWO) == 0
        assert remains.within(started + TWO - time.monotonic()) == {}


def test_a_stopped_gateway_delays_each_failed_answer_by_a_bounded_time(
    idle: Attacker, world: Place, remains: Remains
) -> None:
    """An answer that reports a failure waits for what the gateway may have seen; not for ever."""
    os.kill(gateway(idle), signal.SIGSTOP)
    for _ in range(3):
        idle.ask("tcp", port=1)
        assert idle.message(AT_ONCE)["result"] == {"failed": "ECONNREFUSED", "isError": True}
    assert idle.finish(TWO)[0] == 0
    assert remains.within(TWO) == {}


def test_a_stopped_gateway_ends_with_the_wrapper_that_was_killed(busy: Attacker, remains: Remains) -> None:
    pid = gateway(busy)
    os.kill(pid, signal.SIGSTOP)
    busy.process.kill()
    gone([pid], AT_ONCE)
    assert remains.within(TWO) == {}


# --- a fault in it --------------------------------------------------------------------------------------

FAULT = """
import asyncio, sys
from sandbox.cli.main import main
from sandbox.egress import process

def faulty(load=process._import_all):
    load()
    import sandbox.egress.gateway as module
    async def run(self, serve=module.Gateway.run):
        serving = asyncio.ensure_future(serve(self))
        while not self._live and {waits}:
            await asyncio.sleep(0.01)
        raise LookupError("nobody thought of this")
    module.Gateway.run = run
process._import_all = faulty
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.threat("D3", proves="a fault in the gateway ends the session, and its words are told")
@pytest.mark.parametrize(
    "waits", [pytest.param(False, id="at once"), pytest.param(True, id="with a connection under way")]
)
def test_a_fault_of_the_gateway_is_told(
    waits: bool, world: Place, remains: Remains, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.attacks.inside.RUN", FAULT.replace("{waits}", str(waits)))
    with world.inside("--allow-net", f"localhost:{silent}") as faulty:
        faulty.ask("hold", port=silent, count=1)
        faulty.ask("wait")
        words = "the egress gateway failed: LookupError: nobody thought of this"
        errors = [message["error"]["message"] for message in rest(faulty) if "error" in message]
        assert errors
        assert all(words in error for error in errors)
        status, said = faulty.finish()
    assert status == 124
    assert words in said
    (breach,) = world.events("quota.breach")
    assert breach["detail"]["why"] == words
    assert remains.within(TWO) == {}


def test_a_fault_before_the_trap_is_held_stops_the_start(
    world: Place, remains: Remains, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
import sys
from sandbox.cli.main import main
import sandbox.gateway
def serve(*_):
    raise LookupError("nobody thought of this")
sandbox.gateway.serve = serve
sys.exit(main(sys.argv[1:]))
"""
    monkeypatch.setattr("tests.attacks.inside.RUN", code)
    with world.inside() as faulty:
        status, said = faulty.finish()
    assert status == 125
    assert "nothing ran" in said
    assert remains.within(TWO) == {}
