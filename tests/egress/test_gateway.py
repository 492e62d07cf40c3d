"""The gateway in one piece: nothing happens before it is in the log, and nothing is left unsaid."""

from __future__ import annotations

import asyncio
import resource
import socket
import struct
from contextlib import suppress
from typing import Any

import pytest

from sandbox.egress import decide
from sandbox.egress import gateway as module
from sandbox.egress.gateway import Gateway
from sandbox.egress.resolver import Resolver
from sandbox.trap import DNS
from sandbox.wire import packet
from tests.egress.inprocess import Peer, Targets, network, run, serving, turns

DENIED_PORT = 7777


# --- the log first ------------------------------------------------------------------------------------


@pytest.mark.threat("D3", proves="no byte of an allowed connection passes before the log has it")
def test_no_byte_passes_before_its_connection_is_in_the_log() -> None:
    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                running.wrapper.holds = True
                client = await running.connect(host.port)
                await client.send(b"hello\n")
                await running.wrapper.fact("egress.allow")
                await turns()
                target = host.waiting()
                # It may be dialled meanwhile: that the host is up is no secret of the server's.
                assert target is None or target.now() is None
                running.wrapper.answer()
                running.wrapper.holds = False
                target = target or await host.accept()
                assert await target.read(6) == b"hello\n"

    run(work)


@pytest.mark.threat("D3", proves="no refusal is seen before the log has it")
def test_no_refusal_is_seen_before_it_is_in_the_log() -> None:
    async def work() -> None:
        async with serving(network(), listens=[DENIED_PORT]) as running:
            running.wrapper.holds = True
            client = await running.connect(DENIED_PORT)
            denied = await running.wrapper.fact("egress.deny")
            assert denied["detail"]["port"] == DENIED_PORT
            assert denied["grant"] == f"localhost:{DENIED_PORT}"
            await turns()
            assert client.now() is None
            running.wrapper.answer()
            assert await client.end() == "reset"

    run(work)


def test_nobody_is_refused_while_the_first_of_its_kind_is_still_told() -> None:
    async def work() -> None:
        async with serving(network(), listens=[DENIED_PORT]) as running:
            running.wrapper.holds = True
            clients = [await running.connect(DENIED_PORT) for _ in range(3)]
            await running.wrapper.fact("egress.deny")
            await turns()
            assert [client.now() for client in clients] == [None] * 3
            running.wrapper.answer()
            assert [await client.end() for client in clients] == ["reset"] * 3
            later = await running.connect(DENIED_PORT)
            assert await later.end() == "reset", "and then at once"
            assert len(running.wrapper.kinds("egress.deny")) == 1

    run(work)


def test_what_is_refused_while_it_passes_is_in_the_log_first() -> None:
    """A request for another host: neither the server nor the host sees an end before."""

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                client = await running.connect(host.port)
                target = await host.accept()
                await running.wrapper.fact("egress.allow")
                running.wrapper.holds = True
                await client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
                denied = await running.wrapper.fact("egress.deny")
                assert "evil.example" in denied["detail"]["reason"]
                await turns()
                assert client.now() is None
                running.wrapper.answer()
                assert await client.end() == "reset"
                assert await target.end() == "reset"

    run(work)


# --- asked for what has happened, and for the end -------------------------------------------------------


def tcp_reset(port: int) -> bytes:
    """The kernel's answer to a connection that found no listener, as the observer sees it."""
    ip = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, bytes([8, 8, 8, 8]), bytes([198, 18, 0, 1])
    )
    return ip + struct.pack(">HHIIBBHHH", port, 40000, 0, 1, 0x50, 0x14, 0, 0, 0)


def test_what_has_happened_is_told_before_the_answer_that_it_is_told() -> None:
    async def work() -> None:
        async with serving(network(), listens=[DENIED_PORT]) as running:
            running.wrapper.holds = True
            for port in (22, 23, 25):
                running.strays.send(tcp_reset(port))
            running.wrapper.settle()
            facts = running.wrapper.facts
            await running.wrapper.until(lambda: {"settled": True} in facts)
            told = [fact["detail"]["port"] for fact in facts[:-1]]
            assert (told, facts[-1]) == ([22, 23, 25], {"settled": True})
            running.wrapper.settle()
            await running.wrapper.until(lambda: len(facts) == 5)
            assert facts[-1] == {"settled": True}, "nothing new has happened"

    run(work)


