"""The stateless era (MCP 2026-07-28): one child a principal, and clients of it that never meet."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from sandbox.serve import shared
from sandbox.serve.capacity import Capacity
from sandbox.serve.shared import Shared
from sandbox.serve.words import Principal, Reply
from tests.serve.asking import (
    ALICE,
    BOB,
    META,
    Answer,
    World,
    code,
    hang_up,
    message,
    messages,
    note,
    played,
    request,
    result,
)

VERSION = {"mcp_protocol_version": "2026-07-28"}
PROGRESS = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"ID","progress":1}}'
LOG = '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}}'
CHANGED = (
    '{"jsonrpc":"2.0","method":"notifications/tools/list_changed",'
    '"params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"ID"}}}'
)
LEVEL = {"io.modelcontextprotocol/logLevel": "info"}


async def _heard(world: World, who: Principal = ALICE) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result(await world.modern("heard", "heard", who))["heard"]
    return found[:-1]


async def _opened(world: World, n: int) -> None:
    """Until so many requests wait for an answer."""
    async with asyncio.timeout(10):
        while _open_calls(world) < n:  # noqa: ASYNC110 - what the world shows
            await asyncio.sleep(0.01)


def _open_calls(world: World) -> int:
    return sum(len(one._calls) for one in world.service.live if isinstance(one, Shared))


def test_requests_of_one_principal_have_one_child_and_another_has_its_own() -> None:
    async def play(world: World) -> None:
        pids = [result(await world.modern("heard", 1, who))["pid"] for who in (ALICE, ALICE, BOB)]
        narrowed = result(await world.modern("heard", 1, Principal("alice", ("read_*",))))
        assert pids[0] == pids[1] != pids[2]
        assert narrowed["pid"] not in pids
        assert narrowed["argv"] == ["run", "--only-tools=read_*"]

    played(play)


@pytest.mark.parametrize("id", [1, "1", 0, -5, "é", 2**53 - 1])
def test_two_clients_with_the_same_id_get_each_its_own_answer(id: int | str) -> None:
    async def play(world: World) -> None:
        asked = [world.modern("echo", id, n=n, _meta={"progressToken": id}) for n in range(5)]
        replies = await asyncio.gather(*asked)
        assert [message(one)["id"] for one in replies] == [id] * 5
        assert [result(one)["echo"]["n"] for one in replies] == list(range(5))
        sent = [one for one in await _heard(world) if one["method"] == "echo"]
        assert len({one["id"] for one in sent}) == 5
        assert [one["params"]["_meta"]["progressToken"] for one in sent] == [one["id"] for one in sent]

    played(play)


def test_progress_comes_under_the_clients_own_token_on_its_own_stream() -> None:
    async def play(world: World) -> None:
        waiting = asyncio.create_task(
            world.modern("say", 1, lines=[], silent=True, _meta={"progressToken": "t"})
        )
        await _opened(world, 1)
        reply = await world.modern("say", 1, lines=[PROGRESS], _meta={"progressToken": "t"})
        said = await messages(reply)
        assert [one.get("params", {}).get("progressToken") for one in said] == ["t", None]
        assert said[-1]["id"] == 1
        assert not waiting.done()
        waiting.cancel()

    played(play)


def test_a_subscription_hears_under_its_own_id_until_it_is_closed() -> None:
    async def play(world: World) -> None:
        streams = [await world.modern("say", id, lines=[CHANGED], silent=True) for id in ("sub", "other")]
        for stream, id in zip(streams, ("sub", "other"), strict=True):
            told = (await messages(stream, 1))[0]["params"]["_meta"]
            assert told == {"io.modelcontextprotocol/subscriptionId": id}
        await hang_up(streams[0])
        *_, cancelled = await _heard(world)
        first = next(one["id"] for one in await _heard(world) if one["method"] == "say")
        assert cancelled["method"] == "notifications/cancelled"
        assert cancelled["params"]["requestId"] == first
        await hang_up(streams[1])

    played(play)


def test_a_subscription_ends_with_the_token_that_asked_for_it_and_its_server_hears_of_it() -> None:
    async def play(world: World) -> None:
        expiring = Principal("alice", None, time.time() + 0.3)
        filled = asyncio.create_task(world.modern("subscriptions/listen", 1, expiring, notifications={}))
        other = asyncio.create_task(world.modern("subscriptions/listen", 2, ALICE, notifications={}))
        ended = await filled
        assert isinstance(ended, Reply)
        assert await messages(ended) == []
        assert [one["method"] for one in await _heard(world)][2:] == ["notifications/cancelled"]
        assert not other.done()
        other.cancel()

    played(play)


def test_a_server_that_ends_a_subscription_ends_its_stream_and_that_of_no_call() -> None:
    async def play(world: World) -> None:
        end = '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"ID"}}'
        listened = await world.modern("subscriptions/listen", "sub", lines=[CHANGED, end])
        assert len(await messages(listened)) == 1
        called = await world.modern("say", "call", lines=[CHANGED, end])
        assert [one.get("id") for one in await messages(called)] == [None, "call"]

    played(play)


def test_hanging_up_before_the_first_word_cancels_too() -> None:
    async def play(world: World) -> None:
        asking = asyncio.create_task(world.modern("say", 7, lines=[], silent=True))
        while len(await _heard(world)) < 2:  # noqa: ASYNC110 - what the world shows
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        cancelled = [one for one in await _heard(world) if one["method"] == "notifications/cancelled"]
        assert len(cancelled) == 1

    played(play)


def test_a_log_message_goes_to_the_one_request_that_asked_for_logs_and_else_to_nobody() -> None:
    async def play(world: World) -> None:
        quiet = asyncio.create_task(world.modern("say", 1, lines=[], silent=True))
        loud = await world.modern("say", 2, lines=[LOG], _meta=LEVEL)
        assert [one.get("method") for one in await messages(loud)] == ["notifications/message", None]
        assert result(await world.modern("say", 3, lines=[LOG])) == {"said": 1}
        one = asyncio.create_task(world.modern("say", 4, lines=[], silent=True, _meta=LEVEL))
        await asyncio.sleep(0)
        # Two asked: whose it is cannot be known, and no client hears what may be another's.
        assert result(await world.modern("say", 5, lines=[LOG], _meta=LEVEL)) == {"said": 1}
        quiet.cancel()
        one.cancel()

    played(play)


def test_a_servers_request_reaches_no_client_of_this_era() -> None:
    async def play(world: World) -> None:
        ask = '{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}'
        assert result(await world.modern("say", 1, lines=[ask])) == {"said": 1}

    played(play)


def test_the_child_that_dies_answers_all_and_the_next_request_has_a_new_one() -> None:
    async def play(world: World) -> None:
        waiting = asyncio.create_task(world.modern("say", 1, lines=[], silent=True))
        pid = result(await world.modern("heard", 2))["pid"]
        died = await world.modern("die", 3)
        assert message(died)["error"]["data"] == {"rule": "session-ended"}
        assert message(await waiting)["id"] == 1
        assert result(await world.modern("heard", 4))["pid"] != pid

    played(play)


def test_nobody_of_another_principal_gets_an_answer_by_guessing_a_number() -> None:
    async def play(world: World) -> None:
        asking = asyncio.create_task(world.modern("say", 1, lines=[], silent=True))
        await _opened(world, 1)
        late = '{"jsonrpc":"2.0","id":1,"result":{"stolen":true}}'
        assert result(await world.modern("say", 1, BOB, lines=[late])) is not None
        assert not asking.done()
        asking.cancel()

    played(play)


# --- form ------------------------------------------------------------------------------------------------

CALL: dict[str, Any] = {"name": "mirrored", "arguments": {"region": "eu"}}
HEADERS = {**VERSION, "mcp_method": "tools/call", "mcp_name": "mirrored", "mcp_param_region": "eu"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, 0, id="all agree"),
        pytest.param({"mcp_param_region": "=?base64?ZXU=?="}, 0, id="agree in Base64"),
        pytest.param({"mcp_param_other": "x"}, 0, id="a header nobody knows"),
        pytest.param({"mcp_method": "tools/list"}, -32020, id="another method"),
        pytest.param({"mcp_method": None}, -32020, id="no method"),
        pytest.param({"mcp_name": "other"}, -32020, id="another name"),
        pytest.param({"mcp_name": None}, -32020, id="no name"),
        pytest.param({"mcp_protocol_version": "2027-01-01"}, -32020, id="another revision"),
        pytest.param({"mcp_protocol_version": None}, -32020, id="no revision"),
        pytest.param({"mcp_protocol_version": "2025-11-25"}, -32020, id="a revision of the other era"),
        pytest.param({"mcp_param_region": "us"}, -32020, id="another argument"),
        pytest.param({"mcp_param_region": None}, -32020, id="no argument"),
        pytest.param({"mcp_param_region": "=?base64?ZXU?="}, -32020, id="no Base64"),
    ],
)
def test_headers_must_say_what_the_body_says(changes: dict[str, str | None], expected: int) -> None:
    async def play(world: World) -> None:
        headers = {name: value for name, value in {**HEADERS, **changes}.items() if value is not None}
        body = request("tools/call", 1, **CALL, _meta=META)
        reply = await world.ask("POST", body, **headers)
        if not expected:
            assert result(reply)["echo"]["arguments"] == {"region": "eu"}
            return
        assert (reply.status, code(reply), message(reply)["id"]) == (400, expected, 1)
        assert not world.service.live or "tools/call" not in {one["method"] for one in await _heard(world)}

    played(play)


def test_the_server_is_asked_once_which_arguments_are_headers() -> None:
    async def play(world: World) -> None:
        for _ in range(3):
            await world.ask("POST", request("tools/call", 1, **CALL, _meta=META), **HEADERS)
        methods = [one["method"] for one in await _heard(world)]
        assert methods == ["tools/list", "tools/list", "tools/call", "tools/call", "tools/call"]

    played(play)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(request("echo", 1), (400, -32602), id="no envelope"),
        pytest.param(request("echo", 1, _meta={"a": 1}), (400, -32602), id="half an envelope"),
        pytest.param({"jsonrpc": "2.0", "id": 1, "result": {}}, (400, -32600), id="a response"),
        pytest.param([request("echo", 1, _meta=META)], (400, -32600), id="a batch"),
        pytest.param(request("initialize", 1, _meta=META), (404, -32601), id="initialize"),
    ],
)
def test_what_this_era_has_not_is_refused_and_starts_nothing(body: object, expected: tuple[int, int]) -> None:
    async def play(world: World) -> None:
        reply = await world.ask("POST", body, **VERSION, mcp_method="echo")
        assert (reply.status, code(reply)) == expected
        assert not world.service.live

    played(play)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_is_neither_get_nor_delete(method: str) -> None:
    async def play(world: World) -> None:
        reply = await world.ask(method, **VERSION)
        assert (reply.status, dict(reply.headers)["Allow"]) == (405, "POST")

    played(play)


def test_a_notification_is_taken_and_reaches_nobody() -> None:
    """One that names another client's request would cancel it."""

    async def play(world: World) -> None:
        waiting = asyncio.create_task(world.modern("say", 1, lines=[], silent=True))
        await _opened(world, 1)
        body = note("notifications/cancelled", requestId=1)
        assert (await world.ask("POST", body, **VERSION)).status == 202
        assert [one["method"] for one in await _heard(world)] == ["say"]
        waiting.cancel()

    played(play)


