"""Servers that answer wrongly, late, without end or not at all: nobody waits for ever."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable

import httpx2
import pytest

from tests.bridge.driving import INITIALIZE, at, bridged, call, modern, texts
from tests.bridge.scripted import SERVER, STREAM, Asked, Script, Talk, head, honest, scripted

CHUNKED = f"Content-Type: {STREAM}", "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'


def to_call(answer: Callable[[Talk, Asked], None]) -> Script:
    """Honest but for `tools/call`; the connection ends after that."""

    def script(talk: Talk, asked: Asked) -> None:
        if asked.is_call and asked.message["id"] == 1 and asked.message["method"] == "tools/call":
            answer(talk, asked)
            talk.sock.shutdown(socket.SHUT_RDWR)
        else:
            honest(talk, asked)

    return script


def says(data: bytes) -> Script:
    return to_call(lambda talk, _: talk.send(data))


def body(data: bytes, *fields: str) -> bytes:
    return head(200, JSON, f"Content-Length: {len(data)}", *fields) + data


def streamed(data: bytes) -> bytes:
    return head(200, f"Content-Type: {STREAM}", f"Content-Length: {len(data)}") + data


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(b"", "closed the connection", id="nothing"),
        pytest.param(b"HTTP/1.1 200 O", "closed the connection", id="half a status line"),
        pytest.param(head(200, JSON, "Content-Length: 9") + b"{", "closed the connection", id="half a body"),
        pytest.param(head(200, *CHUNKED) + b"5\r\nda", "without the answer", id="half a chunk"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n" * 3, "no HTTP", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "no HTTP", id="lines that end in LF"),
        pytest.param(b"\0" * 100_000, "no HTTP", id="a status line without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 9999, "no HTTP", id="a head without end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" * 99, "interim", id="only interim answers"),
        pytest.param(head(101, "Upgrade: h2c"), "change of protocols", id="an upgrade"),
        pytest.param(
            head(200, JSON, "Content-Length: 5", "Content-Length: 6"), "two fields", id="two lengths"
        ),
        pytest.param(
            head(200, *CHUNKED, "Content-Length: 5"), "Transfer-Encoding", id="a length beside chunks"
        ),
        pytest.param(head(200, JSON, "Content-Length: -1"), "Content-Length", id="a length below nothing"),
        pytest.param(head(200, *CHUNKED) + b"zz\r\n", "chunk", id="a chunk of no size"),
        pytest.param(head(200, *CHUNKED) + b"1\r\nabc", "chunk", id="a chunk longer than it says"),
        pytest.param(body(ANSWER, "Content-Encoding: gzip"), "Content-Encoding", id="an encoding"),
        pytest.param(body(b""), "no message", id="an empty document"),
        pytest.param(body(b"nonsense"), "no message", id="no json"),
        pytest.param(body(b'{"id":1,"result":NaN}'), "no message", id="a number that is none"),
        pytest.param(body(ANSWER + ANSWER), "no message", id="two documents in one"),
        pytest.param(body(ANSWER + b"\n" + ANSWER), "no message", id="two documents, a line each"),
        pytest.param(body(b'{"a":"\n"}'), "no message", id="a line end in a text"),
        pytest.param(body(b'{"a":"\xff"}'), "not UTF-8", id="bytes that are no text"),
        pytest.param(body(b'\xef\xbb\xbf{"a":1}'), "no message", id="a mark of the byte order"),
        pytest.param(body(b"[1, 2, 3]"), "no message", id="a batch of numbers"),
        pytest.param(body(b"[]"), "something else", id="an empty batch"),
        pytest.param(body(b"[{}]" + b" " * 9), "something else", id="an object that says nothing"),
        pytest.param(body(b"[" * 90_000), "no message", id="a nest without end"),
        pytest.param(body(b'{"a":' * 90_000 + b"1" + b"}" * 90_000), "no message", id="a deep nest"),
        pytest.param(body(b"[" + b"1," * 600_000 + b"1]"), "too many values", id="numbers without end"),
        pytest.param(body(b"[" + b"{}," * 2000 + b"{}]"), "batch of more", id="a batch without end"),
        pytest.param(
            body(b'{"jsonrpc":"2.0","id":2,"result":{}}'), "something else", id="another one's answer"
        ),
        pytest.param(
            body(b'{"jsonrpc":"2.0","id":"1","result":{}}'), "something else", id="an id of another kind"
        ),
        pytest.param(head(200, "Content-Length: 2") + b"{}", "neither JSON", id="no type"),
        pytest.param(head(200, "Content-Type: text/html", "Content-Length: 0"), "`text/html`", id="a page"),
        pytest.param(head(202, "Content-Length: 0"), "will not answer", id="taken, not answered"),
        pytest.param(head(204), "neither JSON", id="no content"),
        pytest.param(head(500, "Content-Length: 0"), "(500)", id="a fault of its own"),
        pytest.param(head(403, "Content-Length: 0"), "(403)", id="forbidden"),
        pytest.param(streamed(b""), "without the answer", id="a stream of nothing"),
        pytest.param(streamed(b"data: nonsense\n\n"), "no message", id="an event of no message"),
        pytest.param(streamed(b"data: " + ANSWER), "without the answer", id="an event that never ends"),
        pytest.param(streamed(b"event: x\ndata: " + ANSWER + b"\n\n"), "without", id="another event"),
        pytest.param(streamed(b"id: " + b"1" * 9999 + b"\n\n"), "cannot be read", id="an id without end"),
    ],
)  # fmt: skip
def test_a_request_that_is_not_answered_gets_an_error_and_the_next_its_answer(
    answer: bytes, why: str
) -> None:
    with scripted(says(answer)) as server, bridged(at(server.port)) as client:
        client.open()
        said = client.ask(call(1))
        assert why in said["error"]["message"]
        client.ask(call("l", "tools/list"))  # may be sent again, where the first connection has just ended
        assert texts(client.ask(call(2))) == ["honest"]
        assert client.end() == 0
        assert len([asked for asked in server.calls("tools/call") if asked.message["id"] == 1]) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(body(ANSWER), id="a document"),
        pytest.param(body(json.dumps(json.loads(ANSWER), indent=1).encode()), id="over several lines"),
        pytest.param(body(ANSWER.replace(b",", b",\r\n")), id="over several lines of Windows"),
        pytest.param(head(200, JSON) + ANSWER, id="until the connection ends"),
        pytest.param(b"HTTP/1.0 200\r\n" + JSON.encode() + b"\r\n\r\n" + ANSWER, id="http 1.0"),
        pytest.param(b"HTTP/1.1 103 Hints\r\nLink: </a>\r\n\r\n" + body(ANSWER), id="after a hint"),
        pytest.param(head(201, JSON, f"Content-Length: {len(ANSWER)}") + ANSWER, id="created"),
        pytest.param(
            head(200, JSON + "; charset=utf-8", f"Content-Length: {len(ANSWER)}") + ANSWER, id="a charset"
        ),
        pytest.param(streamed(b": ping\n\nid: 1\n\ndata: " + ANSWER + b"\n\n"), id="an event"),
        pytest.param(
            streamed(b"data:" + ANSWER.replace(b",", b",\rdata:") + b"\r\r"), id="an event in lines"
        ),
        pytest.param(streamed(b"data: [" + ANSWER + b"]\n\n"), id="an event with a batch"),
    ],
)
def test_what_is_odd_but_says_it_is_read(answer: bytes) -> None:
    with scripted(says(answer)) as server, bridged(at(server.port)) as client:
        client.open()
        client.send(call(1))
        line = client.line()
        assert json.loads(line) == json.loads(ANSWER)
        assert b"\r" not in line


def test_what_came_before_a_stream_broke_has_passed() -> None:
    note = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
    with scripted(says(streamed(note + b"data: nonsense\n\n"))) as server, bridged(at(server.port)) as client:
        client.open()
        assert "no message" in client.ask(call(1))["error"]["message"]
        assert [message["method"] for message in client.passed] == ["notifications/progress"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(head(200, JSON, "Content-Length: 99999999") + b"[" + b" " * 70_000, id="a document"),
        pytest.param(head(200, JSON) + b" " * 70_000, id="a document without a length"),
        pytest.param(head(200, *CHUNKED) + b"11176\r\ndata: " + b"x" * 70_000 + b"\r\n", id="a line"),
        pytest.param(
            head(200, *CHUNKED) + b"2af80\r\n" + b"data: xxxx\n" * 16_000, id="an event of many lines"
        ),
    ],
)
def test_a_message_without_end_is_given_up_at_its_bound(answer: bytes) -> None:
    """The server goes on for ever: it is the bridge that ends it."""

    def endless(talk: Talk, _: Asked) -> None:
        talk.send(answer)
        talk.until_closed()

    with scripted(to_call(endless)) as server, bridged(at(server.port, message=60_000)) as client:
        client.open()
        said = client.ask(call(1))["error"]["message"]
        assert "longer than" in said or "more than" in said
        assert texts(client.ask(call(2))) == ["honest"]


# --- what ends the bridge ------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 404])
def test_a_login_that_is_wanted_and_a_session_that_is_lost_end_it(status: int) -> None:
    waiting = threading.Event()

    def script(talk: Talk, asked: Asked) -> None:
        name = asked.message.get("method") if asked.body else ""
        if name == "initialize":
            talk.result(asked, SERVER, "Mcp-Session-Id: abc")
        elif name == "tools/call":
            waiting.set()
            talk.until_closed()
        elif name == "tools/list":
            talk.answer(status, b"gone", "text/plain")
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.open()
        client.send(call(1))
        assert waiting.wait(5)
        client.send(call(2, "tools/list"))
        answers = {
            message["id"]: message["error"]["message"] for message in (client.receive(), client.receive())
        }
        assert set(answers) == {1, 2}
        assert all(f"({status})" in said for said in answers.values())
        assert client.ended() == 1
        assert f"({status})" in client.notes()


def test_what_logs_in_is_said_with_a_401() -> None:
    with (
        scripted(lambda talk, _: talk.answer(401)) as server,
        bridged(at(server.port, login="`log in`")) as client,
    ):
        assert client.ask(INITIALIZE)["error"]["message"].endswith("(401); hint: `log in`")
        assert client.ended() == 1
        assert "hint: `log in`" in client.notes()


@pytest.mark.parametrize(
    ("challenge", "hint"),
    [
        pytest.param('Bearer error="x", scope="a:b c/d"', "; hint: `log in` --scope 'a:b c/d'", id="two"),
        pytest.param("Bearer scope=\"a'; rm -rf /;'\"", "", id="what a shell would run"),
        pytest.param('Bearer scope="a\x9b2J"', "", id="what a terminal would do"),
        pytest.param(f'Bearer scope="{"a" * 300}"', "", id="too much"),
        pytest.param("Bearer", "", id="none"),
    ],
)  # fmt: skip
def test_a_scope_that_is_wanted_is_said(challenge: str, hint: str) -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if asked.is_call and asked.message["method"] == "tools/call":
            talk.answer(403, b"", "", f"WWW-Authenticate: {challenge}")
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port, login="`log in`")) as client:
        client.open()
        said = client.ask(call(1))["error"]["message"]
        assert said == f"the server refuses the request (403){hint}"
        assert client.end() == 0


def test_a_server_that_never_listens_is_told_of_by_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    begun = time.monotonic()
    with bridged(at(port, ready=0.4)) as client:
        client.send(INITIALIZE, call(1))
        said = client.receive()
        assert said["id"] == 0
        assert "not ready within 0.4 s" in said["error"]["message"]
        assert client.ended() == 1
        assert f"`http://127.0.0.1:{port}/mcp`" in client.notes()
    assert time.monotonic() - begun < 5


def test_a_server_that_listens_late_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with bridged(at(port)) as client:
        client.send(INITIALIZE)
        time.sleep(0.2)  # the world's time, not ours: the server is slow to start
        with scripted(port=port) as _:
            assert client.until(0)["result"] == SERVER
            client.end()


def test_a_client_that_leaves_before_a_server_listens_hears_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes all that it has to say, and goes: its end is seen while its first word still waits."""
    monkeypatch.setattr("sandbox.bridge.bridge.FIRST_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with bridged(at(port, ready=30.0)) as client:
        client.send(INITIALIZE, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call(1))
        assert client.end() == 0
        assert [message["id"] for message in client.rest] == [0, 1]
        assert all("no connection to" in message["error"]["message"] for message in client.rest)


def test_a_server_on_the_other_loopback_is_found() -> None:
    with scripted(host="::1") as server, bridged(at(server.port)) as client:
        assert client.open()["result"] == SERVER


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(("X-Key", "a\r\nHost: elsewhere"), id="two lines"),
        pytest.param(("X Key", "a"), id="no name"),
        pytest.param(("Host", "elsewhere"), id="one of ours"),
        pytest.param(("Content-Length", "5"), id="one that ends messages"),
        pytest.param(("X-Key", "a\0b"), id="a control character"),
    ],
)
def test_a_header_that_cannot_be_sent_stops_it_before_anything_is(header: tuple[str, str]) -> None:
    with scripted() as server, bridged(at(server.port, sent=[header])) as client:
        assert client.ended() == 1
        assert "cannot be sent" in client.notes()
        assert server.asked == []