def test_the_end_tells_of_every_open_connection_and_all_sums() -> None:
    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port), listens=[DENIED_PORT]) as running:
                clients = [await running.connect(host.port) for _ in range(3)]
                targets = [await host.accept() for _ in range(3)]
                await clients[0].send(b"12345\n")
                assert await targets[0].read(6) == b"12345\n"
                for _ in range(4):
                    refused = await running.connect(DENIED_PORT)
                    assert await refused.end() == "reset"
                await running.wrapper.fact("egress.allow", 3)
                await running.over()
                closed = [fact["detail"] for fact in running.wrapper.kinds("egress.close")]
                assert [one["end"] for one in closed] == ["session"] * 3
                assert sorted(one["up"] for one in closed) == [0, 0, 6]
                sums = [fact["detail"] for fact in running.wrapper.kinds("egress.deny")][1:]
                assert sum(one["repeated"] + one["further"] for one in sums) == 3
                assert {await one.end() for one in (*clients, *targets)} == {"reset"}

    run(work)


def test_facts_that_nobody_answered_are_told_at_the_end_all_the_same() -> None:
    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port), listens=[DENIED_PORT]) as running:
                running.wrapper.holds = True
                await running.connect(host.port)
                await running.connect(DENIED_PORT)
                await running.wrapper.fact("egress.allow")
                await running.wrapper.fact("egress.deny")
                await running.over()
                assert len(running.wrapper.kinds("egress.close")) == 1

    run(work)


# --- a fault -------------------------------------------------------------------------------------------


def boom(*_: Any) -> None:
    raise LookupError("nobody thought of this")


@pytest.mark.threat("D3", proves="a fault in any part of the gateway ends it, and goes nowhere unheard")
@pytest.mark.parametrize(
    ("where", "name", "act"),
    [
        pytest.param(decide, "route", "connect", id="a connection's decision"),
        pytest.param(packet, "parse", "stray", id="an attempt that found no listener"),
        pytest.param(Resolver, "answer", "lookup", id="a lookup"),
        pytest.param(Resolver, "answer", "lookup over TCP", id="a lookup over TCP"),
        pytest.param(Gateway, "_tell_sums", "", id="the sums"),
    ],
)
def test_a_fault_in_any_part_ends_it(
    where: Any, name: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SUMS_S", 0.01)
    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    monkeypatch.setattr(where, name, boom)

    async def work() -> None:
        async with serving(network(DENIED_PORT)) as running:
            query = struct.pack(">6H", 1, 0x0100, 1, 0, 0, 0) + b"\4evil\4test\0\0\1\0\1"
            if act == "connect":
                await running.connect(DENIED_PORT)
            elif act == "stray":
                running.strays.send(tcp_reset(22))
            elif act == "lookup":
                await running.asker().send(query)
            elif act == "lookup over TCP":
                await (await running.connect(DNS)).send(len(query).to_bytes(2, "big") + query)
            with pytest.raises((RuntimeError, LookupError)) as failed:
                await running.task
            last: BaseException | None = failed.value
            while last is not None and not isinstance(last, LookupError):
                last = last.__cause__
            assert isinstance(last, LookupError)

    run(work)


# --- bounds --------------------------------------------------------------------------------------------


@pytest.mark.threat("S3", proves="connections beyond the most at one time are refused, and told")
def test_one_connection_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 3)

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                clients = [await running.connect(host.port) for _ in range(3)]
                await running.wrapper.fact("egress.allow", 3)
                refused = await running.connect(host.port)
                assert await refused.end() == "reset"
                (denied,) = running.wrapper.kinds("egress.deny")
                assert (denied["detail"]["reason"], denied["rule"]) == (
                    "more than 3 connections at one time",
                    "bounded",
                )
                clients.pop().close()
                for _ in range(3):
                    (await host.accept()).close()
                await running.wrapper.fact("egress.close")
                clients.append(await running.connect(host.port))
                await running.wrapper.fact("egress.allow", 4)

    run(work)


