"""The front over real sockets: what is answered, what the sessions are given, how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from sandbox.errors import SandboxNotBuilt, UsageError
from sandbox.serve.address import parse
from sandbox.serve.front import Options, tls_context
from sandbox.serve.limits import Limits
from sandbox.serve.words import Refused, Reply, Request
from tests.serve.serving import EVENTS, JSON, OTHER, TOKEN, Served, answer, forever, served


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("front"), allow_origins=("https://page.example",)) as one:
        yield one


def test_a_request_is_answered_and_another_may_follow(front: Served) -> None:
    with front.connect() as one:
        for body in (b'{"a":1}', b'{"b":2}'):
            one.sendall(front.post(body))
            got = answer(one)
            assert (got.status, got.body) == (200, body)
        assert got.headers["content-type"] == "application/json"
        assert "connection" not in got.headers


def test_what_the_sessions_are_given(front: Served) -> None:
    front.sessions.asked.clear()
    front.send(front.post(b"[1]", "Mcp-Method: ping\r\nCookie: c\r\n", OTHER, "/github/mcp"))
    (request,) = front.sessions.asked
    assert (request.method, request.route, request.body) == ("POST", "github", b"[1]")
    assert request.principal.name == "b"
    assert request.headers["mcp-method"] == "ping"
    assert not {"authorization", "cookie"} & set(request.headers)
    assert OTHER not in repr(request)


@pytest.mark.parametrize("step", [1, 13])
def test_bytes_that_trickle_in(front: Served, step: int) -> None:
    data = front.post(b'{"x":"' + b"y" * 40 + b'"}')
    with front.connect() as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), step):
            one.sendall(data[at : at + step])
        assert answer(one).status == 200


def test_a_body_in_chunks(front: Served) -> None:
    head = front.head("POST", "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n")
    got = front.send(head + b"2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n")
    assert (got.status, got.body) == (200, b"[1]")


def test_a_client_that_waits_to_be_asked_for_its_body(front: Served) -> None:
    head, _, body = front.post(b"[1]", "Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with front.connect() as one:
        one.sendall(head + b"\r\n\r\n")
        assert answer(one).status == 100
        one.sendall(body)
        assert answer(one).body == b"[1]"


def test_a_client_without_a_token_is_not_asked_for_its_body(front: Served) -> None:
    head, _, _ = front.post(b"[1]", "Expect: 100-continue\r\n", None).partition(b"\r\n\r\n")
    assert front.send(head + b"\r\n\r\n").status == 401


def test_requests_that_come_at_once_are_answered_in_order(front: Served) -> None:
    with front.connect() as one:
        one.sendall(b"".join(front.post(b"[%d]" % n) for n in range(3)))
        assert [answer_of_length(one, 3) for _ in range(3)] == [b"[0]", b"[1]", b"[2]"]


def answer_of_length(one: socket.socket, size: int) -> bytes:
    """The body of the next answer; nothing of the one behind it is read."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += one.recv(1)
    return one.recv(size, socket.MSG_WAITALL)


def test_a_client_that_says_that_it_goes_is_let_go(front: Served) -> None:
    with front.connect() as one:
        one.sendall(front.post(b"[1]", "Connection: close\r\n"))
        got = answer(one)
        assert (got.status, got.headers["connection"]) == (200, "close")
        assert one.recv(1) == b""


