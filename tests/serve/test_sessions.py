"""Sessions of the eras with `initialize`: one client, one child, and what becomes of what either says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest

from sandbox.serve import service, stream
from sandbox.serve.capacity import Capacity
from sandbox.serve.words import Principal, Refused, Reply
from tests.serve.asking import (
    ALICE,
    BOB,
    Client,
    World,
    code,
    events,
    hang_up,
    large,
    message,
    messages,
    note,
    played,
    request,
    result,
)

LOG = '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%s"}}'
PROGRESS = '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"%s","progress":1}}'
ASK = '{"jsonrpc":"2.0","id":"s1","method":"sampling/createMessage","params":{}}'


def _status(reply: Reply | Refused) -> tuple[int, str]:
    return reply.status, reply.code if isinstance(reply, Refused) else ""


# --- the plain way --------------------------------------------------------------------------------------


def test_an_answer_that_comes_first_and_alone_is_json() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        reply = await client.call("echo", 7, text="é")
        assert dict(reply.headers) == {"Content-Type": "application/json", "Mcp-Session-Id": client.id}
        assert message(reply) == {"jsonrpc": "2.0", "id": 7, "result": {"echo": {"text": "é"}}}

    played(play)


def test_what_comes_before_the_answer_makes_it_a_stream_in_order() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        reply = await client.call("say", 1, lines=[LOG % "a", LOG % "b"])
        assert dict(reply.headers)["Content-Type"] == "text/event-stream"
        said = await messages(reply)
        assert [one.get("params", {}).get("data") for one in said] == ["a", "b", None]
        assert said[-1]["result"] == {"said": 2}

    played(play)


def test_silence_becomes_a_stream_that_says_where_it_can_be_resumed() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        reply = await client.call("say", 1, lines=[], silent=True)
        primer = (await events(reply, 1))[0]
        assert (primer.data, primer.retry, primer.id != "") == (b"", 1000, True)
        await client.send("POST", note("notifications/cancelled", requestId=1))
        assert [one["error"]["code"] for one in await messages(reply)] == [-32800]

    played(play, silent_s=0.05)


def test_notifications_and_responses_are_taken_with_202_and_reach_the_server_in_order() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        sent = [note("notifications/initialized"), {"jsonrpc": "2.0", "id": "s1", "result": {}}]
        replies = [await client.send("POST", one) for one in sent]
        assert [(one.status, one.body) for one in replies] == [(202, b"")] * 2
        assert (await client.heard())[1:] == [{**sent[0]}, sent[1]]

    played(play)


def test_a_body_over_several_lines_is_one_line_to_the_server() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        pretty = json.dumps(request("echo", 1, a=[1, 2]), indent=2).replace("\n", "\r\n").encode()
        assert result(await client.send("POST", pretty)) == {"echo": {"a": [1, 2]}}

    played(play)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", -32700, id="nothing"),
        pytest.param(b"{", -32700, id="no JSON"),
        pytest.param(b"\xff", -32700, id="no UTF-8"),
        pytest.param(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600, id="a batch"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32600, id="a name twice"),
        pytest.param(b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600, id="an id that is none"),
        pytest.param(b'{"id":1,"method":"ping"}', -32600, id="no jsonrpc"),
        pytest.param(b"[" * 5000 + b"]" * 5000, -32600, id="deep"),
    ],
)
def test_what_is_no_message_is_refused_and_reaches_nobody(body: bytes, expected: int) -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        reply = await client.send("POST", body)
        assert (reply.status, code(reply)) == (400, expected)
        assert len(await client.heard()) == 1

    played(play)


# --- whose session --------------------------------------------------------------------------------------


def test_every_session_has_a_process_of_its_own() -> None:
    async def play(world: World) -> None:
        one, two, other = await world.begin(), await world.begin(), await world.begin(BOB, route="other")
        assert len({one.pid, two.pid, other.pid}) == len({one.id, two.id, other.id}) == 3
        assert result(await other.call("heard", 1))["argv"] == ["run", "--other"]

    played(play)


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(BOB, id="of another name"),
        pytest.param(Principal("alice", ("read_*",)), id="of the same name and fewer tools"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_session_id_is_its_own_principals_alone(who: Principal, method: str) -> None:
    async def play(world: World) -> None:
        client = await world.begin(ALICE)
        stolen = Client(world, who, client.id, "", 0)
        body = request("echo", 1) if method == "POST" else None
        refused = await stolen.send(method, body)
        nobodys = await Client(world, who, "x" * 43, "", 0).send(method, body)
        # The same words: nobody finds out that it exists.
        assert refused == nobodys
        assert _status(refused) == (404, "no-session")
        # What the owner sends with the same id goes through: it was the principal that made the difference.
        assert result(await client.call("echo", 1)) == {"echo": {}}
        assert len(await client.heard()) == 2

    played(play)


def test_a_session_belongs_to_its_route() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        assert _status(await Client(world, ALICE, client.id, "other", 0).call("echo", 1)) == (
            404,
            "no-session",
        )

    played(play)


def test_a_token_for_no_tool_starts_nothing() -> None:
    async def play(world: World) -> None:
        body = request("initialize", 0, protocolVersion="2025-11-25")
        assert (await world.ask("POST", body, Principal("nil", ()))).status == 403
        assert not world.service.live

    played(play)


def test_the_tools_of_a_token_are_told_the_child_before_all_else() -> None:
    async def play(world: World) -> None:
        client = await world.begin(Principal("alice", ("read_*", "--evil")), route="other")
        argv = result(await client.call("heard", 1))["argv"]
        assert argv == ["run", "--only-tools=read_*", "--only-tools=--evil", "--other"]

    played(play)


@pytest.mark.parametrize(
    ("method", "body"),
    [
        pytest.param("POST", request("echo", 1), id="a request"),
        pytest.param("POST", note("notifications/initialized"), id="a notification"),
        pytest.param("GET", None, id="GET"),
        pytest.param("DELETE", None, id="DELETE"),
    ],
)
def test_without_a_session_id_only_initialize_is_answered(method: str, body: object) -> None:
    async def play(world: World) -> None:
        assert _status(await world.ask(method, body)) == (400, "no-session-id")
        assert not world.service.live

    played(play)


def test_no_client_chooses_its_sessions_id() -> None:
    async def play(world: World) -> None:
        body = request("initialize", 0, protocolVersion="2025-11-25")
        assert _status(await world.ask("POST", body, mcp_session_id="chosen")) == (404, "no-session")
        assert not world.service.live

    played(play)


def test_ids_are_long_and_never_alike() -> None:
    async def play(world: World) -> None:
        ids = {(await world.begin()).id for _ in range(8)}
        assert len(ids) == 8
        assert all(len(one) >= 43 and one.isascii() for one in ids)

    played(play)


# --- its end --------------------------------------------------------------------------------------------


def _alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - what the world shows, not what we are told
            await asyncio.sleep(0.01)


def test_delete_ends_the_child_and_the_session() -> None:
    async def play(world: World) -> None:
        client, other = await world.begin(), await world.begin()
        assert (await client.send("DELETE")).status == 200
        assert _status(await client.call("echo", 1)) == (404, "no-session")
        await _until(lambda: len(world.service.live) == 1)
        assert (_alive(client.pid), _alive(other.pid)) == (False, True)
        assert result(await other.call("echo", 1)) == {"echo": {}}

    played(play)


@pytest.mark.parametrize("how", ["dies", "is killed", "says what is no message"])
def test_a_child_that_ends_answers_whoever_waits_and_its_neighbour_goes_on(how: str) -> None:
    async def play(world: World) -> None:
        client, other = await world.begin(), await world.begin(BOB)
        listening = await client.send("GET")
        waiting = asyncio.create_task(client.call("say", 1, lines=[], silent=True))
        streaming = await client.call(
            "say", 2, lines=[PROGRESS % "t"], silent=True, _meta={"progressToken": "t"}
        )
        if how == "is killed":
            os.kill(client.pid, signal.SIGKILL)
        elif how == "dies":
            await client.call("die", 3)
        else:
            await client.call("say", 3, lines=["no message"], silent=True)
        assert message(await waiting)["error"]["data"] == {"rule": "session-ended"}
        assert (await messages(streaming))[-1]["id"] == 2
        assert await messages(listening) == []
        assert _status(await client.call("echo", 4)) == (404, "no-session")
        assert result(await other.call("echo", 1)) == {"echo": {}}

    played(play)


def test_a_session_that_did_not_begin_leaves_nothing() -> None:
    async def play(world: World) -> None:
        reply = await world.ask("POST", request("initialize", 0, protocolVersion="1", refuse=True))
        assert (reply.status, code(reply)) == (200, -32603)
        assert "Mcp-Session-Id" not in dict(reply.headers)
        await _until(lambda: not world.service.live)

    played(play)


def test_a_session_that_did_not_begin_after_a_long_while_leaves_nothing_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sandbox.serve.session.BEGIN_S", 0.05)

    async def play(world: World) -> None:
        body = request("initialize", 0, protocolVersion="1", refuse=True, after=0.3)
        reply = await world.ask("POST", body)
        assert [one["error"]["code"] for one in await messages(reply)] == [-32603]
        await _until(lambda: not world.service.live)

    played(play)


def test_a_client_that_hangs_up_while_its_session_begins_leaves_nothing() -> None:
    async def play(world: World) -> None:
        body = request("initialize", 0, protocolVersion="2025-11-25")
        asking = asyncio.create_task(world.ask("POST", body))
        await _until(lambda: any(one.child and one.child.pid for one in world.service.live))
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        await _until(lambda: not world.service.live)

    played(play)


def test_an_idle_session_ends_and_one_that_somebody_listens_to_does_not() -> None:
    async def play(world: World) -> None:
        client, listened = await world.begin(), await world.begin()
        stream = await listened.send("GET")
        await _until(lambda: len(world.service.live) == 1)
        assert _status(await client.call("echo", 1)) == (404, "no-session")
        assert result(await listened.call("echo", 1)) == {"echo": {}}
        await hang_up(stream)
        await _until(lambda: not world.service.live)

    played(play, Capacity(idle_s=0.3))


def test_a_call_that_never_ends_keeps_no_session_up_whose_client_is_gone() -> None:
    async def play(world: World) -> None:
        crashed, waits = await world.begin(), await world.begin(BOB)
        token = {"progressToken": "t"}
        unanswered = asyncio.create_task(crashed.call("say", 1, lines=[], silent=True))
        waiting = asyncio.create_task(waits.call("say", 1, lines=[], silent=True))
        begun = await crashed.call("say", 2, lines=[PROGRESS % "t"], silent=True, _meta=token)
        await hang_up(begun)
        unanswered.cancel()
        await _until(lambda: len(world.service.live) == 1)
        assert _status(await crashed.call("echo", 3)) == (404, "no-session")
        # The control: whoever is still there has its call open for as long as it likes.
        assert not waiting.done()
        assert result(await waits.call("echo", 3)) == {"echo": {}}
        waiting.cancel()

    played(play, Capacity(idle_s=0.3))


@pytest.mark.parametrize(
    ("capacity", "who", "status"),
    [
        pytest.param(Capacity(sessions=2, each=9), BOB, 503, id="in all"),
        pytest.param(Capacity(sessions=9, each=2), ALICE, 429, id="of one principal"),
    ],
)
def test_there_are_only_so_many_sandboxes(capacity: Capacity, who: Principal, status: int) -> None:
    async def play(world: World) -> None:
        first = [await world.begin() for _ in range(2)]
        reply = await world.ask("POST", request("initialize", 0, protocolVersion="2025-11-25"), who)
        assert (reply.status, dict(reply.headers)["Retry-After"]) == (status, "5")
        await first[0].send("DELETE")
        await _until(lambda: len(world.service.live) == 1)
        await world.begin(who)

    played(play, capacity)


def test_whoever_begins_anew_without_an_end_loses_the_session_that_was_idle_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "SPARED_S", 0.0)

    async def play(world: World) -> None:
        first, second, other = await world.begin(), await world.begin(), await world.begin(BOB)
        await first.call("echo", 1)
        third = await world.begin()
        assert _status(await second.call("echo", 1)) == (404, "no-session")
        listening = [await one.send("GET") for one in (first, third)]
        reply = await world.ask("POST", request("initialize", 0, protocolVersion="2025-11-25"))
        assert reply.status == 429  # both are listened to
        assert result(await other.call("echo", 1)) == {"echo": {}}
        for one in listening:
            await hang_up(one)

    played(play, Capacity(sessions=9, each=2))


def test_one_principals_sandboxes_leave_room_for_another() -> None:
    async def play(world: World) -> None:
        await world.begin(Principal("alice", ("a",)))
        reply = await world.ask("POST", request("initialize", 0, protocolVersion="2025-11-25"), ALICE)
        assert reply.status == 429  # by its name, whatever the tools of its token
        await world.begin(BOB)

    played(play, Capacity(sessions=9, each=1))


def test_servers_that_never_begin_hold_up_nobody_elses() -> None:
    async def play(world: World) -> None:
        body = request("initialize", 0, protocolVersion="1", hang=True)
        hanging = [asyncio.create_task(world.ask("POST", body)) for _ in range(6)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await world.begin(BOB)
        assert not any(one.done() for one in hanging)
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    played(play, Capacity(starting=2))


def test_only_so_many_requests_are_open_at_once() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        waiting = [asyncio.create_task(client.call("say", n, lines=[], silent=True)) for n in range(3)]
        await asyncio.sleep(0)
        assert (await client.call("echo", 9)).status == 429
        await client.send("POST", note("notifications/cancelled", requestId=1))
        assert code(await waiting[1]) == -32800
        assert result(await client.call("echo", 9)) == {"echo": {}}

    played(play, Capacity(open=3))


def test_what_started_and_ended_is_reported() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        await client.send("DELETE")
        await _until(lambda: not world.service.live)
        opened, closed = world.reported
        assert (opened.kind, opened.detail["principal"], opened.detail["pid"]) == (
            "http.open",
            "alice",
            client.pid,
        )
        assert (closed.kind, closed.detail["number"]) == ("http.close", opened.detail["number"])
        assert client.id not in json.dumps([dict(one.detail) for one in world.reported])

    played(play)


# --- which stream ---------------------------------------------------------------------------------------


def test_an_id_that_is_still_open_is_refused() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        first = asyncio.create_task(client.call("say", 1, lines=[], silent=True))
        await asyncio.sleep(0)
        assert _status(await client.call("echo", 1)) == (400, "open-id")
        assert result(await client.call("echo", "1")) == {"echo": {}}  # another id: of another type
        first.cancel()

    played(play)


def test_progress_goes_to_its_own_request_whoever_else_waits() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        waiting = asyncio.create_task(
            client.call("say", 1, lines=[], silent=True, _meta={"progressToken": "t1"})
        )
        await asyncio.sleep(0)
        reply = await client.call(
            "say", 2, lines=[PROGRESS % "t1", PROGRESS % "t2"], _meta={"progressToken": "t2"}
        )
        assert [one.get("params", {}).get("progressToken") for one in await messages(reply)] == ["t2", None]
        first = await waiting
        assert (await messages(first, 2))[0]["params"]["progressToken"] == "t1"
        await hang_up(first)

    played(play)


def test_a_server_asks_on_the_stream_of_the_one_open_request_even_if_a_get_is_open() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        listening = await client.send("GET")
        reply = await client.call("say", 1, lines=[ASK])
        assert [one.get("method") for one in await messages(reply)] == ["sampling/createMessage", None]
        await hang_up(listening)

    played(play)


def test_what_is_of_no_request_waits_for_a_get() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        changed = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
        assert result(await client.call("say", 1, lines=[changed])) == {"said": 1}
        listening = await client.send("GET")
        assert (await messages(listening, 2))[0]["method"] == "notifications/tools/list_changed"
        assert _status(await client.send("GET")) == (409, "second-stream")
        await hang_up(listening)
        await hang_up(await client.send("GET"))

    played(play)


def test_hanging_up_is_no_cancellation_and_its_answer_goes_nowhere_else() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        gone = asyncio.create_task(client.call("say", 1, lines=[], silent=True))
        await asyncio.sleep(0)
        gone.cancel()
        late = '{"jsonrpc":"2.0","id":1,"result":{"late":true}}'
        assert result(await client.call("say", 2, lines=[late])) == {"said": 1}
        assert [one.get("method") for one in await client.heard()] == ["initialize", "say", "say"]
        assert result(await client.call("echo", 1)) == {"echo": {}}

    played(play)


# --- a stream that broke off ----------------------------------------------------------------------------


async def _answer(reply: Reply | Refused) -> object:
    """The result of an answer in either form."""
    return result(reply) if isinstance(reply.body, bytes) else (await messages(reply))[-1]["result"]


async def _broken_off(client: Client, taken: int, **params: object) -> str:
    """The last event id of a stream that the client lost after so many events."""
    reply = await client.call("say", 1, **params)
    last = (await events(reply, taken))[taken - 1].id
    await hang_up(reply)
    return last


def test_a_stream_goes_on_after_the_last_event_that_was_seen() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        last = await _broken_off(client, 1, lines=[LOG % "a", LOG % "b"], silent=True)
        await client.call("say", 2, lines=[LOG % "elsewhere"])
        answer = '{"jsonrpc":"2.0","id":1,"result":{}}'
        await client.call("say", 3, lines=[answer])
        again = await client.send("GET", last_event_id=last)
        assert [one.get("params", one).get("data") for one in await messages(again)] == ["a", "b", None]

    played(play)


def test_the_first_event_of_a_stream_is_where_it_can_be_resumed_from_its_start() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        reply = await client.call("say", 1, lines=[LOG % "a"])
        primer = (await events(reply, 1))[0]
        assert primer.data == b""
        again = await client.send("GET", last_event_id=primer.id)
        assert len(await messages(again)) == 2
        old = await (await world.begin(version="2025-06-18")).call("say", 1, lines=[LOG % "a"])
        assert (await events(old))[0].data != b""

    played(play)


@pytest.mark.parametrize("id", ["", "x", "1", "99.1", "1.1.1", "-1.0", "9" * 40 + ".1", "1.\u0661"])
def test_an_event_id_of_nobodys_is_refused(id: str) -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        assert _status(await client.send("GET", last_event_id=id)) == (400, "no-replay")

    played(play)


def test_an_answer_that_is_not_kept_any_more_is_an_error_and_never_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "KEPT", 2000)

    async def play(world: World) -> None:
        client = await world.begin()
        last = await _broken_off(client, 1, lines=[LOG % "a"], silent=True)
        answer = '{"jsonrpc":"2.0","id":1,"result":{"text":"%s"}}' % ("x" * 3000)
        await client.call("say", 2, lines=[answer])
        again = await messages(await client.send("GET", last_event_id=last))
        assert again[-1]["id"] == 1
        assert again[-1]["error"]["data"] == {"rule": "replay"}

    played(play)


# --- bounds ---------------------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_holds_its_own_server_up_and_nothing_is_piled_up() -> None:
    async def play(world: World) -> None:
        client, other = await world.begin(), await world.begin(BOB)
        reply = await client.call("flood", 1, count=200, size=100_000)
        session = next(one for one in world.service.live if one.principal == ALICE)
        await _until(lambda: session._shelf._unread > stream.HIGH)
        await asyncio.sleep(0.2)  # for what must not come
        assert session._shelf._unread < 2 * stream.HIGH + (1 << 18)
        assert result(await other.call("echo", 1)) == {"echo": {}}
        said = await messages(reply)
        assert [one["params"]["n"] for one in said[:-1]] == list(range(200))

    played(play)


def test_large_answers_that_nobody_takes_hold_their_server_up() -> None:
    async def play(world: World) -> None:
        client, other = await world.begin(), await world.begin(BOB)
        text = "x" * (1 << 20)
        untaken = await client.call("echo", 1, text=text)
        waiting = asyncio.create_task(client.call("echo", 2, text=text))
        assert result(await other.call("echo", 1)) == {"echo": {}}
        await asyncio.sleep(0.1)  # for what must not come
        assert not waiting.done()
        await hang_up(untaken)
        assert (await large(await waiting))["echo"]["text"] == text
        session = next(one for one in world.service.live if one.principal == ALICE)
        assert session._shelf._unread == 0

    played(play)


def test_a_server_that_reads_nothing_has_little_kept_for_it_and_its_neighbour_goes_on() -> None:
    async def play(world: World) -> None:
        client, other = await world.begin(), await world.begin(BOB)
        os.kill(client.pid, signal.SIGSTOP)
        sent = [
            asyncio.create_task(client.send("POST", note("notifications/x", text="x" * (1 << 20))))
            for _ in range(12)
        ]
        await asyncio.sleep(0)
        refused = [one for one in sent if one.done() and _status(one.result()) == (429, "busy")]
        assert len(refused) > 5
        # Who hangs up takes nothing of it back, and makes no room for more.
        for one in sent:
            one.cancel()
        await asyncio.gather(*sent, return_exceptions=True)
        assert (await client.send("POST", note("notifications/x"))).status == 429
        assert (await large(await other.call("echo", 1, text="x" * (1 << 20))))["echo"]["text"]
        os.kill(client.pid, signal.SIGCONT)
        await _until(lambda: not any(one.child and one.child.is_full for one in world.service.live))
        assert result(await client.call("echo", 1)) == {"echo": {}}

    played(play)


def test_only_so_much_of_one_principal_is_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CARRIED_EACH", 3 << 20)

    async def play(world: World) -> None:
        client, other = await world.begin(), await world.begin(BOB)
        text = "x" * (1 << 20)
        calls = [
            asyncio.create_task(client.call("say", n, lines=[], silent=True, text=text)) for n in range(5)
        ]
        await asyncio.sleep(0)
        assert [one.done() for one in calls] == [False, False, True, True, True]
        assert _status(calls[-1].result()) == (429, "busy")
        assert (await large(await other.call("echo", 1, text=text)))["echo"]["text"] == text
        calls[0].cancel()
        await asyncio.gather(calls[0], return_exceptions=True)
        assert (await large(await client.call("echo", 9, text=text)))["echo"]["text"] == text
        calls[1].cancel()

    played(play)


def test_a_reader_that_stalls_for_long_loses_its_stream_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "STALL_S", 0.2)

    async def play(world: World) -> None:
        client = await world.begin()
        stalled = await client.call("flood", 1, count=60, size=100_000)
        assert await _answer(await client.call("echo", 2)) == {"echo": {}}
        assert len(await messages(stalled)) < 60

    played(play)


def test_a_client_without_a_get_stream_costs_no_more_than_is_kept() -> None:
    async def play(world: World) -> None:
        client = await world.begin()
        changed = json.dumps(note("notifications/resources/updated", uri="x" * 50_000))
        for id in range(10):
            assert result(await client.call("say", id, lines=[changed] * 10)) == {"said": 10}
        session = next(iter(world.service.live))
        assert session._shelf._bytes <= stream.KEPT  # type: ignore[union-attr]

    played(play)


# --- attacks of the server's on the stream ---------------------------------------------------------------


def test_a_message_cannot_break_out_of_its_event() -> None:
    """A carriage return between two values is white space to JSON, and a line end to a reader of streams."""
    hostile = '{"jsonrpc":"2.0",\r"method":"notifications/message",\r"params":\r{"data":"a"}\r}'
    naive = b"event: message\ndata: " + hostile.encode() + b"\n\n"
    from sandbox.wire.sse import Decoder

    with pytest.raises(json.JSONDecodeError):
        json.loads(Decoder(1 << 20).feed(naive)[0].data)

    async def play(world: World) -> None:
        client = await world.begin()
        said = await messages(await client.call("say", 1, lines=[hostile]))
        assert [one.get("params", {}).get("data") for one in said] == ["a", None]

    played(play)