# --- redirects, cookies, connections -------------------------------------------------------------------


@pytest.mark.parametrize(("status", "times"), [(307, 2), (308, 1)])
def test_a_redirect_within_the_origin_is_followed_with_the_message(status: int, times: int) -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if asked.path == "/mcp":
            talk.answer(status, b"", "", "Location: /mcp/")
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.ask(modern(1, name="a"))
        client.ask(modern(2, name="a"))
        assert len([asked for asked in server.asked if asked.path == "/mcp"]) == times
        assert [asked.message["id"] for asked in server.asked if asked.path == "/mcp/"] == [1, 2]


@pytest.mark.parametrize(
    ("status", "location"),
    [
        pytest.param(307, "http://127.0.0.1:{other}/mcp", id="another port"),
        pytest.param(308, "http://127.0.0.2:{port}/mcp", id="another host"),
        pytest.param(307, "https://127.0.0.1:{port}/mcp", id="another scheme"),
        pytest.param(307, "//127.0.0.1:{other}/mcp", id="another port without a scheme"),
        pytest.param(
            307, "http://127.0.0.1:{port}@127.0.0.1:{other}/mcp", id="a user that looks like a host"
        ),
        pytest.param(307, "http://[::1/", id="no url"),
        pytest.param(307, "", id="no location"),
        pytest.param(301, "/mcp/", id="one that turns a POST into a GET"),
        pytest.param(303, "/mcp/", id="one that asks for a GET"),
    ],
)
def test_any_other_redirect_is_refused_and_no_secret_goes_there(status: int, location: str) -> None:
    with scripted() as other:

        def script(talk: Talk, _: Asked) -> None:
            to = location.format(port=server.port, other=other.port)
            talk.answer(status, b"", "", *([f"Location: {to}"] if to else []))

        with (
            scripted(script) as server,
            bridged(at(server.port, sent=[("X-Key", "secret")])) as client,
        ):
            said = client.ask(modern(1, name="a"))["error"]["message"]
            assert "not followed" in said
            assert "/mcp/" not in said.replace("`http://127.0.0.1:", "")
        assert other.asked == []
        assert len(server.asked) == 1


