"""The relay over real pipes, with its real threads; the test plays the client and the server."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox.errors import AuditError
from sandbox.event import Event
from sandbox.relay.stdio import Relay

PATIENCE = 10.0


class Pipe:
    """One os.pipe; each end is closed once."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self._open = {self.read_end, self.write_end}
        self._left = b""

    def close(self, end: int) -> None:
        if end in self._open:
            self._open.discard(end)
            os.close(end)

    def forget(self, end: int) -> None:
        """Somebody else closes `end`."""
        self._open.discard(end)

    def close_all(self) -> None:
        for end in list(self._open):
            self.close(end)

    def say(self, *lines: object) -> None:
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode()
            left = memoryview(data + b"\n")
            while left:
                left = left[os.write(self.write_end, left) :]

    def line(self) -> bytes:
        """The next line; empty at the end."""
        while b"\n" not in self._left:
            if not (chunk := os.read(self.read_end, 1 << 16)):
                return b""
            self._left += chunk
        line, self._left = self._left.split(b"\n", 1)
        return line

    def hear(self) -> dict[str, Any]:
        value = json.loads(self.line())
        assert isinstance(value, dict)
        return value


class World:
    """A relay between the test's client and the test's server."""

    def __init__(self, emit: Callable[[Event], None] | None = None, cap: int = 1 << 16) -> None:
        self.client_to_relay, self.relay_to_client = Pipe(), Pipe()
        self.relay_to_server, self.server_to_relay = Pipe(), Pipe()
        self.events: list[Event] = []
        self.noise: list[bytes] = []
        self.changes = threading.Semaphore(0)
        self.relay = Relay(
            client_in=self.client_to_relay.read_end,
            client_out=self.relay_to_client.write_end,
            server_in=self.relay_to_server.write_end,
            server_out=self.server_to_relay.read_end,
            emit=emit or self.events.append,
            noise=self.noise.append,
            changed=self.changes.release,
            cap=cap,
        )
        self.relay_to_server.forget(self.relay_to_server.write_end)
        self.relay.start()

    def client(self, *lines: object) -> None:
        self.client_to_relay.say(*lines)

    def server(self, *lines: object) -> None:
        self.server_to_relay.say(*lines)

    def end_client(self) -> None:
        self.client_to_relay.close(self.client_to_relay.write_end)

    def end_server(self) -> None:
        self.server_to_relay.close(self.server_to_relay.write_end)
        self.relay_to_server.close(self.relay_to_server.read_end)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.002)

    def dropped(self) -> list[str]:
        return [event.rule for event in self.events if event.kind == "relay.dropped"]

    def open_ids(self) -> list[object]:
        return [call.id for call in self.relay.pending_calls()]

    def close(self) -> None:
        self.end_client()
        self.end_server()
        # Drain: the relay may still be writing to a client that no longer cares.
        self.relay_to_client.close(self.relay_to_client.read_end)
        assert self.relay.client_eof.wait(PATIENCE)
        assert self.relay.server_eof.wait(PATIENCE)
        for pipe in (self.client_to_relay, self.relay_to_client, self.relay_to_server, self.server_to_relay):
            pipe.close_all()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def request(id: object, method: str = "tools/list", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def result(id: object, **value: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def notification(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


INITIALIZE = request(0, "initialize", protocolVersion="2025-11-25")
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def legacy(world: World) -> None:
    world.client(INITIALIZE)
    assert world.relay_to_server.hear()["method"] == "initialize"
    world.server(result(0))
    assert world.relay_to_client.hear()["id"] == 0


# --- what passes ---------------------------------------------------------------------------------


def test_messages_pass_unchanged_both_ways(world: World) -> None:
    asked = b' {"jsonrpc": "2.0",\t"id":"a","method":"tools/call","params":{"name":"e\\u0063ho"}}'
    world.client(asked + b"\r")
    assert world.relay_to_server.line() == asked
    told = '{"result":{"text":"é\u2028"},"jsonrpc":"2.0","id":"a"}'.encode()
    world.server(told)
    assert world.relay_to_client.line() == told
    note = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"x":1.50}}'
    world.server(note)
    assert world.relay_to_client.line() == note


def test_events_say_what_passed_without_its_payload(world: World) -> None:
    world.client(request(1, "tools/call", name="echo", arguments={"text": "hunter2"}))
    world.relay_to_server.hear()
    world.server(result(1, text="hunter3"))
    world.relay_to_client.hear()
    world.until(lambda: len(world.events) == 2)
    # Two threads report: the order between them is not promised.
    first, second = sorted(world.events, key=lambda event: event.kind)
    assert (first.kind, second.kind) == ("relay.request", "relay.response")
    assert first.detail["direction"] == "to-server"
    assert (first.detail["id"], first.detail["method"], first.detail["tool"]) == (1, "tools/call", "echo")
    assert second.detail["error"] is False
    assert len(str(first.detail["sha256"])) == 16
    assert "hunter" not in str(world.events)


def test_half_close_everything_is_delivered_before_the_server_sees_the_end(world: World) -> None:
    world.client(*[request(n) for n in range(50)])
    world.end_client()
    assert [world.relay_to_server.hear()["id"] for _ in range(50)] == list(range(50))
    assert world.relay_to_server.line() == b""
    world.server(result(49))
    assert world.relay_to_client.hear()["id"] == 49, "the way back stays open"
    assert world.relay.client_eof.is_set()


def test_the_session_can_close_the_servers_input(world: World) -> None:
    world.relay.close_server_stdin()
    assert world.relay_to_server.line() == b""
    world.client(request(1))
    assert world.relay_to_client.hear()["error"]["data"] == {"rule": "server-gone"}


def test_activity_and_the_first_word_are_seen(world: World) -> None:
    before = world.relay.last_activity
    world.server(b"banner")
    world.until(lambda: bool(world.noise))
    assert not world.relay.server_spoke.is_set()
    world.server(notification("notifications/message"))
    assert world.relay.server_spoke.wait(PATIENCE)
    assert world.relay.last_activity > before
    assert world.changes.acquire(timeout=PATIENCE)


# --- ids -----------------------------------------------------------------------------------------


@pytest.mark.threat("S8", proves="an answer to a request never asked, or under another type of id, is dropped")
def test_an_answer_never_asked_for_is_dropped_by_type(world: World) -> None:
    world.client(request(1))
    world.relay_to_server.hear()
    world.server(result("1", forged=True), result(2), result(1, real=True), result(1, again=True))
    assert world.relay_to_client.hear() == result(1, real=True)
    world.until(lambda: len(world.dropped()) == 3)
    assert set(world.dropped()) == {"unasked-response"}
    world.server(notification("notifications/message"))
    assert "method" in world.relay_to_client.hear()


def test_a_duplicate_id_is_refused_without_answering_the_first(world: World) -> None:
    world.client(request(1, "first"), request(1, "second"), request("1", "third"))
    refused = world.relay_to_client.hear()
    assert (refused["id"], refused["error"]["code"]) == (None, -32600)
    assert [world.relay_to_server.hear()["method"] for _ in range(2)] == ["first", "third"]
    assert world.open_ids() == [1, "1"]
    world.server(result(1))
    assert world.relay_to_client.hear() == result(1)


def test_a_cancelled_request_may_be_answered_or_not(world: World) -> None:
    world.client(request(1), request(2), notification("notifications/cancelled", requestId=1))
    world.client(notification("notifications/cancelled", requestId=True), request(3))
    assert [world.relay_to_server.line() for _ in range(5)]
    assert world.open_ids() == [2, 3]
    world.server(result(1), result(2))
    assert [world.relay_to_client.hear()["id"] for _ in range(2)] == [1, 2]
    world.server(result(1), result(3))
    assert world.relay_to_client.hear()["id"] == 3, "the second late answer is unasked"


def test_a_refused_request_never_reaches_the_server(world: World) -> None:
    world.client(b'{"jsonrpc":"2.0","id":5,"method":"x","params":{"a":1,"a":2}}', b"garbage", request(6))
    told = world.relay_to_client.hear()
    assert (told["id"], told["error"]["code"]) == (5, -32600)
    assert told["error"]["data"] == {"rule": "frame-duplicate-key"}
    told = world.relay_to_client.hear()
    assert (told["id"], told["error"]["code"]) == (None, -32700)
    assert world.relay_to_server.hear()["id"] == 6
    assert world.open_ids() == [6]


def test_a_refused_line_with_an_open_id_does_not_answer_the_open_request(world: World) -> None:
    world.client(request(5), b'{"jsonrpc":"2.0","id":5,"method":"x","params":[]}')
    assert world.relay_to_client.hear()["id"] is None
    assert world.open_ids() == [5]


def test_every_request_of_a_batch_is_answered(world: World) -> None:
    world.client([request(1), request("2"), notification("x")])
    assert [world.relay_to_client.hear()["id"] for _ in range(2)] == [1, "2"]


# --- what servers do wrong -----------------------------------------------------------------------

BROKEN = [
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":NaN}}', "frame-nan", id="NaN"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":1,"a":2}}', "frame-duplicate-key", id="duplicate key"),
    pytest.param(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":7,"result":{}}', "frame-bom", id="byte order mark"),
    pytest.param(b'[{"jsonrpc":"2.0","id":7,"result":{}}]', "frame-batch", id="batch"),
    pytest.param(b'{\n  "jsonrpc": "2.0",\n  "id": 7,\n  "result": {}\n}', "frame-pretty", id="pretty-printed"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":"\xff"}}', "frame-utf8", id="invalid UTF-8"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":"\\udfff"}}', "frame-surrogate", id="lone surrogate"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":%s}' % (b"[" * 200), "frame-depth", id="depth, cut"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":[]}', "frame-envelope", id="a result that is a list"),
    pytest.param(b'{"id":7,"result":{}}', "frame-envelope", id="no version"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"}}' % (b"x" * 70_000), "frame-size", id="too long"),
    pytest.param(b'{"result":{"a":"%s"},"jsonrpc":"2.0","id":7}' % (b"x" * 70_000), "frame-size",
                 id="too long, id last"),
    pytest.param(b'hello{"jsonrpc":"2.0","id":7,"result":{}}', "frame-json", id="a banner without newline"),
]  # fmt: skip