def test_an_old_client_gets_an_answer_and_an_end(front: Served) -> None:
    got = front.send(front.post().replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert (got.status, got.headers["connection"]) == (200, "close")


def test_a_page_that_was_named_may_read_the_answer(front: Served) -> None:
    ask = "Origin: https://page.example\r\nAccess-Control-Request-Method: POST\r\n"
    may = front.send(front.head("OPTIONS", ask, None))
    assert may.status == 204
    assert "authorization" in may.headers["access-control-allow-headers"].lower()
    got = front.send(front.post(more="Origin: https://page.example\r\n"))
    assert got.headers["access-control-allow-origin"] == "https://page.example"


def test_every_other_page_reads_nothing(front: Served) -> None:
    ask = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n"
    refused = front.send(front.head("OPTIONS", ask, None))
    assert refused.status == 403
    assert not [name for name in refused.headers if name.startswith("access-control")]


# --- streams ---------------------------------------------------------------------------------------------


def test_a_stream_is_written_as_it_comes(tmp_path: Path) -> None:
    more: list[asyncio.Event] = []

    async def behave(request: Request) -> Reply:
        more.append(asyncio.Event())

        async def events() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            await more[0].wait()
            yield b"data: 2\n\n"

        return Reply(200, EVENTS, events())

    with served(tmp_path, behave=behave) as front, front.connect() as one:
        one.sendall(front.post())
        got = answer(one).body
        while b"data: 1" not in got:
            got += one.recv(100)
        assert b"data: 2" not in got
        front.loop.call_soon_threadsafe(more[0].set)
        while not got.endswith(b"0\r\n\r\n"):
            got += one.recv(100)
        assert got == b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"


def test_a_stream_is_closed_when_its_client_goes(tmp_path: Path) -> None:
    closed = threading.Event()

    class Stream:
        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> bytes:
            return await asyncio.get_running_loop().create_future()

        async def aclose(self) -> None:
            closed.set()

    async def behave(request: Request) -> Reply:
        return Reply(200, EVENTS, Stream())

    with served(tmp_path, behave=behave) as front:
        with front.connect() as one:
            one.sendall(front.post())
            assert answer(one).status == 200
            assert not closed.is_set()
        assert closed.wait(5)


@pytest.mark.parametrize(("method", "ends"), [("GET", True), ("POST", False)])
def test_a_stream_that_waits_for_news_ends_with_its_token(tmp_path: Path, method: str, ends: bool) -> None:
    """A call's stream goes on: to cut it would cancel the call."""
    with served(tmp_path, behave=forever, until=time.time() + 0.3) as front, front.connect() as one:
        one.settimeout(1)
        one.sendall(front.post() if method == "POST" else front.head("GET", "Accept: text/event-stream\r\n"))
        got = answer(one).body
        with suppress(TimeoutError):
            while not got.endswith(b"0\r\n\r\n"):
                got += one.recv(100)
        assert got.endswith(b"\r\n0\r\n\r\n") is ends


def test_a_request_is_given_up_when_its_client_goes(tmp_path: Path) -> None:
    begun, given_up = threading.Event(), threading.Event()

    async def behave(request: Request) -> Reply:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return Reply(200)

    with served(tmp_path, behave=behave) as front:
        with front.connect() as one:
            one.sendall(front.post())
            assert begun.wait(5)
        assert given_up.wait(5)


def test_a_client_that_reads_nothing_holds_back_its_stream_and_is_let_go(tmp_path: Path) -> None:
    given: list[int] = []
    gone = threading.Event()

    async def behave(request: Request) -> Reply:
        async def events() -> AsyncIterator[bytes]:
            try:
                while True:
                    given.append(1 << 16)
                    yield b"x" * (1 << 16)
            finally:
                gone.set()

        return Reply(200, EVENTS, events())

    limits = Limits(write_s=0.3, body_rate=1 << 20)
    with served(tmp_path, behave=behave, limits=limits) as front, front.connect() as one:
        one.sendall(front.post())
        assert gone.wait(10)
        assert sum(given) < 16 << 20, "what a client does not read is not made"


# --- what goes wrong behind it -----------------------------------------------------------------------------


def test_a_mistake_in_one_request_is_told_and_costs_no_other(tmp_path: Path) -> None:
    async def behave(request: Request) -> Reply:
        if request.body == b"[0]":
            raise RuntimeError(f"with a secret {TOKEN}")
        return Reply(200, JSON, b"[]")

    with served(tmp_path, behave=behave) as front:
        got = front.send(front.post(b"[0]"))
        assert (got.status, got.code) == (500, "fault")
        assert front.send(front.post(b"[1]")).status == 200
        assert "fault" in front.refusals()
        assert TOKEN not in front.log.read_text()


def test_a_refusal_of_the_sessions_is_passed_on_and_logged(tmp_path: Path) -> None:
    async def behave(request: Request) -> Refused:
        return Refused(404, "no-session", "no such session", body=b'{"own":1}')

    with served(tmp_path, behave=behave) as front, front.connect() as one:
        for _ in range(2):  # a known client keeps its connection
            one.sendall(front.post())
            got = answer(one)
            assert (got.status, got.body) == (404, b'{"own":1}')
        assert front.refusals() == ["no-session"] * 2
        assert front.events()[0]["detail"]["principal"] == "a"


def test_a_log_that_cannot_be_written_ends_the_front(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="cannot write"), served(tmp_path) as front:  # noqa: PT012
        with open("/dev/full", "wb") as full:
            os.dup2(full.fileno(), front.front._sink._log)
        front.send(front.post(token=None))
        front.wait_until_ended()
    assert front.sessions.closed == 1


# --- ends --------------------------------------------------------------------------------------------------


def test_at_its_end_streams_end_and_the_sessions_are_closed_once(tmp_path: Path) -> None:
    with served(tmp_path, behave=forever) as front:
        one, idle = front.connect(), front.connect()
        one.sendall(front.post())
        assert answer(one).status == 200
    with one, idle:
        while one.recv(100):
            pass
        assert idle.recv(1) == b""
    assert front.sessions.closed == 1
    with pytest.raises(OSError, match="refused"):
        front.connect()


# --- TLS and unix sockets -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.issue_cert("localhost").configure_cert(server)
    ca.configure_trust(client)
    return server, client


def test_over_tls(tmp_path: Path, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    with served(tmp_path, tls=contexts, tls_cert="x", tls_key="y") as front:
        assert front.send(front.post(b"[1]")).body == b"[1]"
        assert front.send(front.post(token=None)).status == 401
        own = f"Origin: https://localhost:{front.port}\r\n"
        assert front.send(front.post(more=own)).status == 200
        with socket.create_connection(("127.0.0.1", front.port)) as plain:
            plain.sendall(front.post())
            assert answer(plain).status == 0


def test_over_a_unix_socket_no_token_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "own" / "socket"
    with served(tmp_path, listen=f"unix:{path}") as front:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert front.send(front.post(token=None)).status == 200
        assert front.sessions.asked[0].principal.name.startswith("uid:")
        assert front.send(front.post(token=None, more="Origin: http://localhost\r\n")).status == 403
    assert not path.exists()


def test_a_socket_that_a_killed_front_left_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(folder / "socket"))
    left.close()
    with served(tmp_path, listen=f"unix:{folder}/socket") as front:
        assert front.send(front.post(token=None)).status == 200
        other = tmp_path / "other"
        other.mkdir()
        with pytest.raises(SandboxNotBuilt, match="in use"), served(other, listen=f"unix:{folder}/socket"):
            pass


def test_no_socket_is_put_where_others_could_replace_it(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with (
        pytest.raises(SandboxNotBuilt, match="other users"),
        served(tmp_path, listen=f"unix:{folder}/socket"),
    ):
        pass


def test_a_front_answers_to_another_name_that_was_given(tmp_path: Path) -> None:
    with served(tmp_path, allow_hosts=("mcp.example",)) as front:
        assert front.send(front.post(more="Host: mcp.example\r\n")).status == 200
        assert front.send(front.post(more=f"Host: MCP.example:{front.port}\r\n")).status == 200
        assert front.send(front.post(more="Host: other.example\r\n")).status == 421


def test_over_tls_whoever_is_refused_before_its_body_reads_why(
    tmp_path: Path, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    with served(tmp_path, tls=contexts, tls_cert="x", tls_key="y") as front:
        for _ in range(5):
            assert front.send(front.post(b"x" * 200_000, token=None)).status == 401


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Certificates and keys as they lie on a disk."""
    place = tmp_path_factory.mktemp("tls")
    made = {name: trustme.CA().issue_cert("localhost") for name in ("one", "two")}
    for name, issued in made.items():
        issued.private_key_and_cert_chain_pem.write_to_path(place / f"{name}.pem")
    ask = ["openssl", "pkey", "-in", place / "one.pem", "-aes128", "-passout", "pass:secret"]
    subprocess.run([*ask, "-out", place / "locked.pem"], check=True, capture_output=True)
    (place / "none.pem").write_text("no certificate")
    return {path.stem: str(path) for path in place.iterdir()}


@pytest.mark.parametrize(
    ("cert", "key", "why"),
    [
        pytest.param("one", "two", "cannot load", id="another's key"),
        pytest.param("none", "one", "cannot load", id="no certificate"),
        pytest.param("one", "gone", "cannot load", id="no file"),
        pytest.param("one", "locked", "has a password", id="a key with a password"),
        pytest.param("one", "", "needs its key", id="no key"),
    ],
)
def test_a_certificate_that_cannot_be_used_stops_the_start(
    files: dict[str, str], cert: str, key: str, why: str
) -> None:
    options = Options({}, parse("localhost:0"), tls_cert=files[cert], tls_key=files.get(key, key))
    with pytest.raises(UsageError, match=why):
        tls_context(options)


def test_no_old_tls(files: dict[str, str]) -> None:
    context = tls_context(Options({}, parse("localhost:0"), tls_cert=files["one"], tls_key=files["one"]))
    assert context is not None
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_front_that_ends_leaves_the_socket_of_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "own" / "socket"
    with served(tmp_path, listen=f"unix:{path}"), socket.socket(socket.AF_UNIX) as following:
        path.rename(path.with_name("old"))  # its number stays taken, or the next one could get it
        following.bind(str(path))
    assert path.is_socket()
