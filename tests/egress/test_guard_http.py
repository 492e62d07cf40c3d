"""What an HTTP connection shows: every request's host, however requests are framed, joined or disguised."""

from __future__ import annotations

import pytest

from sandbox.egress import decide
from tests.egress.guarding import EVIL, GOOD, Watched, at, play, same_in_pieces

WEB, PLAIN = at(f"{GOOD}:80"), at(f"{GOOD}:8081")
LITERAL, SIX, LOCAL = at("10.0.0.5:80"), at("[2001:db8::5]:8080"), at("localhost:3000")


def request(*fields: str, line: str = "GET / HTTP/1.1", body: str = "", end: str = "\r\n") -> bytes:
    return end.join((line, *fields, "", body)).encode("latin-1")


HOST, WRONG = f"Host: {GOOD}", f"Host: {EVIL}"
GET, STOLEN = request(HOST), request(WRONG)
CHUNKED = "Transfer-Encoding: chunked"


def post(*fields: str, body: str) -> bytes:
    return request(HOST, *fields, line="POST / HTTP/1.1", body=body)


def absolute(target: str, host: str = HOST) -> bytes:
    return request(host, line=f"GET {target} HTTP/1.1")


# --- one request ------------------------------------------------------------------------------------

REQUESTS = [
    pytest.param(WEB, GET, True, id="Host"),
    pytest.param(WEB, request(f"host:{GOOD.upper()}"), True, id="case, no space"),
    pytest.param(WEB, request(f"Host:\t{GOOD} "), True, id="spaces around it"),
    pytest.param(WEB, request(f"Host: {GOOD}:80"), True, id="with its port"),
    pytest.param(WEB, request(f"Host: {GOOD}."), True, id="final dot"),
    pytest.param(WEB, request(HOST, line="GET / HTTP/1.0"), True, id="HTTP 1.0"),
    pytest.param(WEB, absolute(f"http://{GOOD}/x"), True, id="absolute form"),
    pytest.param(WEB, absolute(f"http://{GOOD}:80/"), True, id="absolute form with the port"),
    pytest.param(WEB, request(HOST, line="OPTIONS * HTTP/1.1"), True, id="asterisk form"),
    pytest.param(WEB, post("Content-Length: 5", body="hello"), True, id="a body"),
    pytest.param(WEB, post(CHUNKED, body="5\r\nhello\r\n0\r\n\r\n"), True, id="a body in chunks"),
    pytest.param(PLAIN, request(f"Host: {GOOD}:8081"), True, id="another port, written"),
    pytest.param(LITERAL, request("Host: 10.0.0.5"), True, id="an address"),
    pytest.param(SIX, request("Host: [2001:db8::5]:8080"), True, id="an IPv6 address"),
    pytest.param(LOCAL, request("Host: localhost:3000"), True, id="this machine"),
    pytest.param(LOCAL, request("Host: 127.0.0.1:3000"), True, id="this machine by address"),
    pytest.param(WEB, STOLEN, False, id="another host"),
    pytest.param(WEB, request(), False, id="no Host"),
    pytest.param(WEB, request(line="GET / HTTP/1.0"), False, id="no Host in HTTP 1.0"),
    pytest.param(WEB, request("Host:"), False, id="an empty Host"),
    pytest.param(WEB, request(HOST, WRONG), False, id="two Hosts"),
    pytest.param(WEB, request(WRONG, HOST), False, id="two Hosts, the right one last"),
    pytest.param(WEB, request(HOST, HOST), False, id="two equal Hosts"),
    pytest.param(WEB, request(f"Host: {GOOD}, {EVIL}"), False, id="a list"),
    pytest.param(WEB, request(f"Host: {GOOD} {EVIL}"), False, id="two words"),
    pytest.param(WEB, request(f"Host : {EVIL}", HOST), False, id="a space before the colon"),
    pytest.param(WEB, request(HOST, f" Host: {EVIL}"), False, id="a folded line"),
    pytest.param(WEB, request(HOST, f"\tx\r\nHost: {EVIL}"), False, id="a folded line, then another Host"),
    pytest.param(WEB, request(f"Host: {GOOD}\r\n .{EVIL}"), False, id="a Host in two lines"),
    pytest.param(WEB, request(f"X: y\rHost: {EVIL}", HOST), False, id="a bare carriage return"),
    pytest.param(WEB, request(f"X: y\nHost: {EVIL}", HOST), False, id="a bare line feed"),
    pytest.param(WEB, request(HOST, "X: y\0z"), False, id="NUL in a field"),
    pytest.param(WEB, request(f"Host: {GOOD}\0.{EVIL}"), False, id="NUL in the Host"),
    pytest.param(WEB, request(f"Host: {GOOD}@{EVIL}"), False, id="a user"),
    pytest.param(WEB, request(f"Host: {EVIL}/.{GOOD}"), False, id="a path"),
    pytest.param(WEB, request(f"Host: {EVIL}#{GOOD}"), False, id="a fragment"),
    pytest.param(WEB, request(f"Host: {GOOD}:80:81"), False, id="two ports"),
    pytest.param(WEB, request(f"Host: {GOOD}:443"), False, id="another port"),
    pytest.param(WEB, request(f"Host: {GOOD}:080"), False, id="a port with a zero before it"),
    pytest.param(WEB, request(f"Host: {GOOD}:+80"), False, id="a port with a sign"),
    pytest.param(WEB, request(f"Host: {GOOD}:@{EVIL}"), False, id="a user with an empty password"),
    pytest.param(WEB, request("Host: g\xf6od.example"), False, id="letters beyond ASCII"),
    pytest.param(WEB, request(f"Host: http://{GOOD}"), False, id="a URL"),
    pytest.param(WEB, request("Host: [good.example]"), False, id="a name in brackets"),
    pytest.param(WEB, absolute(f"http://{EVIL}/"), False, id="absolute form of another host"),
    pytest.param(WEB, absolute(f"http://{EVIL}/", WRONG), False, id="absolute form and Host of another"),
    pytest.param(WEB, absolute(f"http://{GOOD}/", WRONG), False, id="absolute form right, Host not"),
    pytest.param(WEB, absolute(f"http://{GOOD}/", "X: y"), False, id="absolute form without Host"),
    pytest.param(WEB, absolute(f"http://{GOOD}@{EVIL}/"), False, id="absolute form with a user"),
    pytest.param(WEB, absolute(f"http://{EVIL}\\@{GOOD}/"), False, id="absolute form with a backslash"),
    pytest.param(WEB, absolute(f"http://{EVIL}#@{GOOD}/"), False, id="absolute form with a fragment"),
    pytest.param(WEB, absolute(f"http://{EVIL}?@{GOOD}/"), False, id="absolute form with a query"),
    pytest.param(WEB, absolute(f"//{EVIL}/"), True, id="a path of two slashes is a path"),
    pytest.param(WEB, absolute(f"HTTP://{EVIL}/"), False, id="absolute form, scheme in capitals"),
    pytest.param(WEB, absolute(f"ftp://{EVIL}/"), False, id="absolute form of another scheme"),
    pytest.param(WEB, absolute(f"http:/{EVIL}/"), False, id="absolute form with one slash"),
    pytest.param(WEB, absolute(f"http:{EVIL}"), False, id="absolute form with no slash"),
    pytest.param(WEB, absolute(EVIL), False, id="a host where a path belongs"),
    pytest.param(WEB, absolute(f"@{EVIL}/"), False, id="a path that begins with a sign"),
    pytest.param(WEB, request(HOST, line=f"CONNECT {GOOD}:80 HTTP/1.1"), False, id="CONNECT"),
    pytest.param(WEB, request(HOST, line=f"CONNECT {EVIL}:443 HTTP/1.1"), False, id="CONNECT to another"),
    pytest.param(WEB, request(HOST, line="connect / HTTP/1.1"), False, id="connect"),
    pytest.param(WEB, request(HOST, line="GET  / HTTP/1.1"), False, id="two spaces in the line"),
    pytest.param(WEB, request(HOST, line=f"GET / HTTP/1.1 {EVIL}"), False, id="four words in the line"),
    pytest.param(WEB, request(HOST, line="GET /"), False, id="no version"),
    pytest.param(WEB, request(HOST, line="GET / HTTP/2.0"), False, id="another version"),
    pytest.param(WEB, request(HOST, line="GET / HTTP/1.2"), False, id="a version that is none"),
    pytest.param(WEB, request(HOST, line="GET / http/1.1"), False, id="a version in small letters"),
    pytest.param(WEB, request(HOST, end="\n"), False, id="line feeds alone"),
    pytest.param(LITERAL, request("Host: 012.0.0.5"), False, id="the address in octal"),
    pytest.param(LITERAL, request("Host: 167772165"), False, id="the address in decimal"),
    pytest.param(LITERAL, request("Host: [::ffff:10.0.0.5]"), False, id="the address, mapped"),
    pytest.param(LITERAL, STOLEN, False, id="a name at an address"),
    pytest.param(SIX, request("Host: 2001:db8::5"), False, id="an IPv6 address without brackets"),
    pytest.param(SIX, request("Host: [2001:db8::5%25lo]:8080"), False, id="an IPv6 address with a zone"),
    pytest.param(LOCAL, STOLEN, False, id="rebinding turned round: another name at this machine"),
    pytest.param(LOCAL, request("Host: 127.0.0.2:3000"), False, id="another address of loopback"),
]