@pytest.mark.threat("C3", proves="a malformed answer becomes an error for its request: the client never hangs")
@pytest.mark.parametrize(("line", "rule"), BROKEN)
def test_a_broken_answer_becomes_an_error_for_its_request(world: World, line: bytes, rule: str) -> None:
    world.client(request(6), request(7))
    world.until(lambda: len(world.relay.pending_calls()) == 2)
    world.server(line, result(6))
    told = world.relay_to_client.hear()
    assert (told["id"], told["error"]["code"]) == (7, -32603)
    if rule != "frame-depth":
        assert told["error"]["data"] == {"rule": rule}
    assert world.relay_to_client.hear() == result(6)
    world.until(lambda: len(world.dropped()) == 1)
    assert world.open_ids() == []


def test_banners_go_to_the_log_and_not_to_the_client(world: World) -> None:
    legacy(world)
    world.server(b"Welcome!", b"", b'{"level":"info","id":9}', b"[DEBUG] x")
    world.server(notification("notifications/message"))
    assert "method" in world.relay_to_client.hear()
    assert world.noise == [b"Welcome!", b'{"level":"info","id":9}', b"[DEBUG] x"]
    assert world.dropped() == []


def test_a_flood_of_noise_is_a_handful_of_events_that_count_it_all(world: World) -> None:
    for _ in range(20):
        world.server(b"\n".join([b"noise"] * 1000))
    world.end_server()
    assert world.relay.server_eof.wait(PATIENCE)
    reports = [event for event in world.events if event.kind == "relay.noise"]
    assert sum(int(str(event.detail["lines"])) for event in reports) == 20_000
    assert len(reports) < 100


