"""A denial reaches the client in the answer to the calls that were open, over real pipes."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator

import pytest

from sandbox.event import Event
from sandbox.relay.ledger import MANY_OPEN, MAX_DENIED
from tests.relay.world import PATIENCE, World, error, legacy, notification, request, result

DENIED = "`a.example:443` is not allowed, rule: default deny, web.toml [network]"


def told(answer: dict[str, object]) -> list[str]:
    """The denials that an error tells of."""
    data = answer["error"]["data"]["mcpSandbox"]  # type: ignore[index]
    assert list(data) == ["denied"]
    return list(data["denied"])


def responses(world: World) -> list[Event]:
    return [event for event in world.events if event.kind == "relay.response"]


# --- which answers say it ------------------------------------------------------------------------


def test_an_error_says_what_was_denied_while_the_call_was_open(world: World) -> None:
    world.asked(request(1, "tools/call", name="fetch"))
    assert world.relay.explain(DENIED) == 1
    came = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "fetch failed"}}'
    world.server(came)
    assert world.relay_to_client.hear() == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {
            "code": -32000,
            "message": f"fetch failed (mcp-sandbox: {DENIED})",
            "data": {"mcpSandbox": {"denied": [DENIED]}},
        },
    }
    world.until(lambda: bool(responses(world)))
    (event,) = responses(world)
    assert (event.detail["amended"], event.detail["bytes"]) == (True, len(came))
    assert event.detail["sha256"] == hashlib.sha256(came).hexdigest()[:16], "of what the server said"
    assert "example" not in str(event)


def test_a_result_that_is_an_error_gets_an_item_and_keeps_every_byte(world: World) -> None:
    world.asked(request(1))
    world.relay.explain("one")
    world.relay.explain("two")
    head = b'{"id":1 ,"jsonrpc":"2.0","result":{"n":[123456789012345678901234567890,1E5,-0.0],"content":[0'
    tail = b' ], "isError":true}}'
    world.server(head + tail)
    item = rb',{"type":"text","text":"mcp-sandbox: one\ntwo"}'
    # Before the bracket, after the blank that stood there.
    assert world.relay_to_client.line() == head + tail[:1] + item + tail[1:]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            b' {"jsonrpc": "2.0","id":1,"result":{"content":[{"type":"text"}],"n":1E5,"isError":false}}',
            id="a success",
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{"isError":true}}', id="no content to add to"),
    ],
)
def test_other_answers_pass_byte_for_byte(world: World, answer: bytes) -> None:
    world.asked(request(1))
    assert world.relay.explain(DENIED) == 1
    world.server(answer)
    assert world.relay_to_client.line() == answer
    world.until(lambda: bool(responses(world)))
    assert "amended" not in responses(world)[0].detail


def test_an_answer_at_the_cap_passes_as_it_came() -> None:
    world = World(cap=1000)
    world.asked(request(1), request(2))
    world.relay.explain(DENIED)
    # The words and the data take less than 300 bytes.
    large, small = json.dumps(error(1, "x" * 850)).encode(), json.dumps(error(2, "x" * 500)).encode()
    world.server(large, small)
    assert world.relay_to_client.line() == large
    assert told(world.relay_to_client.hear()) == [DENIED]
    world.until(lambda: len(responses(world)) == 2)
    assert ["amended" in event.detail for event in responses(world)] == [False, True]
    world.close()


# --- which calls are told ------------------------------------------------------------------------


def test_only_the_calls_that_were_open_say_it(world: World) -> None:
    world.asked(request(1), request("1"))
    assert world.relay.explain("early") == 2
    world.asked(request(2))
    assert world.relay.explain("late") == 3
    world.asked(request(3))
    world.server(error(2), error("1"), error(3), error(1))
    assert told(world.relay_to_client.hear()) == ["late"]
    assert told(world.relay_to_client.hear()) == ["early", "late"]
    assert world.relay_to_client.hear() == error(3)
    assert told(world.relay_to_client.hear()) == ["early", "late"]


def test_an_explanation_after_the_answer_tells_nobody(world: World) -> None:
    world.asked(request(1))
    world.server(error(1))
    assert world.relay_to_client.hear() == error(1)
    assert world.relay.explain(DENIED) == 0
    world.asked(request(1))
    world.server(error(1))
    assert world.relay_to_client.hear() == error(1), "the next call of that id is another"


def test_a_call_answered_with_success_leaves_nothing_to_the_next_of_its_id(world: World) -> None:
    world.asked(request(1))
    assert world.relay.explain(DENIED) == 1
    world.server(result(1))
    assert world.relay_to_client.hear() == result(1)
    world.asked(request(1))
    world.server(error(1))
    assert world.relay_to_client.hear() == error(1)


def test_a_cancelled_call_is_told_nothing(world: World) -> None:
    world.asked(request(1), request(2))
    assert world.relay.explain("early") == 2
    world.asked(notification("notifications/cancelled", requestId=1))
    assert (world.relay.open_calls(), world.relay.explain("late")) == (1, 1)
    world.server(error(1), error(2))
    assert world.relay_to_client.hear() == error(1)
    assert told(world.relay_to_client.hear()) == ["early", "late"]


def test_a_ping_and_a_subscription_are_no_calls(world: World) -> None:
    assert (world.relay.open_calls(), world.relay.explain(DENIED)) == (0, 0)
    world.asked(request(1, "ping"), request(2, "subscriptions/listen"))
    assert (world.relay.open_calls(), world.relay.explain(DENIED)) == (0, 0)
    world.asked(request(3, "initialize"), request(4, "tools/call"))
    assert (world.relay.open_calls(), world.relay.explain(DENIED)) == (2, 2)
    world.server(error(1), error(2))
    assert [world.relay_to_client.hear() for _ in range(2)] == [error(1), error(2)]
    world.server(error(3))
    assert told(world.relay_to_client.hear()) == [DENIED]
    assert world.relay.open_calls() == 1


def test_a_request_of_the_servers_is_no_call(world: World) -> None:
    legacy(world)
    world.server(request("s", "roots/list"))
    world.relay_to_client.hear()
    assert (world.relay.open_calls(), world.relay.explain(DENIED)) == (0, 0)
    world.client(error("s"))
    assert world.relay_to_server.hear() == error("s")


# --- how much is kept ----------------------------------------------------------------------------


def test_a_call_is_told_of_each_denial_once_and_of_eight(world: World) -> None:
    world.asked(request(1))
    for number in [*range(MAX_DENIED + 3), 0, 1]:
        assert world.relay.explain(f"denied {number}") == 1
    world.server(error(1))
    answer = world.relay_to_client.hear()
    kept = [*(f"denied {number}" for number in range(MAX_DENIED)), "… and 3 more"]
    assert told(answer) == kept
    assert answer["error"]["message"] == f"failed (mcp-sandbox: {'; '.join(kept)})"


def test_where_hundreds_of_calls_are_open_each_keeps_its_first_denial(world: World) -> None:
    world.asked(*[request(number) for number in range(MANY_OPEN + 1)])
    for text in ("one", "two", "three"):
        assert world.relay.explain(text) == MANY_OPEN + 1
    world.server(error(7))
    assert told(world.relay_to_client.hear()) == ["one", "… and 2 more"]


def test_what_no_answer_could_carry_is_made_plain(world: World) -> None:
    world.asked(request(1))
    world.relay.explain("/home/\udcff\x1b[2J" + "x" * 10_000)
    world.server(error(1))
    (text,) = told(world.relay_to_client.hear())
    assert (text[:12], len(text)) == ("/home/\ufffd\ufffd[2Jx", 512)


# --- threads -------------------------------------------------------------------------------------


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns so often that whatever no lock holds together comes apart."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_denials_come_from_another_thread_while_answers_flow(world: World) -> None:
    calls, texts = 200, [f"denied {number}" for number in range(2000)]
    world.asked(*[request(number) for number in range(calls)])
    assert world.relay.explain(texts[0]) == calls
    counts: list[int] = []
    deny = threading.Thread(target=lambda: counts.extend(map(world.relay.explain, texts)))
    answer = threading.Thread(target=world.server, args=[error(number) for number in range(calls)])
    deny.start()
    answer.start()
    for number in range(calls):
        heard = world.relay_to_client.hear()
        kept = told(heard)
        whole = [text for text in kept if text in texts]
        assert heard["id"] == number
        assert whole == texts[: len(whole)], "in order, each once"
        assert len(whole) == len(kept) or (len(whole), kept[MAX_DENIED][:5]) == (MAX_DENIED, "… and")
        assert heard["error"]["message"] == f"failed (mcp-sandbox: {'; '.join(kept)})"
    deny.join(PATIENCE)
    answer.join(PATIENCE)
    assert counts == sorted(counts, reverse=True), "no call comes back"
    assert world.relay.explain("last") == 0


# --- our own answers -----------------------------------------------------------------------------


def test_the_calls_that_fail_at_the_end_say_it_too(world: World) -> None:
    world.asked(request(1))
    world.relay.explain("one")
    world.asked(request(2))
    world.relay.explain("two")
    world.asked(request(3))
    assert world.relay.fail_pending(-32000, "the server ended", {"rule": "server-exit"}) == 3
    first, second, third = [world.relay_to_client.hear()["error"] for _ in range(3)]
    assert first == {
        "code": -32000,
        "message": "the server ended (mcp-sandbox: one; two)",
        "data": {"rule": "server-exit", "mcpSandbox": {"denied": ["one", "two"]}},
    }
    assert (second["message"], third["message"]) == (
        "the server ended (mcp-sandbox: two)",
        "the server ended",
    )
    assert third["data"] == {"rule": "server-exit"}
    assert world.relay.explain(DENIED) == 0


def test_a_broken_answer_becomes_an_error_that_says_it_too(world: World) -> None:
    world.asked(request(1))
    world.relay.explain(DENIED)
    world.server(b'{"jsonrpc":"2.0","id":1,"result":{"a":NaN}}')
    answer = world.relay_to_client.hear()
    assert answer["error"]["data"] == {"rule": "frame-nan", "mcpSandbox": {"denied": [DENIED]}}


def test_a_client_that_has_gone_is_noticed_by_an_amended_answer_too(world: World) -> None:
    world.asked(request(1))
    world.relay.explain(DENIED)
    world.relay_to_client.close(world.relay_to_client.read_end)
    world.server(error(1))
    assert world.relay.client_gone.wait(PATIENCE)
    world.until(lambda: world.dropped() == ["client-gone"])
    assert responses(world) == []
