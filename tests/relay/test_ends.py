"""How a session ends: dead servers, closed clients, failing audit, slow readers."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from sandbox.errors import AuditError
from sandbox.event import Event
from tests.relay.world import PATIENCE, World, notification, request, result


def test_a_dead_server_leaves_no_request_without_an_answer(world: World) -> None:
    world.client(request(1), request("1"), request(2), notification("notifications/cancelled", requestId=2))
    world.client(request(3))
    world.until(lambda: world.open_ids() == [1, "1", 3])
    world.server(result(3))
    world.end_server()
    assert world.relay.server_eof.wait(PATIENCE)
    assert world.relay.fail_pending(-32000, "the server ended", {"rule": "server-exit"}) == 2
    assert world.relay_to_client.hear() == result(3)
    told = [world.relay_to_client.hear() for _ in range(2)]
    assert [(answer["id"], answer["error"]["message"]) for answer in told] == [
        (1, "the server ended"),
        ("1", "the server ended"),
    ]
    assert world.relay.fail_pending(-32000, "again") == 0
    world.client(request(4))
    late = world.relay_to_client.hear()
    assert (late["id"], late["error"]["message"]) == (4, "the server ended")
    assert late["error"]["data"] == {"rule": "server-exit"}


def test_each_call_is_answered_exactly_once_when_the_end_races_the_answers() -> None:
    for _ in range(20):
        world = World()
        world.client(*[request(n) for n in range(40)])
        world.until(lambda: len(world.relay.pending_calls()) == 40)  # noqa: B023 - called before the next round
        answers = threading.Thread(target=world.server, args=[result(n, a="x" * 200) for n in range(40)])
        answers.start()
        world.relay.fail_pending(-32000, "killed")
        answers.join()
        seen = [world.relay_to_client.hear()["id"] for _ in range(40)]
        assert sorted(map(int, seen)) == list(range(40))
        world.close()


def test_failing_the_open_calls_never_waits_for_a_client_that_reads_nothing() -> None:
    world = World(cap=4 << 20)
    world.client(*[request(n) for n in range(2)])
    world.until(lambda: len(world.relay.pending_calls()) == 2)
    large = result(0, a="x" * (3 << 20))  # more than the widened pipe holds
    filler = threading.Thread(target=world.server, args=[large])
    filler.start()
    world.until(lambda: len(world.relay.pending_calls()) == 1)
    started = time.monotonic()
    assert world.relay.fail_pending(-32000, "killed", within=0.2) == 0
    assert time.monotonic() - started < 2
    assert world.relay_to_client.hear() == large, "and it wrote nothing into that frame"
    filler.join()
    world.close()


@pytest.mark.threat(
    "S7", proves="a message that cannot be recorded is the last: nothing is forwarded after it"
)
def test_nothing_passes_once_the_audit_fails() -> None:
    def full(event: Event) -> None:
        raise AuditError("audit-write", "no space left")

    world = World(emit=full)
    world.client(request(1))
    world.relay_to_server.hear()
    world.until(lambda: isinstance(world.relay.failed, AuditError))
    assert world.changes.acquire(timeout=PATIENCE)
    world.client(request(2))
    world.server(result(1))
    world.end_client()
    assert world.relay_to_server.line() == b""
    world.end_server()
    assert world.relay.server_eof.wait(PATIENCE)
    world.relay_to_client.close(world.relay_to_client.write_end)
    assert world.relay_to_client.line() == b""
    world.close()


def test_a_client_that_closed_its_input_is_noticed(world: World) -> None:
    world.relay_to_client.close(world.relay_to_client.read_end)
    world.server(notification("notifications/message"))
    assert world.relay.client_gone.wait(PATIENCE)
    world.server(notification("notifications/message"))
    world.until(lambda: world.dropped() == ["client-gone"] * 2)


def test_a_server_that_reads_no_more_gets_errors_for_the_client(world: World) -> None:
    world.relay_to_server.close(world.relay_to_server.read_end)
    world.client(request(1), notification("x"), request(2))
    assert [world.relay_to_client.hear()["id"] for _ in range(2)] == [1, 2]
    assert world.open_ids() == []


def test_a_non_blocking_client_is_waited_for() -> None:
    world = World(cap=1 << 20)
    os.set_blocking(world.client_to_relay.read_end, False)
    os.set_blocking(world.relay_to_client.write_end, False)
    world.client(request(1))
    world.relay_to_server.hear()
    big = threading.Thread(target=world.server, args=[result(1, a="x" * 900_000)])
    big.start()
    assert len(world.relay_to_client.line()) > 900_000
    big.join()
    world.close()


# --- memory --------------------------------------------------------------------------------------


@pytest.mark.threat("S3", proves="a client that does not read stops the server; the relay holds one frame")
def test_a_slow_reader_stops_the_writer_and_memory_stays_small() -> None:
    import tracemalloc

    world = World(cap=1 << 20)
    sent = 0
    stop = threading.Event()

    def flood() -> None:
        nonlocal sent
        line = json.dumps(notification("notifications/message", data="x" * 4000)).encode() + b"\n"
        os.set_blocking(world.server_to_relay.write_end, False)
        while not stop.is_set():
            try:
                sent += os.write(world.server_to_relay.write_end, line * 8)
            except BlockingIOError:
                if stop.wait(0.01):
                    return

    tracemalloc.start()
    thread = threading.Thread(target=flood)
    thread.start()
    try:
        before = -1
        while before != sent:  # until the pipes are full and nothing moves
            before = sent
            stop.wait(0.2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        stop.set()
        thread.join()
    assert 64 << 10 < sent < 3 << 20, "two pipes and one read"
    assert peak < 3 << 20
    world.close()


def test_open_requests_are_bounded(world: World) -> None:
    reader = threading.Thread(target=lambda: [world.relay_to_server.line() for _ in range(4096)])
    reader.start()
    world.client(*[request(n, "m") for n in range(4097)])
    told = world.relay_to_client.hear()
    assert (told["id"], told["error"]["data"]) == (4096, {"rule": "too-many-open"})
    reader.join()
    assert len(world.relay.pending_calls()) == 4096
