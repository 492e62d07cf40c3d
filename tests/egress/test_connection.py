"""One connection through the gateway: every byte in order, ends as they end, no byte beyond a budget."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sandbox.egress import connection as module
from sandbox.egress import gateway
from sandbox.egress.connection import Connection
from sandbox.egress.guard import Guard
from sandbox.egress.lane import CHUNK
from sandbox.policy.model import HostBudget, Network
from tests.egress.inprocess import Peer, Running, Targets, network, run, serving, turns

MIB = 1 << 20
LARGE = bytes(range(256)) * (4 * MIB // 256)


@asynccontextmanager
async def carried(
    policy: Callable[[int], Network] = network, **charge: Any
) -> AsyncIterator[tuple[Peer, Peer, Running, Targets]]:
    """A connection that is let through: the server's end, the host's, and what stands around them."""
    with Targets() as host:
        async with serving(policy(host.port), charge=charge) as running:
            client = await running.connect(host.port)
            target = await host.accept()
            await running.wrapper.fact("egress.allow")
            await turns()
            yield client, target, running, host


async def closed(running: Running) -> dict[str, Any]:
    """How the connection ended, as it was told."""
    detail: dict[str, Any] = (await running.wrapper.fact("egress.close"))["detail"]
    return detail


# --- both ends --------------------------------------------------------------------------------------


def test_who_has_said_all_still_hears_all() -> None:
    async def work() -> None:
        async with carried() as (client, target, running, _):
            await client.send(b"all I have\n")
            client.shut()
            assert await target.rest() == b"all I have\n"
            answering = asyncio.create_task(target.send(LARGE))
            heard = await client.read(len(LARGE))
            await answering
            target.close()
            assert heard == LARGE
            assert await client.end() == "closed"
            told = await closed(running)
            assert (told["end"], told["up"], told["down"]) == ("closed", 11, len(LARGE))
            assert (told["address"], told["protocol"]) == ("127.0.0.1", "raw")

    run(work)


def test_who_has_heard_all_can_still_speak() -> None:
    """The host shuts its side first, as some protocols do; the server goes on for as long as it wants."""

    async def work() -> None:
        async with carried() as (client, target, running, _):
            await target.send(b"bye\n")
            target.shut()
            assert await client.rest() == b"bye\n"
            sending = asyncio.create_task(client.send(b"raw\n" + LARGE))
            assert await target.read(4 + len(LARGE)) == b"raw\n" + LARGE
            await sending
            client.shut()
            assert await target.end() == "closed"
            assert (await closed(running))["end"] == "closed"

    run(work)


def test_a_host_that_is_gone_does_not_leave_the_server_talking_to_nobody() -> None:
    async def work() -> None:
        async with carried() as (client, target, running, _):
            target.close()
            assert await client.rest() == b""
            while running.wrapper.kinds("egress.close") == []:
                try:
                    await client.send(b"raw\n")
                except ConnectionError:
                    break
                await turns(2)
            assert (await closed(running))["end"] != "closed"

    run(work)


@pytest.mark.parametrize("who", ["client", "target"])
def test_a_reset_is_passed_on(who: str) -> None:
    async def work() -> None:
        async with carried() as (client, target, running, _):
            await client.send(b"raw\n")
            assert await target.read(4) == b"raw\n"
            first, second = (client, target) if who == "client" else (target, client)
            first.reset()
            assert await second.end() == "reset"
            assert "reset" in (await closed(running))["end"]

    run(work)


@pytest.mark.parametrize("who", ["client", "target"])
def test_a_reset_is_noticed_while_the_other_side_reads_nothing(
    who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read that cannot be passed on, so nobody listens to the side that is reset."""
    monkeypatch.setattr(gateway, "SWEEP_S", 0.01)

    async def work() -> None:
        async with carried() as (client, target, running, _):
            await client.send(b"raw\n")
            assert await target.read(4) == b"raw\n"
            sender = client if who == "client" else target
            await fill(sender)
            sender.reset()
            assert (await closed(running))["end"] == "reset"

    run(work)