def test_a_client_that_follows_redirects_takes_the_secret_there() -> None:
    """The control: what the refusals above keep back is really lost by others."""
    with scripted() as other:

        def script(talk: Talk, _: Asked) -> None:
            talk.answer(307, b"", "", f"Location: http://127.0.0.1:{other.port}/mcp")

        with scripted(script) as server, httpx2.Client(follow_redirects=True) as client:
            client.post(
                f"http://127.0.0.1:{server.port}/mcp", json=modern(1, name="a"), headers={"X-Key": "secret"}
            )
        assert [asked.headers["x-key"] for asked in other.asked] == ["secret"]
        assert other.asked[0].message["method"] == "tools/call"


def test_redirects_in_a_ring_end() -> None:
    with (
        scripted(lambda talk, _: talk.answer(307, b"", "", "Location: /mcp")) as server,
        bridged(at(server.port)) as client,
    ):
        assert "more than 3 times" in client.ask(modern(1, name="a"))["error"]["message"]
        assert len(server.asked) == 4


def test_a_cookie_is_not_given_back() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        talk.result(asked, {}, "Set-Cookie: a=b; Path=/")

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.ask(modern(1, name="a"))
        client.ask(modern(2, name="a"))
        assert not any("cookie" in asked.headers for asked in server.asked)