# --- eras ----------------------------------------------------------------------------------------


def test_in_the_legacy_era_servers_may_ask_and_clients_answer(world: World) -> None:
    legacy(world)
    world.server(request("s1", "roots/list"), request(0, "ping"))
    assert [world.relay_to_client.hear()["id"] for _ in range(2)] == ["s1", 0]
    world.client(result("s1", roots=[]), result(0), result("s2"), request(1))
    assert [world.relay_to_server.hear()["id"] for _ in range(3)] == ["s1", 0, 1]
    world.until(lambda: world.dropped() == ["unasked-response"])


def test_a_refused_request_or_answer_is_told_to_the_server(world: World) -> None:
    legacy(world)
    world.server(b'{"jsonrpc":"2.0","id":4,"method":"ping","params":[]}', request(5, "ping"))
    told = world.relay_to_server.hear()
    assert (told["id"], told["error"]["data"]) == (4, {"rule": "frame-envelope"})
    assert world.relay_to_client.hear()["id"] == 5
    world.client(b'{"jsonrpc":"2.0","id":5,"result":{"a":NaN}}')
    told = world.relay_to_server.hear()
    assert (told["id"], told["error"]["data"]) == (5, {"rule": "frame-nan"})


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(request(0, "server/discover"), id="discover"),
        pytest.param(request(0, "tools/list", _meta=MODERN), id="a version in _meta"),
    ],
)
def test_in_the_modern_era_servers_never_ask_and_clients_never_answer(world: World, first: object) -> None:
    world.client(first)
    world.relay_to_server.hear()
    world.server(request(1, "sampling/createMessage"), result(0))
    assert world.relay_to_client.hear() == result(0)
    world.client(result(1), request(2, _meta=MODERN))
    assert world.relay_to_server.hear()["id"] == 2
    world.until(lambda: world.dropped() == ["request-from-server", "response-from-client"])


