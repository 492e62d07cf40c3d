"""The walk of an HTTP/1 client's stream: what is read, how it is cut, what is held, how it goes on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.http import FIELDS_MAX, HEAD_MAX, LINE_MAX, Malformed, Request, RequestReader, authority
from sandbox.wire.http_body import SIZE_LINE_MAX, TRAILER_MAX
from sandbox.wire.pieces import Data
from tests.wire.http_requests import (
    CHUNKED,
    GET,
    GOOD,
    HOST,
    STOLEN,
    TRICKS,
    UPGRADE,
    WRONG,
    joined,
    outcome,
    post,
    read,
    request,
    requests,
)

# --- one request ----------------------------------------------------------------------------------------

READ: list[object] = [
    pytest.param(GET, ("GET", "/", None, (GOOD,), "1.1", ()), id="a GET"),
    pytest.param(
        request(HOST, line="GET / HTTP/1.0"), ("GET", "/", None, (GOOD,), "1.0", ()), id="HTTP/1.0"
    ),
    pytest.param(request(), ("GET", "/", None, (), "1.1", ()), id="no Host, which is not judged here"),
    pytest.param(
        request(HOST, "hOsT:\t evil.example\t"), ("GET", "/", None, (GOOD, "evil.example"), "1.1", ()),
        id="every Host, without the space around it",
    ),
    pytest.param(request("Host:"), ("GET", "/", None, ("",), "1.1", ()), id="an empty Host"),
    pytest.param(request("Host: \xe4"), ("GET", "/", None, ("\xe4",), "1.1", ()), id="a Host beyond ASCII"),
    pytest.param(
        request(HOST, "X: \xc3\xa4 \t\xff"), ("GET", "/", None, (GOOD,), "1.1", ()), id="a value beyond ASCII"
    ),
    pytest.param(
        request(HOST, line="M-SEARCH_2 //a/../?b HTTP/1.1"),
        ("M-SEARCH_2", "//a/../?b", None, (GOOD,), "1.1", ()), id="a method of its own, and two slashes",
    ),
    pytest.param(
        request(HOST, line="GET http://other.example:81/x?y=@z HTTP/1.1"),
        ("GET", "http://other.example:81/x?y=@z", "other.example:81", (GOOD,), "1.1", ()), id="absolute form",
    ),
    pytest.param(
        request(HOST, line="GET HTTPS://other.example?@x HTTP/1.1"),
        ("GET", "HTTPS://other.example?@x", "other.example", (GOOD,), "1.1", ()),
        id="absolute form of another scheme, without a path",
    ),
    pytest.param(
        request(HOST, line="GET ws://[::1]:8/ HTTP/1.1"),
        ("GET", "ws://[::1]:8/", "[::1]:8", (GOOD,), "1.1", ()), id="absolute form of an address",
    ),
    pytest.param(
        request(HOST, line="OPTIONS * HTTP/1.1"), ("OPTIONS", "*", None, (GOOD,), "1.1", ()),
        id="asterisk form",
    ),
    pytest.param(
        request(HOST, line="CONNECT a.example:443 HTTP/1.1"),
        ("CONNECT", "a.example:443", "a.example:443", (GOOD,), "1.1", ()), id="CONNECT",
    ),
    pytest.param(
        request(HOST, *UPGRADE), ("GET", "/", None, (GOOD,), "1.1", ("websocket",)), id="an upgrade"
    ),
    pytest.param(
        request(HOST, "Upgrade: H2C , TLS/1.0,", "upgrade: x"),
        ("GET", "/", None, (GOOD,), "1.1", ("h2c", "tls/1.0", "x")), id="upgrades without Connection",
    ),
    pytest.param(
        request(HOST, "Connection: Upgrade"), ("GET", "/", None, (GOOD,), "1.1", ()), id="Connection alone"
    ),
    pytest.param(
        request(HOST, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"),
        ("GET", "/", None, (GOOD,), "1.1", ("h2c",)), id="what Java's client asks for",
    ),
    pytest.param(
        post("Content-Length: 0", "Expect: 100-Continue"), ("POST", "/", None, (GOOD,), "1.1", ()),
        id="an expectation",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), READ)
def test_a_request_is_read_however_it_is_split(data: bytes, expected: tuple[object, ...]) -> None:
    whole = Request(data, *expected)  # type: ignore[arg-type]
    for at in range(len(data) + 1):
        assert read(data, [at]) == [whole]
    assert read(data, range(len(data))) == [whole]


def test_a_head_is_held_until_it_is_whole() -> None:
    for at in range(len(GET)):
        reader = RequestReader()
        assert reader.feed(GET[:at]) == []
        assert reader.held == at
        assert [piece.raw for piece in reader.feed(GET[at:])] == [GET]
        assert reader.held == 0


# --- bodies, and what follows them ----------------------------------------------------------------------

BODIES = [
    pytest.param(post("Content-Length: 0"), "", id="empty"),
    pytest.param(post("Content-Length: 5"), "hello", id="a length"),
    pytest.param(post("content-length:5 \t"), "\r\n\r\n\0", id="a length, and ends of lines"),
    pytest.param(request(HOST, "Content-Length: 4"), '{"a"', id="of a GET"),
    pytest.param(post(CHUNKED), "0\r\n\r\n", id="no chunk"),
    pytest.param(post(CHUNKED), "5\r\nhello\r\n0\r\n\r\n", id="a chunk"),
    pytest.param(post("transfer-encoding:\tCHUNKED "), "5\r\n\r\n0\r\n\r\n0\r\n\r\n", id="an end in a chunk"),
    pytest.param(post(CHUNKED), "0A\r\n0123456789\r\n01\r\nx\r\n00\r\n\r\n", id="chunks with zeros in front"),
    pytest.param(post(CHUNKED), '1;a="b c";d\r\nx\r\n0;e\t\r\n\r\n', id="extensions"),
    pytest.param(post(CHUNKED), "1\r\nx\r\n0\r\nA: b\r\nETag: \xff\r\n\r\n", id="trailers"),
]


@pytest.mark.parametrize(("head", "body"), BODIES)
def test_a_body_passes_and_the_next_request_is_seen(head: bytes, body: str) -> None:
    data = head + body.encode("latin-1") + STOLEN
    found = read(data)
    assert [piece.raw for piece in found if isinstance(piece, Data)] == (
        [body.encode("latin-1")] * bool(body)
    )
    assert [piece.raw for piece in requests(found)] == [head, STOLEN]
    for at in range(len(data)):
        assert read(data, [at]) == found
    assert read(data, range(len(data))) == found


def test_a_body_passes_as_it_comes() -> None:
    reader = RequestReader()
    reader.feed(post(CHUNKED))
    assert reader.feed(b"a;x\r") == []
    assert reader.feed(b"\n01234") == [Data(b"a;x\r\n01234")]
    assert reader.feed(b"567") == [Data(b"567")]
    assert reader.feed(b"89\r") == [Data(b"89")]
    assert reader.held == 1
    assert reader.feed(b"\n0\r\nA:b\r\n\r") == [Data(b"\r\n0\r\nA:b\r\n")]
    assert reader.feed(b"\n") == [Data(b"\r\n")]
    assert reader.held == 0


@pytest.mark.parametrize("head", [post("Content-Length: 1048576"), post(CHUNKED) + b"100000\r\n"])
def test_what_is_in_the_midst_of_a_body_is_not_copied(head: bytes) -> None:
    reader, data = RequestReader(), bytes(1 << 16)
    reader.feed(head)
    found = [reader.feed(data) for _ in range(15)]
    assert all(len(one) == 1 and one[0].raw is data for one in found)
    assert reader.feed(data) == [Data(data)]
    assert reader.held == 0


def test_many_requests_at_once() -> None:
    stream = (GET + post("Content-Length: 3", body="abc") + post(CHUNKED, body="1\r\nx\r\n0\r\n\r\n")) * 500
    assert len(requests(read(stream))) == 1500
    assert read(stream, range(0, len(stream), 1000)) == read(stream)


# --- upgrades -------------------------------------------------------------------------------------------

WEBSOCKET = request(HOST, *UPGRADE)
H2C = request(HOST, "Upgrade: h2c", "Content-Length: 5", line="POST / HTTP/1.1")


def test_what_follows_an_upgrade_is_held_until_it_is_decided() -> None:
    for data in (WEBSOCKET, H2C + b"hello"):
        reader = RequestReader()
        assert b"".join(piece.raw for piece in reader.feed(data + b"\x81\0")) == data
        assert (reader.awaiting, reader.held) == (True, 2)
        assert reader.feed(b"\x82") == []
        assert reader.upgraded() == [Data(b"\x81\0\x82")]
        assert (reader.awaiting, reader.held) == (False, 0)
        assert reader.feed(STOLEN) == [Data(STOLEN)]
        assert reader.feed(b"") == []


def test_a_declined_upgrade_leaves_requests() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + GET[:9])
    assert reader.declined() == []
    assert not reader.awaiting
    assert [piece.raw for piece in reader.feed(GET[9:] + STOLEN)] == [GET, STOLEN]


def test_an_upgrade_may_follow_a_declined_one() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + WEBSOCKET + GET)
    assert [piece.raw for piece in reader.declined()] == [WEBSOCKET]
    assert (reader.awaiting, reader.held) == (True, len(GET))


def test_what_a_declined_upgrade_leaves_is_read_as_strictly() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    with pytest.raises(Malformed, match=r"HTTP/1\.1 or HTTP/1\.0"):
        reader.declined()


def test_a_body_under_way_is_no_upgrade_yet() -> None:
    reader = RequestReader()
    assert joined(reader.feed(H2C + b"hel"))[1:] == [Data(b"hel")]
    assert not reader.awaiting
    with pytest.raises(RuntimeError):
        reader.upgraded()
    assert reader.feed(b"lo") == [Data(b"lo")]
    assert reader.awaiting


def test_what_an_upgrade_holds_is_bounded() -> None:
    reader = RequestReader()
    reader.feed(WEBSOCKET + bytes(HEAD_MAX))
    with pytest.raises(Malformed, match="65536 bytes before the answer"):
        reader.feed(b"\0")


def test_nothing_follows_a_connect() -> None:
    connect = request(HOST, "Content-Length: 1", line="CONNECT a.example:1 HTTP/1.1")
    reader = RequestReader()
    assert len(reader.feed(connect)) == 1
    with pytest.raises(Malformed, match="after a CONNECT"):
        reader.feed(b"x")
    with pytest.raises(Malformed, match="after a CONNECT"):
        read(connect + GET)


# --- bounds ---------------------------------------------------------------------------------------------


def long_head(size: int) -> bytes:
    """A head of `size` bytes in lines of 1,000."""
    rest = size - len(request(HOST))
    lines = [f"X: {'y' * 995}"] * (rest // 1000)
    left = rest - 1000 * len(lines)
    return request(HOST, *lines, f"X: {'y' * (left - 5)}")


BOUNDS = [
    pytest.param(long_head(HEAD_MAX), long_head(HEAD_MAX + 1), id="a head"),
    pytest.param(
        request(HOST, f"X: {'y' * (HEAD_MAX - 40 - len(HOST))}"),
        request(HOST, f"X: {'y' * HEAD_MAX}"),
        id="a field",
    ),
    pytest.param(request(*[HOST] * FIELDS_MAX), request(*[HOST] * (FIELDS_MAX + 1)), id="fields"),
    pytest.param(
        request(HOST, line=f"GET /{'x' * (LINE_MAX - 14)} HTTP/1.1"),
        request(HOST, line=f"GET /{'x' * (LINE_MAX - 13)} HTTP/1.1"),
        id="a request line",
    ),
    pytest.param(
        request(HOST, line=f"{'M' * 32} / HTTP/1.1"),
        request(HOST, line=f"{'M' * 33} / HTTP/1.1"),
        id="a method",
    ),
    pytest.param(
        post(CHUNKED, body="4000000000000\r\n"), post(CHUNKED, body="4000000000001\r\n"), id="a chunk"
    ),
    pytest.param(
        post(CHUNKED, body=f"0;{'x' * (SIZE_LINE_MAX - 2)}\r\n\r\n"),
        post(CHUNKED, body=f"0;{'x' * (SIZE_LINE_MAX - 1)}\r\n\r\n"),
        id="the line of a chunk",
    ),
    pytest.param(
        post(CHUNKED, body="0\r\n" + f"A:{'b' * 1022}\r\n" * (TRAILER_MAX >> 10) + "\r\n"),
        post(CHUNKED, body="0\r\n" + f"A:{'b' * 1022}\r\n" * (TRAILER_MAX >> 10) + "A:\r\n\r\n"),
        id="trailers",
    ),
    pytest.param(
        post(f"Content-Length: {'9' * 18}"), post(f"Content-Length: 1{'0' * 18}"), id="digits of a length"
    ),
]


@pytest.mark.parametrize(("longest", "longer"), BOUNDS)
def test_bounds(longest: bytes, longer: bytes) -> None:
    for cuts in ([], [len(longest) // 2], range(0, len(longer), 3)):
        assert outcome(longest, cuts) is not None
        assert outcome(longer, cuts) is None


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"G", id="a method"),
        pytest.param(b"GET /", id="a target"),
        pytest.param(b"GET / HTTP/1.1\r\nX", id="a name"),
        pytest.param(b"GET / HTTP/1.1\r\nX:", id="a value"),
        pytest.param(GET[:-2], id="a field after fields"),
        pytest.param(post(CHUNKED), id="the size of a chunk"),
        pytest.param(post(CHUNKED) + b"0\r\nX:", id="a trailer"),
    ],
)
def test_what_is_never_finished_is_refused_in_the_end(begun: bytes) -> None:
    reader = RequestReader()
    reader.feed(begun)
    for _ in range(HEAD_MAX + 1):
        try:
            assert reader.feed(b"1") == []
        except Malformed:
            break
        assert reader.held <= HEAD_MAX
    else:
        pytest.fail("held for ever")


def test_once_malformed_always_malformed() -> None:
    reader = RequestReader()
    for data in (b"GET / HTTP/1.1\n", GET, GET):
        with pytest.raises(Malformed, match="LF alone"):
            reader.feed(data)


# --- authorities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("good.example", ("good.example", None)),
        ("GOOD.example.:1", ("GOOD.example.", 1)),
        ("a_b-c:65535", ("a_b-c", 65535)),
        ("10.0.0.5:80", ("10.0.0.5", 80)),
        ("[::1]", ("::1", None)),
        ("[2001:DB8::1.2.3.4]:8080", ("2001:DB8::1.2.3.4", 8080)),
    ],
)
def test_an_authority(text: str, expected: tuple[str, int | None]) -> None:
    assert authority(text) == expected


NO_AUTHORITY = [
    "", ":", ":80", "a:", "a:0", "a:080", "a:65536", "a:123456", "a:+1", "a:1:2", "a:b", "a:\u0661", "a,b",
    "a b", "a ", " a", "a\t", "a\n", "a\0", "a@b", "u:p@b", "@b", "a/b", "a\\b", "a?b", "a#b", "a%2eb", "a%",
    "http://a", "a;b", "a'", "*", "b\xfccher", "\uff41", "::1", "[::1", "::1]", "[]", "[a]", "[12.3]",
    "[::1]x", "[::1%25lo]", "[::1]:", "[[::1]]", "[::1]:0", "[v1.a:b]", "a[::1]",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_AUTHORITY)
def test_no_authority(text: str) -> None:
    with pytest.raises(Malformed) as why:
        authority(text)
    assert str(why.value).isprintable()


@given(st.text())
def test_any_text_is_an_authority_or_malformed(text: str) -> None:
    try:
        host, port = authority(text)
    except Malformed:
        return
    spelt = f"[{host}]" if ":" in host else host
    assert text == (spelt if port is None else f"{spelt}:{port}")


# --- properties -----------------------------------------------------------------------------------------

STREAMS = st.lists(
    st.sampled_from([
        GET, WEBSOCKET, H2C + b"hello", post("Content-Length: 5", body="hello"), STOLEN[:30],
        post(CHUNKED, body="3\r\nabc\r\n0\r\n\r\n"), request(HOST, WRONG), *TRICKS,
    ]),
    max_size=6,
).map(b"".join)  # fmt: skip


@settings(max_examples=500)
@given(STREAMS, st.lists(st.integers(0, 600)))
def test_how_a_stream_is_split_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    assert outcome(data, cuts) == outcome(data)


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 300), st.lists(st.integers(0, 500)))
def test_noise_raises_nothing_but_malformed(noise: bytes, at: int, cuts: list[int]) -> None:
    data = GET + post(CHUNKED, body="3\r\nabc\r\n0\r\n\r\n") + WEBSOCKET
    outcome(data[:at] + noise + data[at:], cuts)
    outcome(noise, cuts)