@pytest.mark.parametrize("who", ["client", "target"])
def test_an_end_behind_much_that_was_not_read_is_no_reset(who: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it arrives, however late it is read, and then the end."""
    monkeypatch.setattr(gateway, "SWEEP_S", 0.005)

    async def work() -> None:
        async with carried() as (client, target, running, _):
            await client.send(b"raw\n")
            assert await target.read(4) == b"raw\n"
            sender, reader = (client, target) if who == "client" else (target, client)
            looks = looked(monkeypatch)
            sent = await fill(sender)
            reader.shut()
            assert await sender.rest() == b""
            sender.close()
            looks.clear()
            await looks.wait()
            assert len(await reader.rest()) == sent
            assert (await closed(running))["end"] == "closed"

    run(work)


def looked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set whenever the sweep has looked for a reset, and found none."""
    looks = asyncio.Event()
    honest: Any = Connection.__dict__["broken"]

    def look(self: Connection) -> bool:
        found: bool = honest.fget(self)
        if not found:
            looks.set()
        return found

    monkeypatch.setattr(Connection, "broken", property(look))
    return looks


async def fill(sender: Peer) -> int:
    """Sends until not a byte more is taken anywhere on the way; how many were."""
    sent = before = sender.fill()
    await turns()
    while (more := sender.fill()) or before != sent:
        before, sent = sent, sent + more
        await turns()
    return sent


# --- who does not read ------------------------------------------------------------------------------


@pytest.mark.threat("S3", proves="what one side does not read is not gathered: the other one waits")
@pytest.mark.parametrize("who", ["client", "target"])
def test_nothing_is_read_that_cannot_be_passed_on(who: str) -> None:
    async def work() -> None:
        async with carried() as (client, target, running, host):
            await client.send(b"raw\n")
            assert await target.read(4) == b"raw\n"
            sender, reader = (client, target) if who == "client" else (target, client)
            sent = await fill(sender)
            room = running.gateway.shift.room
            assert room.held <= CHUNK
            assert sent < 64 * MIB, "the kernel's buffers"
            other = await running.connect(host.port)
            await other.send(b"ping\n")
            assert await (await host.accept()).read(5) == b"ping\n"
            reading = asyncio.create_task(reader.read(sent + len(LARGE)))
            await sender.send(LARGE)
            heard = await reading
            assert heard == b"x" * sent + LARGE
            assert room.held == 0

    run(work)


def test_a_connection_that_ends_gives_back_what_it_held() -> None:
    async def work() -> None:
        async with carried() as (client, target, running, _):
            await client.send(b"raw\n")
            await fill(client)
            target.reset()
            await closed(running)
            assert running.gateway.shift.room.held == 0

    run(work)


# --- the log first ----------------------------------------------------------------------------------


def test_what_comes_after_a_pause_waits_for_its_mention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)

    async def work() -> None:
        async with carried() as (client, target, running, host):
            running.wrapper.holds = True
            await client.send(b"one\n")
            await running.wrapper.until(lambda: running.wrapper.facts[-1].get("activity"))
            await client.send(b"two\n")
            await turns()
            assert target.now() is None
            assert running.wrapper.facts[-1]["activity"] == f"localhost:{host.port}"
            running.wrapper.holds = False
            running.wrapper.answer()
            assert await target.read(8) == b"one\ntwo\n"

    run(work)