def test_without_a_descriptor_left_a_connection_waits() -> None:
    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                client = Peer(socket.socket())
                running.peers.append(client)
                resource.setrlimit(resource.RLIMIT_NOFILE, (client.socket.fileno() + 1, hard))
                try:
                    await client._loop.sock_connect(client.socket, ("127.0.0.1", running.ports[host.port]))
                    await turns()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await client.send(b"still here\n")
                assert await (await host.accept()).read(11) == b"still here\n"

    run(work)


def test_without_a_descriptor_for_the_host_a_connection_ends_and_is_told() -> None:
    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                client = Peer(socket.socket())
                running.peers.append(client)
                # One more is for the accepted connection.
                resource.setrlimit(resource.RLIMIT_NOFILE, (client.socket.fileno() + 2, hard))
                try:
                    await client._loop.sock_connect(client.socket, ("127.0.0.1", running.ports[host.port]))
                    closed = await running.wrapper.fact("egress.close")
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert "Too many open files" in closed["detail"]["end"]
                assert await client.end() == "reset"

    run(work)


@pytest.mark.parametrize(
    ("opening", "end"),
    [
        pytest.param(b"", "idle", id="said nothing"),
        pytest.param(b"raw\n", "idle", id="said something"),
        pytest.param(b"\x16\3\1\1", "idle", id="half an opening"),
    ],
)
def test_an_idle_connection_is_ended_on_both_sides(
    opening: bytes, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    monkeypatch.setattr(module, "IDLE_S", 0.03)

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                client = await running.connect(host.port)
                await client.send(opening)
                target = await host.accept()
                assert await client.end() == await target.end() == "reset"
                assert (await running.wrapper.fact("egress.close"))["detail"]["end"] == end

    monkeypatch.setattr(module, "OPENING_S", 0.03)
    run(work)


def test_an_opening_has_less_time_than_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SWEEP_S", 0.01)
    monkeypatch.setattr(module, "OPENING_S", 0.03)

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                whole, half = [await running.connect(host.port) for _ in range(2)]
                await half.send(b"GET / HT")
                await whole.send(b"raw\n")
                assert await half.end() == "reset"
                closed = await running.wrapper.fact("egress.close")
                assert (closed["detail"]["end"], closed["detail"]["up"]) == ("idle", 0)
                for target in [await host.accept() for _ in range(2)]:
                    with suppress(ConnectionResetError):
                        if await target.read(4) == b"raw\n":
                            await target.send(b"more")
                assert await whole.read(4) == b"more"

    run(work)


def test_one_busy_connection_leaves_the_others_their_turn() -> None:
    """Its two ends are threads, so that there is always something to carry."""

    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                busy, calm = [await running.connect(host.port) for _ in range(2)]
                far, near = [await host.accept() for _ in range(2)]
                for one in (busy.socket, far.socket):
                    one.setblocking(True)
                threads = [
                    asyncio.create_task(asyncio.to_thread(pump, busy.socket)),
                    asyncio.create_task(asyncio.to_thread(drain, far.socket)),
                ]
                for number in range(50):
                    said = b"ping %d\n" % number
                    await calm.send(said)
                    assert await near.read(len(said)) == said
                busy.shut()
                assert sum(await asyncio.gather(*threads)) > 0

    run(work)


def pump(one: socket.socket) -> int:
    """Sends until its side is shut."""
    with suppress(BrokenPipeError):
        one.sendall(b"raw\n")
        while True:
            one.sendall(b"x" * (1 << 16))
    return 0


def drain(one: socket.socket) -> int:
    """Reads to the end; how much there was."""
    size = 0
    while data := one.recv(1 << 18):
        size += len(data)
    return size


def test_a_client_that_has_gone_before_it_was_accepted_is_no_fault() -> None:
    async def work() -> None:
        with Targets() as host:
            async with serving(network(host.port)) as running:
                for _ in range(20):
                    gone = socket.create_connection(("127.0.0.1", running.ports[host.port]))
                    Peer(gone).reset()
                client = await running.connect(host.port)
                await client.send(b"hello\n")
                targets = [await host.accept()]
                while targets[-1].now() != b"hello\n":
                    if (more := host.waiting()) is not None:
                        targets.append(more)
                    await asyncio.sleep(0)

    run(work)