@pytest.mark.parametrize(("method", "status"), [("unknown", 404), ("echo", 200)])
def test_the_status_says_what_the_error_says(method: str, status: int) -> None:
    async def play(world: World) -> None:
        assert (await world.modern(method, 1)).status == status

    played(play)


def test_a_server_that_knows_no_discover_is_told_as_clients_fall_back_from_it_and_keeps_no_sandbox() -> None:
    async def play(world: World) -> None:
        reply = await world.modern("server/discover", 1)
        assert (reply.status, code(reply)) == (400, -32601)
        async with asyncio.timeout(10):
            while world.service.live:  # noqa: ASYNC110 - what the world shows
                await asyncio.sleep(0.01)
        # Who asks again is told at once; another client finds out for itself, and other requests go through.
        again = await world.modern("server/discover", 2)
        assert (again.status, code(again), message(again)["id"]) == (400, -32601, 2)
        assert not world.service.live
        assert result(await world.modern("echo", 1)) is not None
        assert (await world.modern("server/discover", 2, BOB)).status == 400
        assert len(world.service.live) == 2

    played(play)


def test_silence_becomes_a_stream_that_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SILENT_S", 0.05)
    monkeypatch.setattr("sandbox.serve.stream.PING_S", 0.05)

    async def play(world: World) -> None:
        reply = await world.modern("say", 1, lines=[], silent=True)
        assert isinstance(reply, Reply)
        assert not isinstance(reply.body, bytes)
        assert [await anext(reply.body) for _ in range(3)] == [b": \n\n"] * 3
        await hang_up(reply)

    played(play)


