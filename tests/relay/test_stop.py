"""The session may keep a message of the server's from the client: nobody hangs, and the message is gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sandbox.wire.jsonrpc import Frame
from tests.relay.world import PATIENCE, World, error, legacy, notification, request, result

REASON = "decoy `aws-key` in plain text"


class Stop:
    """Stops whatever holds the word, and remembers what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, frame: Frame) -> str | None:
        self.asked.append((frame.kind, threading.current_thread().name))
        return REASON if b"decoy" in frame.data else None


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def world(stop: Stop) -> Iterator[World]:
    made = World(stop=stop)
    yield made
    made.close()


def refused(id: object) -> dict[str, object]:
    text = f"mcp-sandbox: the answer was refused: {REASON}"
    return {
        "jsonrpc": "2.0",
        "id": id,
        "error": {"code": -32603, "message": text, "data": {"rule": "canary"}},
    }


def test_a_stopped_answer_becomes_an_error_for_its_call(world: World) -> None:
    world.asked(request(1), request(2))
    world.server(result(1, text="decoy"))
    assert world.relay_to_client.hear() == refused(1)
    assert world.dropped() == ["canary"], "on record before the client heard of it"
    (event,) = [event for event in world.events if event.kind == "relay.dropped"]
    assert (event.detail["id"], event.detail["reason"]) == (1, REASON)
    assert world.open_ids() == [2]
    world.server(result(1), result(2))
    assert world.relay_to_client.hear() == result(2), "and no second answer"


def test_a_stopped_error_is_an_answer_too_and_says_what_was_denied(world: World) -> None:
    world.asked(request(1))
    world.relay.explain("`a:443` is not allowed")
    world.server(error(1, "decoy"))
    answer = world.relay_to_client.hear()
    assert answer["error"]["data"] == {
        "rule": "canary",
        "mcpSandbox": {"denied": ["`a:443` is not allowed"]},
    }


def test_a_stopped_notification_is_gone_and_the_next_passes(world: World) -> None:
    world.server(notification("notifications/message", data="decoy"), notification("next"))
    assert world.relay_to_client.hear()["method"] == "next"
    assert world.dropped() == ["canary"]


def test_a_stopped_request_is_answered_without_the_reason(world: World) -> None:
    legacy(world)
    world.server(request("s", "sampling/createMessage", text="decoy"), request("t", "roots/list"))
    answer = world.relay_to_server.hear()
    assert (answer["id"], answer["error"]["data"]) == ("s", {"rule": "refused"})
    assert "decoy" not in str(answer)
    assert world.relay_to_client.hear()["id"] == "t"
    world.client(result("s"), result("t"))
    assert world.relay_to_server.hear() == result("t"), "the client was never asked"


def test_a_stopped_request_with_an_open_id_does_not_answer_the_open_one(world: World) -> None:
    legacy(world)
    world.server(request("s", "roots/list"), request("s", "roots/list", text="decoy"))
    world.until(lambda: world.dropped() == ["canary"])
    world.client(result("s", roots=[]))
    assert world.relay_to_client.hear()["id"] == "s"
    assert world.relay_to_server.hear() == result("s", roots=[])


def test_where_servers_never_ask_a_stopped_request_is_told_to_nobody(world: World) -> None:
    world.server(request("s", "sampling/createMessage", text="decoy"), notification("next"))
    assert world.relay_to_client.hear()["method"] == "next"
    world.client(request(1))
    assert world.relay_to_server.hear() == request(1)
    assert world.dropped() == ["canary"]


def test_a_stopped_answer_that_nobody_awaits_is_told_to_nobody(world: World) -> None:
    world.asked(request(1), notification("notifications/cancelled", requestId=1), request(2))
    world.server(result(1, text="decoy"), result(9, text="decoy"), error(None, "decoy"), result(2))
    assert world.relay_to_client.hear() == result(2)
    assert world.dropped() == ["canary"] * 3


def test_a_stopped_cancellation_leaves_the_servers_request_open(world: World) -> None:
    legacy(world)
    world.server(request("s", "roots/list"))
    world.relay_to_client.hear()
    world.server(notification("notifications/cancelled", requestId="s", reason="decoy"), notification("next"))
    assert world.relay_to_client.hear()["method"] == "next"
    world.client(result("s"))
    assert world.relay_to_server.hear() == result("s"), "the client knows of no cancellation"


def test_only_messages_of_the_server_are_asked_about_in_a_thread_of_the_relays(
    world: World, stop: Stop
) -> None:
    world.asked(request(1, text="decoy"), notification("x", text="decoy"))
    world.server(b"decoy noise", b'{"jsonrpc":"2.0","id":7,"result":{"decoy":NaN}}', result(1))
    assert world.relay_to_client.hear() == result(1)
    assert [kind for kind, _ in stop.asked] == ["response"]
    assert stop.asked[0][1] in ("relay-1", "relay-2")


def test_a_hook_that_fails_ends_the_forwarding() -> None:
    trouble = RuntimeError("no decoys")

    def failing(frame: Frame) -> str | None:
        raise trouble

    world = World(stop=failing)
    world.asked(request(1))
    world.server(result(1), notification("x"))
    world.until(lambda: world.relay.failed is trouble)
    assert world.changes.acquire(timeout=PATIENCE)
    world.end_server()
    assert world.relay.server_eof.wait(PATIENCE)
    assert world.relay.fail_pending(-32000, "ended") == 1
    assert world.relay_to_client.hear()["error"]["message"] == "ended", "and nothing before it"
    world.close()