def test_what_nobody_reads_of_an_answer_is_no_part_of_the_next_one() -> None:
    """The body of a refused GET, and then a call over the same connection."""

    def script(talk: Talk, asked: Asked) -> None:
        if asked.method == "GET":
            talk.answer(404, ANSWER, "application/json")
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.open()
        server.wait(lambda: len(server.of("GET")) == 1)
        for id in range(2, 12):
            assert texts(client.ask(call(id))) == ["honest"]


def test_one_connection_serves_one_call_after_the_other() -> None:
    with scripted() as server, bridged(at(server.port)) as client:
        for id in range(20):
            client.ask(modern(id, name="a"))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("method", "answered"),
    [pytest.param("tools/list", True, id="a list"), pytest.param("tools/call", False, id="a call")],
)
def test_only_what_does_nothing_is_sent_twice_when_a_kept_connection_ends(
    method: str, answered: bool
) -> None:
    """Nobody knows whether the server has seen it: a tool must not run twice."""
    seen: list[Asked] = []

    def script(talk: Talk, asked: Asked) -> None:
        if asked.message["id"] == 1:
            seen.append(asked)
            if len(seen) == 1:
                talk.sock.shutdown(socket.SHUT_RDWR)
                return
        honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.ask(modern(0, name="a"))
        answer = client.ask(modern(1, method, name="a"))
        assert ("result" in answer) is answered
        assert len(seen) == (2 if answered else 1)


