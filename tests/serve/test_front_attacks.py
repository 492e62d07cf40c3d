"""Attacks on the front, each first on a server without one: refused with the right status, and in the log."""

from __future__ import annotations

import os
import select
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from sandbox.serve import http
from sandbox.serve.limits import Limits
from sandbox.serve.words import Reply, Request
from tests.serve.bare import bare
from tests.serve.serving import FORM, OTHER, TOKEN, Answer, Served, answer, echo, forever, served

Attack = Callable[[Served], bytes]


@pytest.fixture(scope="module")
def without() -> Iterator[int]:
    with bare() as port:
        yield port


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, limits=Limits(body_max=1 << 16)) as one:
        yield one


def sent_to(port: int, data: bytes) -> Answer:
    """What a server without a front answers to the same bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(data)
        return answer(one)


def smuggled(*fields: str, body: bytes = b"0\r\n\r\nGET /github/mcp HTTP/1.1\r\nX: ") -> Attack:
    """Bytes of a known client's that one server takes for a body and another for a second request."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return lambda front: front.head("POST", f"{FORM}{lines}") + body


def said(more: str = "", token: str | None = TOKEN, path: str = "/mcp") -> Attack:
    return lambda front: front.post(b"{}", more, token, path)


def headed(method: str, token: str | None = TOKEN, more: str = "") -> Attack:
    return lambda front: front.head(method, more, token)


ATTACKS = {
    "no token": (said(token=None), 401, "no-token"),
    "a bad token": (said(token="x" * 40), 401, "bad-token"),
    "a token's beginning": (said(token=TOKEN[:-1]), 401, "bad-token"),
    "a token and more": (said(token=TOKEN + "t"), 401, "bad-token"),
    "an empty token": (said("Authorization: Bearer \r\n", None), 401, "bad-token"),
    "another scheme": (said(f"Authorization: Basic {TOKEN}\r\n", None), 401, "bad-token"),
    "a token in the URL": (said(token=None, path=f"/mcp?access_token={TOKEN}"), 404, "no-such-path"),
    "a token in a cookie": (said(f"Cookie: token={TOKEN}\r\n", None), 401, "no-token"),
    "another page": (said("Origin: https://evil.example\r\n"), 403, "wrong-origin"),
    "a page from a file": (said("Origin: null\r\n"), 403, "wrong-origin"),
    "a page's hidden request": (said("Sec-Fetch-Site: cross-site\r\n"), 403, "wrong-origin"),
    "another port of this machine": (said("Origin: http://localhost:1\r\n"), 403, "wrong-origin"),
    "another host": (said("Host: evil.example\r\n"), 421, "wrong-host"),
    "DNS rebinding": (
        said("Host: evil.example:80\r\nOrigin: http://evil.example:80\r\n"), 421, "wrong-host",
    ),
    "an unknown path": (said(path="/other/mcp"), 404, "no-such-path"),
    "a path that climbs": (said(path="/github/../mcp"), 404, "no-such-path"),
    "another method": (headed("PUT"), 405, "wrong-method"),
    "TRACE": (headed("TRACE"), 405, "wrong-method"),
    "a form": (said("Content-Type: text/plain\r\n").__call__, 400, "malformed"),
    "a GET of a page": (headed("GET", more="Accept: text/html\r\n"), 406, "wrong-accept"),
    "a strange session": (said("Mcp-Session-Id: a b\r\n"), 400, "bad-session-id"),
    "a strange revision": (said("MCP-Protocol-Version: 1 2\r\n"), 400, "bad-version"),
    "two of an MCP header": (said("Mcp-Name: a\r\nMcp-Name: b\r\n"), 400, "malformed"),
    "both lengths": (smuggled("Content-Length: 40", "Transfer-Encoding: chunked"), 400, "malformed"),
    "two lengths": (smuggled("Content-Length: 5", "Content-Length: 5"), 400, "malformed"),
    "a hidden coding": (smuggled("Content-Length: 40", "Transfer-Encoding : chunked"), 400, "malformed"),
    "a coding in capitals and more": (smuggled("Transfer-Encoding: identity, chunked"), 400, "malformed"),
    "a coding after LF": (
        smuggled("X: y\nTransfer-Encoding: chunked", "Content-Length: 40"), 400, "malformed",
    ),
    "a coding in a second line": (smuggled("X: y", " Transfer-Encoding: chunked"), 400, "malformed"),
    "a chunk's end in LF": (smuggled("Transfer-Encoding: chunked", body=b"2\n{}\n0\n\n"), 400, "malformed"),
    "a request in a GET's body": (headed("GET", more="Accept: */*\r\nContent-Length: 40\r\n"), 400, "body"),
    "a body too long": (lambda front: front.post(b"x" * ((1 << 16) + 1)), 413, "body-too-large"),
    "a body too long in chunks": (
        smuggled("Transfer-Encoding: chunked", body=b"fffff\r\n" + b"x" * 70000), 413, "body-too-large",
    ),
    "a head too long": (said("X: " + "x" * (1 << 15) + "\r\n"), 431, "head-too-large"),
    "a line too long": (said(path="/" + "x" * 5000), 414, "line-too-long"),
}  # fmt: skip
REFUSED_BARE = {
    "two lengths", "a hidden coding", "a coding in capitals and more", "a chunk's end in LF",
    "a head too long",
}  # fmt: skip
"""What h11 refuses as well, or bounds: there the front is as strict, not stricter."""
UNFINISHED_BARE = {"a request in a GET's body", "a body too long in chunks", "a coding after LF"}
"""What leaves a server waiting for the rest."""