@pytest.mark.threat("K3", proves="no fronting: a request for a hidden host does not ride on an allowed one")
@pytest.mark.threat("D3", proves="no request passes whose Host or target names, or may name, another host")
@pytest.mark.parametrize(("target", "stream", "passes"), REQUESTS)
def test_one_request(target: decide.Target, stream: bytes, passes: bool) -> None:
    if passes:  # a path may say what it likes
        one = Watched(target)
        assert one.feed(stream) == stream, one.denied
        assert Watched(target).feed(stream, 1) == stream
        return
    for port in (target, at(f"{GOOD}:8081") if target is WEB else target):
        denied = same_in_pieces(port, stream, passes=False)
        assert denied is not None
        assert denied.reason.isprintable()


# --- several requests -------------------------------------------------------------------------------

STREAMS = [
    pytest.param(GET * 5, True, id="five in a row"),
    pytest.param(post("Content-Length: 5", body="hello") + GET, True, id="behind a body"),
    pytest.param(post(CHUNKED, body="5\r\nhello\r\n0\r\n\r\n") + GET, True, id="behind chunks"),
    pytest.param(post(CHUNKED, body="0\r\nX: y\r\n\r\n") + GET, True, id="behind a trailer"),
    pytest.param(post("Content-Length: 0", body="") + GET, True, id="behind an empty body"),
    pytest.param(GET + STOLEN, False, id="the second is another's"),
    pytest.param(GET * 30 + STOLEN, False, id="the last of many"),
    pytest.param(GET + absolute(f"http://{EVIL}/"), False, id="the second in absolute form"),
    pytest.param(GET + request(), False, id="the second without Host"),
    pytest.param(GET + b"\x16\x03\x01\0\x05hello", False, id="then TLS"),
    pytest.param(GET + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", False, id="then HTTP/2"),
    pytest.param(GET + b"\x00\x01\x02\x03\r\n\r\n", False, id="then something else"),
    pytest.param(GET + request(HOST, line=f"CONNECT {EVIL}:443 HTTP/1.1"), False, id="then CONNECT"),
    pytest.param(post("Content-Length: 5", body="hello") + STOLEN, False, id="another's behind a body"),
    pytest.param(post(CHUNKED, body="0\r\n\r\n") + STOLEN, False, id="another's behind chunks"),
    pytest.param(
        GET + request("Content-Length: 3", WRONG, line="GET / HTTP/1.1", body="abc"), False, id="with a body"
    ),
]
_HIDDEN = STOLEN.decode()
SMUGGLED = [
    pytest.param(post("Content-Length: 6", CHUNKED, body=f"0\r\n\r\n{_HIDDEN}"), id="CL.TE"),
    pytest.param(
        post(CHUNKED, "Content-Length: 4", body=f"{len(_HIDDEN):x}\r\n{_HIDDEN}\r\n0\r\n\r\n"), id="TE.CL"
    ),
    pytest.param(
        post("Content-Length: 0", f"Content-Length: {len(_HIDDEN)}", body=_HIDDEN), id="two lengths"
    ),
    pytest.param(post(f"Content-Length: 0, {len(_HIDDEN)}", body=_HIDDEN), id="a list of lengths"),
    pytest.param(post(f"Content-Length: +{len(_HIDDEN)}", body=_HIDDEN), id="a length with a sign"),
    pytest.param(post(f"Content-Length: {len(_HIDDEN)} 0", body=_HIDDEN), id="a length and another word"),
    pytest.param(post(f"Content-Length: 0x{len(_HIDDEN):x}", body=_HIDDEN), id="a length in hexadecimal"),
    pytest.param(post(f"Content-Length: {len(_HIDDEN)}_0", body=_HIDDEN), id="a length with an underscore"),
    pytest.param(post("Content-Length: -1", body=_HIDDEN), id="a negative length"),
    pytest.param(post("Content-Length:", body=_HIDDEN), id="an empty length"),
    pytest.param(post("Content-Length : 90", body=_HIDDEN), id="a length behind a space"),
    pytest.param(post("Content_Length: 90", f"X: y\r\n\r\n{_HIDDEN}", body=""), id="a field that is none"),
    pytest.param(
        post("Transfer-Encoding: xchunked", body=f"0\r\n\r\n{_HIDDEN}"), id="an encoding that is none"
    ),
    pytest.param(
        post("Transfer-Encoding: chunked, identity", body=f"0\r\n\r\n{_HIDDEN}"), id="chunked not last"
    ),
    pytest.param(post("Transfer-Encoding: gzip, chunked", body=f"0\r\n\r\n{_HIDDEN}"), id="two encodings"),
    pytest.param(post(CHUNKED, CHUNKED, body=f"0\r\n\r\n{_HIDDEN}"), id="chunked twice"),
    pytest.param(post("Transfer-Encoding: identity", body=_HIDDEN), id="identity"),
    pytest.param(post("Transfer-Encoding:", body=_HIDDEN), id="an empty encoding"),
    pytest.param(post("Transfer-Encoding: \x0bchunked", body=f"0\r\n\r\n{_HIDDEN}"), id="a vertical tab"),
    pytest.param(
        post("Transfer-Encoding : chunked", body=f"0\r\n\r\n{_HIDDEN}"), id="an encoding behind a space"
    ),
    pytest.param(
        post('Transfer-Encoding: "chunked"', body=f"0\r\n\r\n{_HIDDEN}"), id="an encoding in quotes"
    ),
    pytest.param(
        request(HOST, CHUNKED, line="POST / HTTP/1.0", body=f"0\r\n\r\n{_HIDDEN}"), id="chunks in HTTP 1.0"
    ),
    pytest.param(post(CHUNKED, body=f"0\n\n{_HIDDEN}"), id="chunks with line feeds alone"),
    pytest.param(post(CHUNKED, body=f"0x0\r\n\r\n{_HIDDEN}"), id="a chunk size with a prefix"),
    pytest.param(post(CHUNKED, body=f" 0\r\n\r\n{_HIDDEN}"), id="a chunk size behind a space"),
    pytest.param(post(CHUNKED, body=f"-0\r\n\r\n{_HIDDEN}"), id="a negative chunk size"),
    pytest.param(post(CHUNKED, body=f"1_0\r\n{'x' * 16}\r\n0\r\n\r\n"), id="a chunk size with an underscore"),
    pytest.param(post(CHUNKED, body=f"{'f' * 17}1\r\n{_HIDDEN}"), id="a chunk size beyond 64 bits"),
    pytest.param(post(CHUNKED, body=f"1\r\nxy\r\n0\r\n\r\n{_HIDDEN}"), id="a chunk longer than it says"),
    pytest.param(post(CHUNKED, body=f"5;x=\n0\r\n\r\n{_HIDDEN}"), id="a line feed in an extension"),
    pytest.param(post(CHUNKED, body=f"5;\rx\r\nhello\r\n0\r\n\r\n{_HIDDEN}"), id="a carriage return in one"),
    pytest.param(post(CHUNKED, body=f"0\r\n{WRONG}\r\n\r\n{_HIDDEN}"), id="a Host in the trailer"),
    pytest.param(post(CHUNKED, body=f"0\r\nX : y\r\n\r\n{_HIDDEN}"), id="a space in the trailer"),
    pytest.param(request(HOST, "X: y\r\n\r\n" + _HIDDEN), id="simply behind an empty line"),
    pytest.param(
        request("Content-Length: 0\r\r\n" + HOST, body=_HIDDEN), id="a length and a carriage return"
    ),
]


@pytest.mark.threat("D3", proves="every request of a connection is checked, not the first alone")
@pytest.mark.parametrize(("stream", "passes"), STREAMS)
def test_several_requests(stream: bytes, passes: bool) -> None:
    same_in_pieces(WEB, stream, passes)


@pytest.mark.threat("D3", proves="no request is smuggled behind one that two servers could frame differently")
@pytest.mark.parametrize("stream", SMUGGLED)
def test_smuggling(stream: bytes) -> None:
    one = Watched(WEB)
    one.feed(stream)
    assert one.denied is not None
    assert same_in_pieces(PLAIN, stream, passes=False) is not None


def test_a_body_may_say_anything() -> None:
    for stream in (
        post(f"Content-Length: {len(_HIDDEN)}", body=_HIDDEN),
        post(CHUNKED, body=f"{len(_HIDDEN):X}\r\n{_HIDDEN}\r\n0\r\n\r\n"),
    ):
        for step in (None, 1):
            one = Watched(WEB)
            assert one.feed(stream + GET, step) == stream + GET
            assert one.feed(STOLEN, step) in (b"", STOLEN[: STOLEN.find(b"evil")])
            assert one.denied is not None


def test_a_head_without_end_is_refused() -> None:
    one = Watched(WEB)
    one.feed(b"GET / HTTP/1.1\r\n")
    for _ in range(1 << 12):
        one.feed(b"X: " + b"y" * 1000 + b"\r\n")
        if one.denied:
            return
    pytest.fail("it is still held")


def test_a_large_body_is_not_held() -> None:
    one = Watched(WEB)
    one.feed(post(f"Content-Length: {1 << 24}", body=""))
    for _ in range(16):
        data = bytes(1 << 20)
        assert one.guard.feed(data) == data
    one.fed = one.passed = b""
    assert one.feed(GET) == GET
    assert one.feed(STOLEN) == b""
    assert one.denied


# --- upgrades ---------------------------------------------------------------------------------------


def upgrade(
    *fields: str, to: str = "websocket", host: str = HOST, line: str = "GET / HTTP/1.1", body: str = ""
) -> bytes:
    return request(host, "Connection: Upgrade", f"Upgrade: {to}", *fields, line=line, body=body)


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
SWITCHED_H2C = SWITCHED.replace(b"websocket", b"h2c")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
WS = upgrade()
FRAME = b"\x81\x05hello"

PLAYS = [
    pytest.param([(">", WS, WS), ("<", SWITCHED, b""), (">", FRAME, FRAME)], True, id="a websocket"),
    pytest.param(
        [(">", WS + FRAME, WS), ("<", SWITCHED, FRAME), (">", FRAME, FRAME)], True, id="frames held"
    ),
    pytest.param(
        [(">", WS, WS), ("<", SWITCHED + b"\x81\0", b""), (">", FRAME, FRAME)], True, id="a frame at once"
    ),
    pytest.param(
        [(">", WS, WS), ("<", CONTINUE + SWITCHED, b""), (">", FRAME, FRAME)],
        True,
        id="after an interim answer",
    ),
    pytest.param([(">", WS, WS), ("<", OK, b""), (">", GET, GET), (">", GET, GET)], True, id="declined"),
    pytest.param([(">", WS + GET, WS), ("<", OK, GET), (">", GET, GET)], True, id="declined, the next held"),
    pytest.param([(">", WS, WS), ("<", OK, b""), (">", STOLEN, b"")], False, id="declined, then another's"),
    pytest.param([(">", WS + STOLEN, WS), ("<", OK, b"")], False, id="another's held until it is declined"),
    pytest.param([(">", WS + GET + STOLEN, WS), ("<", OK, b"")], False, id="another's behind the next"),
    pytest.param([(">", WS, WS), ("<", SWITCHED_H2C, b"")], False, id="answered with HTTP/2"),
    pytest.param(
        [(">", WS, WS), ("<", SWITCHED.replace(b"websocket", b"websocket, h2c"), b"")], False, id="with two"
    ),
    pytest.param(
        [(">", WS, WS), ("<", SWITCHED.replace(b"Upgrade: websocket\r\n", b""), b"")], False, id="with none"
    ),
    pytest.param([(">", upgrade(to="h2c"), upgrade(to="h2c")), ("<", SWITCHED_H2C, b"")], False, id="h2c"),
    pytest.param(
        [(">", upgrade(to="h2c"), upgrade(to="h2c")), ("<", OK, b""), (">", STOLEN, b"")],
        False,
        id="h2c, declined",
    ),
    pytest.param(
        [
            (">", upgrade(to="TLS/1.0"), upgrade(to="TLS/1.0")),
            ("<", SWITCHED.replace(b"websocket", b"TLS/1.0"), b""),
        ],
        False,
        id="TLS by upgrade",
    ),
    pytest.param([(">", WS, WS), ("<", b"\x16\x03\x03\0\0", b"")], False, id="an answer that is no HTTP"),
    pytest.param(
        [(">", WS, WS), ("<", b"HTTP/1.1 101\nUpgrade: websocket\n\n", b"")],
        False,
        id="an answer of line feeds",
    ),
    pytest.param([(">", GET + WS, b"")], False, id="the second request asks for it"),
    pytest.param([(">", GET, GET), (">", WS, b"")], False, id="the second request asks for it, later"),
    pytest.param([(">", WS, WS), ("<", OK, b""), (">", WS, b"")], False, id="asked twice"),
    pytest.param([(">", WS + b"\0", WS), ("<", OK, b"")], False, id="declined, and no request was held"),
    pytest.param([(">", upgrade(host=WRONG), b"")], False, id="another host's"),
    pytest.param([(">", WS + b"x" * 70_000, b"")], False, id="more than can be held"),
]


@pytest.mark.threat(
    "D3", proves="no upgrade, asked, declined or answered otherwise, hides a request of another host"
)
@pytest.mark.parametrize("cut", [None, 1, 5])
@pytest.mark.parametrize(("steps", "passes"), PLAYS)
def test_upgrades(steps: list[tuple[str, bytes, bytes]], passes: bool, cut: int | None) -> None:
    one = Watched(WEB)
    for at_, (who, said, leaves) in enumerate(steps):
        left = one.feed(said, cut) if who == ">" else one.answer(said, cut)
        if passes or at_ < len(steps) - 1:
            assert one.denied is None
            assert left == leaves
    assert (one.denied is None) is passes
    assert EVIL.encode() not in one.passed


def test_an_upgrade_without_connection_counts_all_the_same() -> None:
    bare = request(HOST, "Upgrade: h2c")
    one = play(WEB, [(">", bare, bare), ("<", SWITCHED_H2C, b"")])
    assert one.denied


def test_an_answer_before_the_body_is_complete() -> None:
    head = upgrade("Content-Length: 5", line="POST / HTTP/1.1")
    steps = [(">", head + b"he", head + b"he"), ("<", OK, b""), (">", b"llo", b"llo"), (">", GET, GET)]
    one = play(WEB, steps)
    assert one.feed(STOLEN) == b""
    assert one.denied
    switched = play(WEB, [(">", head, head), ("<", SWITCHED, b""), (">", b"hello" + FRAME, b"hello" + FRAME)])
    assert not switched.guard.watching


def test_while_an_upgrade_is_not_answered_nothing_more_is_read() -> None:
    plain, one = Watched(WEB), Watched(WEB)
    plain.feed(GET)
    assert not plain.guard.observing
    one.feed(WS)
    assert (one.guard.awaiting, one.guard.observing, one.guard.undecided) == (True, True, False)
    one.answer(SWITCHED[:40])
    assert one.guard.awaiting
    one.answer(SWITCHED[40:])
    assert (one.guard.awaiting, one.guard.observing, one.guard.watching) == (False, False, False)