def test_before_the_clients_first_word_servers_never_ask(world: World) -> None:
    world.server(request(1, "sampling/createMessage"), notification("x"))
    assert world.relay_to_client.hear()["method"] == "x"


def test_a_client_that_probes_and_falls_back_is_legacy(world: World) -> None:
    world.client(request(9, "server/discover", _meta=MODERN))
    world.relay_to_server.hear()
    world.server({"jsonrpc": "2.0", "id": 9, "error": {"code": -32601, "message": "?"}})
    world.relay_to_client.hear()
    legacy(world)
    assert world.relay.era == "legacy"
    world.server(request(1, "ping"))
    assert world.relay_to_client.hear()["method"] == "ping"


def test_a_server_may_end_a_subscription_and_no_other_request(world: World) -> None:
    world.client(request(1, "subscriptions/listen", _meta=MODERN), request(2, _meta=MODERN))
    world.until(lambda: world.open_ids() == [1, 2])
    world.server(notification("notifications/cancelled", requestId=1))
    world.server(notification("notifications/cancelled", requestId=2))
    assert [world.relay_to_client.hear()["params"]["requestId"] for _ in range(2)] == [1, 2]
    assert world.open_ids() == [2]


# --- ends ----------------------------------------------------------------------------------------


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
    world = World(cap=1 << 20)
    world.client(*[request(n) for n in range(2)])
    world.until(lambda: len(world.relay.pending_calls()) == 2)
    filler = threading.Thread(target=world.server, args=[result(0, a="x" * 500_000)])
    filler.start()
    world.until(lambda: len(world.relay.pending_calls()) == 1)
    started = time.monotonic()
    assert world.relay.fail_pending(-32000, "killed", within=0.2) == 0
    assert time.monotonic() - started < 2
    assert world.relay_to_client.hear() == result(0, a="x" * 500_000), "and it wrote nothing into that frame"
    filler.join()
    world.close()


@pytest.mark.threat("S7", proves="a message that cannot be recorded is the last: nothing is forwarded after it")
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
    assert 64 << 10 < sent < 1 << 20
    assert peak < 1 << 20
    world.close()


def test_open_requests_are_bounded(world: World) -> None:
    reader = threading.Thread(target=lambda: [world.relay_to_server.line() for _ in range(4096)])
    reader.start()
    world.client(*[request(n, "m") for n in range(4097)])
    told = world.relay_to_client.hear()
    assert (told["id"], told["error"]["data"]) == (4096, {"rule": "too-many-open"})
    reader.join()
    assert len(world.relay.pending_calls()) == 4096