@pytest.mark.threat("S1", proves="a bad token, Origin, Host or framing is refused and logged")
@pytest.mark.parametrize(("attack", "status", "code"), ATTACKS.values(), ids=ATTACKS)
def test_refused_with_its_status_and_logged(front: Served, attack: Attack, status: int, code: str) -> None:
    got = front.send(attack(front))
    assert (got.status, got.code) == (status, code)
    assert not front.sessions.asked, "nobody behind the front hears of it"
    assert front.refusals() == [code]
    logged = front.log.read_text()
    assert TOKEN not in logged
    assert TOKEN not in got.body.decode()


@pytest.mark.parametrize("name", sorted(set(ATTACKS) - REFUSED_BARE - UNFINISHED_BARE))
def test_without_a_front_the_same_is_answered(front: Served, without: int, name: str) -> None:
    attack, _, _ = ATTACKS[name]
    assert sent_to(without, attack(front)).status == 200


def test_nothing_that_follows_a_refused_request_is_read(front: Served) -> None:
    both = smuggled("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")(front)
    with front.connect() as one:
        one.sendall(both + front.post(b"[1]"))
        assert answer(one).status == 400
        rest = b""
        with suppress(ConnectionResetError):
            while more := one.recv(1000):
                rest += more
        assert b"200" not in rest
    assert not front.sessions.asked


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("GET /.well-known/told HTTP/1.1\r\n", id="a document"),
        pytest.param(
            "OPTIONS /mcp HTTP/1.1\r\nOrigin: https://page\r\nAccess-Control-Request-Method: POST\r\n",
            id="a page that asks whether it may",
        ),
    ],
)
def test_no_request_hides_in_the_body_of_one_that_is_answered_to_anybody(tmp_path: Path, first: str) -> None:
    until = time.time() + 99
    with served(tmp_path, until=until, allow_origins=("https://page",)) as front, front.connect() as one:
        second = front.post(b"[1]")
        one.sendall(f"{first}Host: localhost:{front.port}\r\nContent-Length: {len(second)}\r\n\r\n".encode())
        one.sendall(second)
        got = answer_raw(one)
        assert got.count(b"HTTP/1.1 ") == 1
        assert b"Connection: close" in got
        assert not front.sessions.asked