def test_only_so_many_requests_are_open_at_once() -> None:
    async def play(world: World) -> None:
        waiting = [asyncio.create_task(world.modern("say", n, lines=[], silent=True)) for n in range(2)]
        await _opened(world, 2)
        assert (await world.modern("echo", 9)).status == 429
        waiting[0].cancel()
        await asyncio.gather(waiting[0], return_exceptions=True)
        assert result(await world.modern("echo", 9)) is not None
        waiting[1].cancel()

    played(play, Capacity(open=2))


def test_a_large_answer_keeps_every_byte_but_its_id() -> None:
    async def play(world: World) -> None:
        odd = '{"jsonrpc" : "2.0", "result": {"a":1E5,"b":[ 1.0,-0.0 ],"id":"ID","c":"\\u00e9"}, "id":"ID"}'
        reply = await world.modern("say", "mine", lines=[odd], silent=True)
        assert isinstance(reply.body, bytes)
        inner = (await _heard(world))[0]["id"]
        kept = b'{"a":1E5,"b":[ 1.0,-0.0 ],"id":%d,"c":"\\u00e9"}' % inner
        assert reply.body == b'{"jsonrpc" : "2.0","result": ' + kept + b',"id":"mine"}\n'

    played(play)


def test_what_is_no_answer_is_not_one() -> None:
    async def play(world: World) -> None:
        answer: Answer = await world.ask("POST", b"{", **VERSION)
        assert (answer.status, code(answer)) == (400, -32700)

    played(play)
