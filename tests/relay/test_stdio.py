"""The relay over real pipes, with its real threads: what passes, and what both sides may do wrong."""

from __future__ import annotations

import pytest

from tests.relay.world import MODERN, PATIENCE, World, legacy, notification, request, result

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
    world.until(world.relay.client_eof.is_set)


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


@pytest.mark.threat(
    "S8", proves="an answer to a request never asked, or under another type of id, is dropped"
)
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
    pytest.param(
        b'{"jsonrpc":"2.0","id":7,"result":{"a":1,"a":2}}', "frame-duplicate-key", id="duplicate key"
    ),
    pytest.param(b'\xef\xbb\xbf{"jsonrpc":"2.0","id":7,"result":{}}', "frame-bom", id="byte order mark"),
    pytest.param(b'[{"jsonrpc":"2.0","id":7,"result":{}}]', "frame-batch", id="batch"),
    pytest.param(
        b'{\n  "jsonrpc": "2.0",\n  "id": 7,\n  "result": {}\n}', "frame-pretty", id="pretty-printed"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":"\xff"}}', "frame-utf8", id="invalid UTF-8"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":7,"result":{"a":"\\udfff"}}', "frame-surrogate", id="lone surrogate"
    ),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":%s}' % (b"[" * 200), "frame-depth", id="depth, cut"),
    pytest.param(b'{"jsonrpc":"2.0","id":7,"result":[]}', "frame-envelope", id="a result that is a list"),
    pytest.param(b'{"id":7,"result":{}}', "frame-envelope", id="no version"),
    pytest.param(
        b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"}}' % (b"x" * 70_000), "frame-size", id="too long"
    ),
    pytest.param(
        b'{"result":{"a":"%s"},"jsonrpc":"2.0","id":7}' % (b"x" * 70_000),
        "frame-size",
        id="too long, id last",
    ),
    pytest.param(b'hello{"jsonrpc":"2.0","id":7,"result":{}}', "frame-json", id="a banner without newline"),
]


@pytest.mark.threat(
    "C3", proves="a malformed answer becomes an error for its request: the client never hangs"
)
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