def test_without_a_front_a_second_request_hides_behind_both_lengths(front: Served, without: int) -> None:
    second = front.post(b"[1]")
    both = smuggled(f"Content-Length: {5 + len(second)}", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    with socket.create_connection(("127.0.0.1", without), timeout=10) as one:
        one.sendall(both(front) + second)
        got = b""
        while got.count(b"200 OK") < 2:
            got += one.recv(1000)


# --- time ------------------------------------------------------------------------------------------------

SLOW = Limits(head_s=0.25, body_s=0.25, idle_s=0.25, body_rate=1 << 20)


def trickle(one: socket.socket, data: bytes, seconds: float) -> bytes:
    """Sends a byte now and then until somebody has had enough, and what was said about it."""
    until, got = time.monotonic() + seconds, b""
    one.setblocking(False)
    for at in range(len(data)):
        if time.monotonic() > until:
            return got
        with suppress(OSError):
            one.send(data[at : at + 1])
        try:
            if not (more := one.recv(1000)):
                return got + b"(end)"
            got += more
        except BlockingIOError:
            time.sleep(0.02)
        except ConnectionResetError:
            return got + b"(end)"
    return got


@pytest.mark.parametrize(
    ("begun", "code"),
    [
        pytest.param(lambda front: b"", "slow-head", id="nothing"),
        pytest.param(lambda front: b"POST /mcp HTTP/1.1\r\n", "slow-head", id="the head"),
        pytest.param(
            lambda front: front.head("POST", f"{FORM}Content-Length: 60000\r\n"), "slow-body", id="the body"
        ),
    ],
)
def test_who_is_slow_is_let_go(tmp_path: Path, without: int, begun: Attack, code: str) -> None:
    with served(tmp_path, limits=SLOW) as front:
        with front.connect() as one:
            one.sendall(begun(front))
            slow = (
                b"X-Slow: " if code == "slow-head" and begun(front) else b"" if code == "slow-head" else b"{"
            )
            got = trickle(one, slow + b"x" * 500, 5) if slow else answer_raw(one)
        assert b"408" in got
        assert front.refusals() == [code]
    with socket.create_connection(("127.0.0.1", without)) as one:
        one.sendall(begun(front))
        assert trickle(one, b"X-Slow: " + b"x" * 500, 0.6) == b"", "without a front it goes on"


def answer_raw(one: socket.socket) -> bytes:
    got = b""
    while more := one.recv(1000):
        got += more
    return got


def test_a_known_client_that_rests_is_let_go_without_a_word(tmp_path: Path) -> None:
    with served(tmp_path, limits=SLOW) as front, front.connect() as one:
        one.sendall(front.post())
        assert answer(one).status == 200
        assert one.recv(100) == b""
        assert not front.refusals()


def test_who_never_speaks_tls_is_let_go(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with (
        served(tmp_path, limits=SLOW, tls=(context, context), tls_cert="x", tls_key="y") as front,
        socket.create_connection(("127.0.0.1", front.port), timeout=5) as one,
    ):
        with suppress(ConnectionResetError):
            assert one.recv(100) == b""


# --- crowds ----------------------------------------------------------------------------------------------


def test_strangers_make_room_for_whoever_comes(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(unknown_max=20)) as front, ExitStack() as stack:
        crowd = [stack.enter_context(front.connect()) for _ in range(60)]
        assert front.send(front.post()).status == 200
        assert answer(crowd[0]).status == 503
        assert "full" in front.refusals()


def test_those_who_were_refused_and_stay_make_room_too(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(unknown_max=5, drain_s=30)) as front, ExitStack() as stack:
        for _ in range(20):
            one = stack.enter_context(front.connect())
            one.sendall(front.post(token=None))
            assert answer(one).status == 401
        assert front.send(front.post()).status == 200


def test_a_known_client_keeps_its_place(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(unknown_max=5)) as front, ExitStack() as stack:
        one = stack.enter_context(front.connect())
        one.sendall(front.post())
        assert answer(one).status == 200
        for _ in range(30):
            stack.enter_context(front.connect())
        one.sendall(front.post(b"[2]"))
        assert answer(one).body == b"[2]"


def test_one_client_has_so_many_connections_and_leaves_room_for_others(tmp_path: Path) -> None:
    async def behave(request: Request) -> Reply:
        return await (forever if request.body == b"[]" else echo)(request)

    with served(tmp_path, behave=behave, limits=Limits(known_per_principal=3)) as front, ExitStack() as stack:
        for _ in range(3):
            one = stack.enter_context(front.connect())
            one.sendall(front.post(b"[]"))
            assert answer(one).status == 200
        assert front.send(front.post()).code == "too-many-connections"
        assert front.send(front.post(token=OTHER)).status == 200


def test_a_connection_that_rests_is_closed_for_another_of_its_client(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(known_per_principal=3)) as front, ExitStack() as stack:
        ones = [stack.enter_context(front.connect()) for _ in range(5)]
        for one in ones:
            one.sendall(front.post())
            assert answer(one).status == 200
        assert ones[0].recv(1) == b""
        assert not front.refusals()


def test_bodies_together_are_bounded(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(bodies_max=100_000, bodies_each=100_000)) as front:
        refused = two_of_eighty(front, TOKEN, OTHER)
        assert refused.status == 503
        assert front.send(front.post()).status == 200


def test_bodies_of_one_client_leave_room_for_another(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(bodies_max=200_000, bodies_each=100_000)) as front:
        refused = two_of_eighty(
            front, TOKEN, TOKEN, lambda: front.send(front.post(b"x" * 90_000, token=OTHER))
        )
        assert (refused.status, refused.code) == (429, "too-much-at-once")


def two_of_eighty(
    front: Served, first: str, second: str, meanwhile: Callable[[], Answer] | None = None
) -> Answer:
    """What is said to one of two connections that hold 80,000 bytes each and do not go on."""
    with front.connect() as one, front.connect() as two:
        for each, token in ((one, first), (two, second)):
            each.sendall(front.head("POST", f"{FORM}Content-Length: 90000\r\n", token) + b"x" * 80000)
        (refused,) = select.select([one, two], [], [], 5)[0]
        if meanwhile is not None:
            assert meanwhile().status == 200
        return answer(refused)


def test_a_flood_is_counted_and_not_written_out(tmp_path: Path) -> None:
    with served(tmp_path, limits=Limits(refusals_at_once=5)) as front:
        for _ in range(200):
            assert front.send(front.post(token="x" * 40)).status == 401
    counted = [one["detail"]["counted"] for one in front.events() if "counted" in one["detail"]]
    assert len(front.refusals()) < 40
    assert sum(one["401 bad-token"] for one in counted) + len(front.refusals()) == 200


# --- another user ----------------------------------------------------------------------------------------


def as_uid(uid: int, path: str, data: bytes) -> int:
    """1 where another user's process is answered over the unix socket, 2 if refused, 255 if not connected."""
    child = os.fork()
    if child == 0:
        status = 255
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(path)
                with suppress(BrokenPipeError):
                    one.sendall(data)
                status = 1 if b" 200 " in one.recv(1000) else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.threat("C1", proves="another uid at the unix socket is refused")
@pytest.mark.root
def test_another_user_is_not_answered_even_where_the_folder_is_open(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as above:
        path = Path(above, "own", "socket")
        with served(tmp_path, listen=f"unix:{path}") as front:
            data = front.post(token=None)
            assert as_uid(65534, str(path), data) == 255, "the modes keep it out"
            for place, mode in ((Path(above), 0o755), (path.parent, 0o755), (path, 0o777)):
                place.chmod(mode)
            assert as_uid(65534, str(path), data) == 2
            assert front.refusals() == ["foreign-uid"]
            monkeypatch.setattr(http, "uid_of", lambda peer: os.geteuid())
            assert as_uid(65534, str(path), data) == 1, "without the kernel's word it is answered"