@pytest.mark.parametrize("mentions", [0.0, 1.0], ids=["its mention", "its connection"])
@pytest.mark.threat("D3", proves="at the end of a session nothing passes that the log does not have")
def test_what_is_not_in_the_log_at_the_end_never_passes(
    mentions: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE_S", mentions)

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                running.wrapper.holds = mentions > 0
                client = await running.connect(host.port)
                allowed = await running.wrapper.fact("egress.allow")
                running.wrapper.holds = True
                await client.send(b"secret\n")
                if not mentions:
                    await running.wrapper.until(lambda: running.wrapper.facts[-1] is not allowed)
                await turns()
                await running.over()
                if (target := host.waiting()) is not None:
                    assert (await target.last())[0] == b""
                assert await client.end() == "reset"
                assert [fact["detail"]["up"] for fact in running.wrapper.kinds("egress.close")] in ([0], [7])

    run(work)


def test_a_host_that_is_not_there_is_told_like_any_other() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        async with serving(network(port)) as running:
            running.wrapper.holds = True
            client = await running.connect(port)
            await running.wrapper.fact("egress.allow")
            await turns()
            assert client.now() is None
            running.wrapper.answer()
            assert await client.end() == "reset"
            assert "refused" in (await closed(running))["end"]

    run(work)


def test_a_fault_in_the_look_at_what_passes_ends_the_connection_and_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def boom(*_: object) -> bytes:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr(Guard, "feed", boom)

    async def work() -> None:
        async with carried() as (client, target, running, _):
            await client.send(b"raw\n")
            assert await client.end() == await target.end() == "reset"
            told = await closed(running)
            assert (told["end"], told["up"]) == ("fault: LookupError: nobody thought of this", 0)
            assert not running.task.done()

    run(work)


# --- budgets ----------------------------------------------------------------------------------------


def limited(by: str, **limits: Any) -> Callable[[int], Network]:
    """A policy with limits of the session's, or of the one host's."""

    def made(port: int) -> Network:
        if by == "session":
            return network(port, **limits)
        return network(port, budgets=(HostBudget("localhost", port, **limits),))

    return made


async def breach(running: Running) -> dict[str, Any]:
    """The fact that ends the session."""
    return dict((await running.wrapper.until(lambda: [f for f in running.wrapper.facts if "breach" in f]))[0])


BY = pytest.mark.parametrize("by", ["session", "host"])


@pytest.mark.threat("D3", proves="not one byte beyond an upload budget reaches the host")
@BY
@pytest.mark.parametrize(
    ("sends", "passes"),
    [
        pytest.param([b"0123456789\n", b"x"], 11, id="one byte more"),
        pytest.param([b"0123456789\nx"], 0, id="a piece that is too large passes not even in part"),
        pytest.param([b"raw\n", b"01234567"], 4, id="a second piece that is too large"),
    ],
)
def test_an_upload_beyond_its_budget(by: str, sends: list[bytes], passes: int) -> None:
    async def work() -> None:
        async with carried(limited(by, upload=11)) as (client, target, running, host):
            for number, piece in enumerate(sends):
                await client.send(piece)
                if number < len(sends) - 1:
                    assert await target.read(len(piece)) == piece
            said = await breach(running)
            place = f'budget."localhost:{host.port}".' if by == "host" else ""
            assert said["breach"] == f"network.{place}upload"
            assert said["detail"]["limit"] == 11
            assert await client.end() == "reset"
            assert await target.last() == (b"", "reset")
            await running.over()
            told = [fact["detail"]["up"] for fact in running.wrapper.kinds("egress.close")]
            assert told == ([passes] if passes else [])

    run(work)


@pytest.mark.threat("D3", proves="not one byte beyond a download budget reaches the server")
@BY
def test_a_download_beyond_its_budget(by: str) -> None:
    async def work() -> None:
        async with carried(limited(by, download=10)) as (client, target, running, _):
            await target.send(b"0123456789")
            assert await client.read(10) == b"0123456789"
            await target.send(b"x")
            assert (await breach(running))["breach"].endswith("download")
            assert await client.end() == await target.end() == "reset"
            assert (await closed(running))["down"] == 10

    run(work)


@BY
def test_a_connection_beyond_its_budget(by: str) -> None:
    async def work() -> None:
        async with carried(limited(by, connections=2)) as (_, _target, running, host):
            second = await running.connect(host.port)
            await host.accept()
            third = await running.connect(host.port)
            assert (await breach(running))["breach"].endswith("connections")
            assert await third.end() == "reset"
            await second.send(b"raw\n")
            assert await second.end() == "reset", "nothing passes any more"
            assert host.waiting() is None
            assert len(running.wrapper.kinds("egress.allow")) == 2

    run(work)


@pytest.mark.threat("D3", proves="once a budget is spent no connection carries another byte, however few")
def test_after_an_excess_nothing_passes_anywhere() -> None:
    async def work() -> None:
        async with carried(limited("session", upload=100, download=100)) as (client, target, running, host):
            second = await running.connect(host.port)
            other = await host.accept()
            await running.wrapper.fact("egress.allow", 2)
            await second.send(b"raw\n")
            assert await other.read(4) == b"raw\n"
            running.wrapper.holds = True
            await client.send(b"raw\n" + bytes(200))
            await breach(running)
            assert client.now() is None, "not before the log has it"
            await second.send(b"x")
            await other.send(b"y")
            third = await running.connect(host.port)
            await turns()
            assert (second.now(), host.waiting(), third.now()) == (None, None, None)
            running.wrapper.holds = False
            running.wrapper.answer()
            assert await client.end() == await second.end() == await third.end() == "reset"
            assert await target.last() == await other.last() == (b"", "reset")

    run(work)


# --- decoys -----------------------------------------------------------------------------------------

DECOY = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.threat("D3", proves="a decoy in plain bytes does not leave, and ends the session")
def test_a_decoy_does_not_leave() -> None:
    async def work() -> None:
        async with carried(canaries=(("aws", DECOY),)) as (client, target, running, _):
            await client.send(b"raw\n")
            assert await target.read(4) == b"raw\n"
            running.wrapper.holds = True
            await client.send(f"so this is it: {DECOY}\n".encode())
            said = await running.wrapper.fact("canary.seen")
            assert (said["breach"], said["detail"]["canary"]) == ("isolation.decoys", "aws")
            await turns()
            assert client.now() is None
            assert await target.last() == (b"", "reset")
            running.wrapper.answer()
            assert await client.end() == "reset"

    run(work)
