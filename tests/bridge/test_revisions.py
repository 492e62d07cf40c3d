"""What the bridge says to a server, in every revision, as a server sees it that says what it likes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial

import pytest

from tests.bridge.driving import INITIALIZE, VERSION, at, bridged, call, modern
from tests.bridge.scripted import SERVER, STREAM, Asked, Script, Talk, honest, scripted

SESSION = "Mcp-Session-Id: visible-0123"


def with_session(then: Script = honest) -> Script:
    """A server that gives a session, and says `then` to what comes with it."""

    def script(talk: Talk, asked: Asked) -> None:
        if asked.is_call and asked.message["method"] == "initialize":
            talk.result(asked, SERVER, SESSION)
        else:
            then(talk, asked)

    return script


def method(asked: Asked) -> str:
    return str(asked.message.get("method")) if asked.body else ""


def test_a_session_and_its_revision_go_with_every_later_request() -> None:
    with scripted(with_session()) as server, bridged(at(server.port)) as client:
        client.open()
        client.ask(call(1))
        server.wait(lambda: len(server.of("GET")) == 1)
        assert client.end() == 0
        first, *later = server.asked
    assert method(first) == "initialize"
    assert "mcp-session-id" not in first.headers
    assert "mcp-protocol-version" not in first.headers
    for asked in later:
        assert asked.headers["mcp-session-id"] == "visible-0123", asked.method
        assert asked.headers["mcp-protocol-version"] == "2025-11-25"
    assert server.asked[-1].method == "DELETE"


def test_what_a_server_of_one_session_is_sent_is_what_the_client_wrote() -> None:
    with scripted() as server, bridged(at(server.port, sent=[("Authorization", "Bearer secret")])) as client:
        client.open()
        client.write(b'{"jsonrpc":"2.0","id":"\xc3\xa9",  "method":"tools/call","params":{"name":"a"}}\n')
        client.until("é")
        (asked,) = server.calls("tools/call")
    assert asked.body == '{"jsonrpc":"2.0","id":"é",  "method":"tools/call","params":{"name":"a"}}'.encode()
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["accept"] == "application/json, text/event-stream"
    assert asked.headers["content-type"] == "application/json"
    assert asked.headers["accept-encoding"] == "identity"
    assert "cookie" not in asked.headers


def test_what_follows_initialize_waits_for_its_answer() -> None:
    """A client that writes everything at once is understood as on stdio."""
    held = threading.Event()

    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "initialize":
            assert held.wait(10)
        with_session()(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.send(INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call(1))
        server.wait(lambda: len(server.asked) == 1)
        held.set()
        client.until(1)
        order = [method(asked) for asked in server.of("POST")]
    assert order == ["initialize", "notifications/initialized", "tools/call"]
    assert server.calls("tools/call")[0].headers["mcp-session-id"] == "visible-0123"


def test_a_stream_carries_requests_of_the_servers_and_the_clients_answers_go_back() -> None:
    answered = threading.Event()

    def script(talk: Talk, asked: Asked) -> None:
        if asked.method == "POST" and "result" in asked.message:
            talk.answer(202)
            answered.set()
        elif method(asked) == "tools/call":
            talk.stream()
            talk.event({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}})
            assert answered.wait(10)
            talk.event({"jsonrpc": "2.0", "id": asked.message["id"], "result": {"ok": True}})
            talk.last()
        else:
            honest(talk, asked)

    with scripted(with_session(script)) as server, bridged(at(server.port)) as client:
        client.open()
        client.send(call(1))
        assert client.receive()["method"] == "sampling/createMessage"
        client.send({"jsonrpc": "2.0", "id": 1, "result": {"role": "assistant"}})
        assert client.until(1)["result"] == {"ok": True}
        (reply,) = [asked for asked in server.of("POST") if "result" in asked.message]
    assert reply.headers["mcp-session-id"] == "visible-0123"


def test_a_batch_in_an_answer_becomes_lines() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "tools/call":
            note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "a"}}
            talk.json([note, {"jsonrpc": "2.0", "id": asked.message["id"], "result": {}}])
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.open(protocolVersion="2025-03-26")
        client.ask(call(1))
        assert [message["method"] for message in client.passed] == ["notifications/message"]


def test_the_servers_own_stream_is_read_and_taken_up_from_its_last_event() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if asked.method == "GET" and "last-event-id" not in asked.headers:
            talk.stream()
            talk.event({"jsonrpc": "2.0", "method": "notifications/message"}, id="one", retry=60)
            talk.last()
        elif asked.method == "GET":
            talk.stream()
            talk.event({"jsonrpc": "2.0", "method": "notifications/roots"}, id="two")
            talk.until_closed()
        else:
            honest(talk, asked)

    with scripted(with_session(script)) as server, bridged(at(server.port)) as client:
        client.open()
        assert [client.receive()["method"] for _ in range(2)] == [
            "notifications/message",
            "notifications/roots",
        ]
        first, second = server.of("GET")
    assert "last-event-id" not in first.headers
    assert second.headers["last-event-id"] == "one"
    assert second.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(lambda talk: talk.answer(409), id="where its last connection still counts"),
        pytest.param(lambda talk: talk.answer(503), id="where the server is busy"),
        pytest.param(lambda talk: talk.answer(200, b"data: no\n\n", STREAM), id="after what is no message"),
        pytest.param(lambda talk: talk.send(b"nonsense\r\n\r\n"), id="after what is no HTTP"),
        pytest.param(lambda talk: talk.sock.shutdown(socket.SHUT_RDWR), id="after nothing"),
    ],
)
def test_the_servers_own_stream_is_taken_up_again(
    first: Callable[[Talk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.bridge.streams.PAUSE", 0.05)
    asked_before: list[Asked] = []

    def script(talk: Talk, asked: Asked) -> None:
        if asked.method != "GET":
            honest(talk, asked)
            return
        asked_before.append(asked)
        if len(asked_before) == 1:
            first(talk)
            return
        talk.stream()
        talk.event({"jsonrpc": "2.0", "method": "notifications/message"})
        talk.until_closed()

    with scripted(with_session(script)) as server, bridged(at(server.port)) as client:
        client.open()
        assert client.receive()["method"] == "notifications/message"
        assert client.end() == 0


@pytest.mark.parametrize("status", [401, 404, 405, 500])
def test_a_session_goes_on_where_the_server_has_no_stream_of_its_own(status: int) -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if asked.method == "GET":
            talk.answer(status, b"Cannot GET /mcp", "text/plain")
        else:
            honest(talk, asked)

    with scripted(with_session(script)) as server, bridged(at(server.port)) as client:
        client.open()
        server.wait(lambda: len(server.of("GET")) == 1)
        assert "result" in client.ask(call(1))
        assert client.end() == 0


def test_a_request_whose_stream_is_closed_to_be_polled_gets_its_answer() -> None:
    """MCP 2025-11-25: an event with an id and no data, a `retry`, and the connection may go."""
    calls: list[str] = []

    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "tools/call":
            talk.stream()
            talk.event(id="start", retry=100)
            talk.last()
        elif asked.headers.get("last-event-id") in {"start", "later"}:
            calls.append(asked.headers["last-event-id"])
            talk.stream()
            if len(calls) == 1:
                talk.event(id="later")
            else:
                talk.event({"jsonrpc": "2.0", "id": 1, "result": {"polled": True}}, id="end")
            talk.last()
        else:
            honest(talk, asked)

    with scripted(with_session(script)) as server, bridged(at(server.port)) as client:
        client.open()
        assert client.ask(call(1))["result"] == {"polled": True}
        assert client.passed == []
    assert calls == ["start", "later"]


def test_a_cancellation_is_sent_and_nobody_waits_any_more() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "tools/call":
            talk.stream()
            talk.until_closed()
        else:
            honest(talk, asked)

    with scripted(with_session(script)) as server, bridged(at(server.port)) as client:
        client.open()
        client.send(call(1))
        server.wait(lambda: len(server.calls("tools/call")) == 1)
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        server.wait(lambda: len(server.calls("notifications/cancelled")) == 1)
        assert client.end() == 0
        assert client.rest == []


# --- the stateless revision ----------------------------------------------------------------------------


def test_a_stateless_request_says_in_headers_what_it_says() -> None:
    with scripted() as server, bridged(at(server.port)) as client:
        client.ask(modern(1, "server/discover"))
        client.ask(modern(2, name="résumé", arguments={}))
        assert client.end() == 0
        discover, called = server.asked
    assert discover.headers["mcp-protocol-version"] == VERSION
    assert discover.headers["mcp-method"] == "server/discover"
    assert called.headers["mcp-method"] == "tools/call"
    assert called.headers["mcp-name"] == "=?base64?csOpc3Vtw6k=?="
    assert not {"GET", "DELETE"} & {asked.method for asked in server.asked}


def test_arguments_that_a_tool_wants_in_headers_go_there() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "x-mcp-header": "City"}}}

    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "tools/list":
            talk.result(asked, {"tools": [{"name": "weather", "inputSchema": schema}]})
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.ask(modern(1, name="weather", arguments={"city": "Bonn"}))
        client.ask(modern(2, "tools/list"))
        client.ask(modern(3, name="weather", arguments={"city": "Bonn"}))
        before, after = server.calls("tools/call")
    assert "mcp-param-city" not in before.headers
    assert after.headers["mcp-param-city"] == "Bonn"


def test_a_stateless_request_is_cancelled_by_closing_its_stream() -> None:
    closed = threading.Event()

    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "tools/call":
            talk.stream()
            talk.until_closed()
            closed.set()
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.send(modern(1, name="slow"))
        server.wait(lambda: len(server.calls("tools/call")) == 1)
        client.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
        assert closed.wait(5)
        client.ask(modern(2, "tools/list"))
        assert client.passed == []
        assert not server.calls("notifications/cancelled")


@pytest.mark.parametrize(
    "id", [pytest.param(None, id="no id"), pytest.param("server-error", id="its own id")]
)
def test_an_error_in_a_refusal_reaches_the_client_as_its_answer(id: str | None) -> None:
    """A client of both eras decides by it: -32022 names the revisions that the server speaks."""
    error = {"code": -32022, "message": "unsupported", "data": {"supported": ["2025-11-25"]}}

    def script(talk: Talk, asked: Asked) -> None:
        talk.json({"jsonrpc": "2.0", "id": id, "error": error}, status=400)

    with scripted(script) as server, bridged(at(server.port)) as client:
        assert client.ask(modern(7, "server/discover")) == {"jsonrpc": "2.0", "id": 7, "error": error}
        assert client.passed == []


def test_a_client_of_both_eras_falls_back_to_initialize() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "server/discover":
            talk.answer(404, b"no such thing", "text/plain")
        else:
            with_session()(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        assert client.ask(modern(0, "server/discover"))["error"]["code"] == -32601
        client.open()
        client.ask(call(1))
        assert server.calls("tools/call")[0].headers["mcp-session-id"] == "visible-0123"
        assert client.end() == 0


# --- the deprecated transport --------------------------------------------------------------------------


def old_server(endpoint: str, refusal: int = 405) -> Script:
    """HTTP+SSE of 2024-11-05: one stream, and a path to post to."""
    streams: list[Talk] = []

    def script(talk: Talk, asked: Asked) -> None:
        if asked.method == "GET":
            streams.append(talk)
            talk.stream()
            talk.event(endpoint.format(port=talk.sock.getsockname()[1]), event="endpoint")
            talk.until_closed()
        elif asked.path == "/sse":
            talk.answer(refusal)
        else:
            talk.answer(202, b"Accepted")
            if asked.is_call:
                streams[0].event({"jsonrpc": "2.0", "id": asked.message["id"], "result": SERVER})

    return script


@pytest.mark.parametrize(
    ("endpoint", "refusal"),
    [
        pytest.param("/messages?session=1", 405, id="a path"),
        pytest.param("messages?session=1", 404, id="a relative path"),
        pytest.param("http://127.0.0.1:{port}/messages?session=1", 400, id="a whole url"),
        pytest.param("http://localhost:{port}/messages?session=1", 405, id="this host by its name"),
    ],
)
def test_an_old_server_is_spoken_to_on_its_one_stream(endpoint: str, refusal: int) -> None:
    with scripted(old_server(endpoint, refusal)) as server, bridged(at(server.port, "/sse")) as client:
        assert client.open()["result"] == SERVER
        client.ask(call(1))
        assert client.end() == 0
    assert {asked.path for asked in server.of("POST")[1:]} == {"/messages?session=1"}
    assert len(server.of("GET")) == 1
    assert not server.of("DELETE")


@pytest.mark.parametrize(
    "endpoint",
    [
        pytest.param("http://elsewhere.example/messages", id="another host"),
        pytest.param("//elsewhere.example/messages", id="another host without a scheme"),
        pytest.param("http://127.0.0.1:1/messages", id="another port"),
        pytest.param("https://127.0.0.1:{port}/messages", id="another scheme"),
        pytest.param("http://user@127.0.0.1:{port}/messages", id="with a user"),
        pytest.param("file:///etc/passwd", id="a file"),
        pytest.param("/messages with a space", id="no path"),
    ],
)
def test_an_old_server_that_names_another_origin_gets_nothing(endpoint: str) -> None:
    with scripted(old_server(endpoint)) as server, bridged(at(server.port, "/sse")) as client:
        answer = client.ask(INITIALIZE)
        assert "another origin" in answer["error"]["message"]
        client.end()
        assert len(server.of("POST")) == 1


def test_the_end_of_an_old_servers_stream_is_the_end_of_the_session() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if method(asked) == "tools/call":
            talk.answer(202)
            streams[0].last()
        elif asked.method == "GET":
            streams.append(talk)
            talk.stream()
            talk.event("/messages", event="endpoint")
            talk.until_closed()
        else:
            served(talk, asked)

    streams: list[Talk] = []
    served: Script = partial(_old_answers, streams)
    with scripted(script) as server, bridged(at(server.port, "/sse")) as client:
        client.open()
        answer = client.ask(call(1))
        assert "ended its stream" in answer["error"]["message"]
        assert client.ended() == 1
        assert "ended its stream" in client.notes()


def _old_answers(streams: list[Talk], talk: Talk, asked: Asked) -> None:
    if asked.path == "/sse":
        talk.answer(405)
        return
    talk.answer(202)
    if asked.is_call:
        streams[0].event({"jsonrpc": "2.0", "id": asked.message["id"], "result": SERVER})
