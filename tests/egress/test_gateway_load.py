"""The gateway under load from a hostile server: floods that nobody can read, and many connections at once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from sandbox.egress.gateway import MOST_CONNECTIONS, SWEEP_S
from sandbox.egress.guard import Guard, Refused
from sandbox.egress.names import MOST as MOST_NAMES
from sandbox.egress.tally import DISTINCT
from sandbox.wire import dns
from tests.attacks.inside import CALLERS, Attacker
from tests.conftest import Require
from tests.egress import hostile
from tests.egress.guarding import at
from tests.egress.loopback import MIB, Host, Place, denied, gateway, place, resident, until

FLOOD = 10_000
MANY = 500
SEED = 1
GROWTH = 16 * MIB
SECONDS = 60.0


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
def host() -> Iterator[Host]:
    with Host() as made:
        yield made


@pytest.fixture
def port(host: Host) -> int:
    """A port that is allowed, behind which an echo listens."""
    return host.serve(host.echo)


def serves(world: Place, attacker: Attacker, port: int) -> None:
    """A good connection is carried."""
    assert world.call(attacker, "tcp", port=port, say="still there\n") == "still there\n"


# --- floods -------------------------------------------------------------------------------------------


def test_the_floods_are_what_they_say() -> None:
    """The control: not one of these is a hello, a request or a query that may pass."""
    for opening in (*hostile.bad_hellos(FLOOD, SEED), *hostile.bad_heads(FLOOD, SEED)):
        with pytest.raises(Refused):
            Guard(at("localhost:9000")).feed(opening)
    for packet in (*hostile.bad_packets(FLOOD, SEED), *hostile.bad_packets(FLOOD, SEED, least=12)):
        with pytest.raises(dns.Malformed):
            dns.parse(packet)


@pytest.mark.slow
@pytest.mark.threat("S3", proves="10,000 malformed hellos and requests neither stop nor fill the gateway")
@pytest.mark.parametrize("flood", ["hellos", "heads"])
def test_a_flood_of_openings(flood: str, world: Place, host: Host, port: int) -> None:
    with world.inside("--allow-net", f"localhost:{port}") as attacker:
        serves(world, attacker, port)
        before = resident(gateway(attacker))
        ends = world.call(attacker, flood, SECONDS, port=port, count=FLOOD, seed=SEED)
        assert ends == {"ECONNRESET": FLOOD}
        serves(world, attacker, port)
        assert resident(gateway(attacker)) - before < GROWTH
        assert attacker.finish()[0] == 0
    events = world.events("egress.deny")
    assert denied(events) == FLOOD
    # One of each kind, and a sum a second.
    assert len(events) < DISTINCT + SECONDS
    # The two good ones, and none of what was refused.
    assert [event["detail"]["up"] for event in world.events("egress.close")] == [12, 12]
    assert host.came == 2 + FLOOD, "the host saw connections, and not one byte"


@pytest.mark.slow
@pytest.mark.threat("S3", proves="10,000 malformed DNS packets neither stop nor fill the gateway")
@pytest.mark.parametrize("flood", ["packets_udp", "packets_tcp"])
def test_a_flood_of_packets(flood: str, world: Place, port: int) -> None:
    with world.inside("--allow-net", f"localhost:{port}") as attacker:
        serves(world, attacker, port)
        before = resident(gateway(attacker))
        world.call(attacker, flood, SECONDS, count=FLOOD, seed=SEED)
        serves(world, attacker, port)
        assert world.call(attacker, "lookup", name="localhost") in ("127.0.0.1", "::1")
        assert resident(gateway(attacker)) - before < GROWTH
        assert attacker.finish()[0] == 0
    events = world.events("dns.deny")
    assert denied(events) == FLOOD
    assert len(events) < DISTINCT + SECONDS
    assert world.events("egress.deny") == [], "our own answers are no attempts of the server's"


def test_a_stream_that_is_no_dns_is_told(world: Place) -> None:
    with world.inside() as attacker:
        assert world.call(attacker, "misframed", count=20) == 20
        assert attacker.finish()[0] == 0
    events = world.events("dns.deny")
    assert denied(events) == 20
    assert "a message of 1 bytes" in events[0]["detail"]["reason"]


@pytest.mark.slow
@pytest.mark.threat("S3", proves="a server that looks up names without end fills neither memory nor the log")
def test_a_flood_of_names(world: Place) -> None:
    """Below a wildcard each is allowed, answered here, and asked of nobody."""
    beyond = 1000
    with world.inside("--allow-net", "*.example.org") as attacker:
        assert world.call(attacker, "names", domain="example.org", count=1) == {"0": 1}
        before = resident(gateway(attacker))
        codes = world.call(attacker, "names", SECONDS, domain="example.org", count=MOST_NAMES + beyond)
        assert codes == {"0": MOST_NAMES, "2": beyond}
        assert resident(gateway(attacker)) - before < 2 * GROWTH
        assert attacker.finish()[0] == 0
    events = world.events("dns.deny")
    assert denied(events) == beyond
    assert len(events) < DISTINCT + SECONDS
    assert world.events("egress.allow") == []


# --- many at once -------------------------------------------------------------------------------------

FILES = "[quota]\nopen_files = 8192\n"


@pytest.fixture
def roomy(world: Place, port: int) -> Iterator[Attacker]:
    """A server that may hold more connections than the gateway takes."""
    profile = world.profile("roomy", f'extends = "base"\n{FILES}')
    options = ("--allow-read", str(world.program), "--allow-net", f"localhost:{port}")
    words = ["run", "--name", world.name, "--profile", profile, *options, "--", *world.server()]
    command = world.command()
    with Attacker([*command[: command.index("run")], *words], world.environ) as made:
        serves(world, made, port)
        yield made


@pytest.mark.threat("S3", proves="500 connections at once hold, each with its own bytes, in bounded memory")
def test_many_connections_hold(world: Place, roomy: Attacker, port: int) -> None:
    before = resident(gateway(roomy))
    assert world.call(roomy, "hold", port=port, count=MANY) == MANY
    until(lambda: len(world.events("egress.allow")) == MANY + 1, "all are let through")
    for _ in range(3):
        assert world.call(roomy, "echoed") == MANY
    assert resident(gateway(roomy)) - before < GROWTH
    assert world.call(roomy, "release") == MANY
    until(lambda: len(world.events("egress.close")) == MANY + 1, "all are told")
    assert {event["detail"]["end"] for event in world.events("egress.close")} == {"closed"}
    serves(world, roomy, port)


def test_the_end_of_a_session_tells_how_each_of_many_ended(world: Place, roomy: Attacker, port: int) -> None:
    """In the time that a client gives us."""
    assert world.call(roomy, "hold", port=port, count=MANY) == MANY
    until(lambda: len(world.events("egress.allow")) == MANY + 1, "all are let through")
    assert roomy.finish(2.0)[0] == 0
    assert len(world.events("egress.close")) == MANY + 1
    assert world.events("quota.breach") == []


@pytest.mark.threat("S3", proves="connections beyond the most at one time are refused, and told")
def test_one_connection_too_many(world: Place, roomy: Attacker, port: int) -> None:
    before = resident(gateway(roomy))
    assert world.call(roomy, "hold", port=port, count=MOST_CONNECTIONS) == MOST_CONNECTIONS
    until(lambda: len(world.events("egress.allow")) == MOST_CONNECTIONS + 1, "all are let through")
    roomy.ask("knock", port=port)
    assert roomy.message()["result"]["failed"] == "ECONNRESET"
    (event,) = world.events("egress.deny")
    assert f"more than {MOST_CONNECTIONS} connections" in event["detail"]["reason"]
    assert world.call(roomy, "echoed") == MOST_CONNECTIONS, "the others do not suffer"
    assert resident(gateway(roomy)) - before < 2 * GROWTH
    assert world.call(roomy, "release") == MOST_CONNECTIONS
    until(lambda: len(world.events("egress.close")) == MOST_CONNECTIONS + 1, "all have ended")
    serves(world, roomy, port)


# --- one side that does not read ----------------------------------------------------------------------

LEAST = 8 * MIB


@pytest.mark.threat("S3", proves="a host that reads nothing and a server that reads nothing cost no memory")
def test_nobody_reads(world: Place, host: Host, port: int) -> None:
    """Neither what is uploaded nor what is downloaded gathers here, and others go on meanwhile."""
    deaf, endless = host.serve(host.deaf), host.serve(host.endless)
    allowed = [word for one in (port, deaf, endless) for word in ("--allow-net", f"localhost:{one}")]
    with world.inside(*allowed) as attacker:
        serves(world, attacker, port)
        before = resident(gateway(attacker))
        for _ in range(2):
            taken = world.call(attacker, "push", port=deaf, most=1 << 30, silence=0.2)
            assert taken < 64 * MIB, "the kernel's buffers, and no more"
            world.call(attacker, "pull", port=endless)
        started = time.monotonic()
        for _ in range(20):
            serves(world, attacker, port)
        assert time.monotonic() - started < 2.0
        assert resident(gateway(attacker)) - before < LEAST
        assert attacker.finish()[0] == 0


@pytest.mark.slow
def test_a_reset_is_passed_on_to_a_host_that_reads_nothing(world: Place, host: Host) -> None:
    deaf = host.serve(host.deaf)
    with world.inside("--allow-net", f"localhost:{deaf}") as attacker:
        world.call(attacker, "push", port=deaf, most=1 << 30, silence=0.2)
        world.call(attacker, "abandon")
        until(lambda: world.events("egress.close"), "the sweep sees it", 2 * SWEEP_S)
        assert world.events("egress.close")[0]["detail"]["end"] == "reset"
        assert attacker.finish()[0] == 0