# --- bounds --------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_holds_up_the_server() -> None:
    """Bytes that nobody reads are not heaped up: they stay with the server."""
    piece = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 8000}})
    event = f"data: {piece}\n\n".encode()
    sent = 0

    def flood(talk: Talk, asked: Asked) -> None:
        nonlocal sent
        talk.stream()
        talk.sock.settimeout(1)
        for _ in range(10_000):
            talk.chunk(event)
            sent += len(event)

    with scripted(to_call(flood)) as server, bridged(at(server.port)) as client:
        client.send(call(1))
        server.wait(lambda: len(server.asked) == 1)
        before = -1
        while before < sent:
            before = sent
            time.sleep(0.3)
        assert sent < 16 << 20, "what was sent lies in the kernel's buffers and in ours"
        for _ in range(100):
            assert client.receive()["method"] == "notifications/message"


@pytest.mark.parametrize("kind", [JSON, f"Content-Type: {STREAM}"], ids=["documents", "streams"])
def test_answers_that_are_never_finished_share_one_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight of 50,000 bytes each, of which all together may hold 200,000: four are given up, four go on."""
    monkeypatch.setattr("sandbox.bridge.unfinished.ALL_MAX", 200_000)
    release = threading.Event()

    def script(talk: Talk, asked: Asked) -> None:
        talk.send(head(200, kind, "Content-Length: 60000") + b"data: " + b" " * 49_000)
        assert release.wait(30)
        talk.until_closed()

    with scripted(script) as server, bridged(at(server.port, message=60_000)) as client:
        client.send(*[modern(id, name="a") for id in range(8)])
        given_up = [client.receive() for _ in range(4)]
        assert all("unfinished" in answer["error"]["message"] for answer in given_up)
        client.send(modern(9, name="a"))
        server.wait(lambda: len(server.asked) == 9)
        release.set()


def test_a_stream_that_only_says_that_it_stands_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.bridge.unfinished.ALL_MAX", 600_000)

    def patient(talk: Talk, _: Asked) -> None:
        talk.stream()
        for _ in range(100):
            talk.chunk(b": still here\n\n" * 1000)
        talk.chunk(b"data: " + ANSWER + b"\n\n")
        talk.last()

    with scripted(to_call(patient)) as server, bridged(at(server.port, message=5000)) as client:
        assert "result" in client.ask(call(1))


def test_a_client_that_asks_too_much_at_once_is_held_up() -> None:
    release = threading.Event()

    def script(talk: Talk, asked: Asked) -> None:
        assert release.wait(30)
        honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.send(*[modern(id, name="a") for id in range(300)])
        server.wait(lambda: len(server.asked) == 256)
        release.set()
        assert {client.receive()["id"] for _ in range(300)} == set(range(300))


def test_the_end_of_the_client_ends_a_call_that_does_not() -> None:
    with scripted(to_call(lambda talk, _: talk.until_closed())) as server, bridged(at(server.port)) as client:
        client.open()
        client.send(call(1))
        server.wait(lambda: len(server.calls("tools/call")) == 1)
        begun = time.monotonic()
        assert client.end() == 0
        assert time.monotonic() - begun < 1.8
        assert [message["id"] for message in client.rest] == [1]


def test_a_client_that_writes_and_leaves_gets_its_answers_from_a_server_that_is_slow_to_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with bridged(at(port)) as client:
        client.send(INITIALIZE, modern(1, name="a"))
        client.hang_up()
        time.sleep(1.2)  # the server's time, longer than the client's end waits for what is due
        with scripted(port=port):
            assert client.end() == 0
        assert [message["id"] for message in client.rest] == [0, 1]
        assert all("result" in message for message in client.rest)


def test_a_stream_that_cannot_be_taken_up_is_given_up() -> None:
    def script(talk: Talk, asked: Asked) -> None:
        if asked.method == "GET":
            talk.answer(503)
        elif asked.is_call and asked.message["method"] == "tools/call":
            talk.stream()
            talk.event(id="one", retry=50)
            talk.last()
        else:
            honest(talk, asked)

    with scripted(script) as server, bridged(at(server.port)) as client:
        client.send(INITIALIZE)
        client.until(0)
        assert "given up" in client.ask(call(1))["error"]["message"]
        assert len(server.of("GET")) == 5
