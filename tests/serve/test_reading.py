"""Requests as the front cuts them: one reading, however they are split, and h11's where h11 has one."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.serve.reading import FIELDS_MAX, HEAD_MAX, LINE_MAX, Asked, Reader, Wrong

POST = b"POST /mcp HTTP/1.1\r\nHost: localhost:1\r\n"
BODY_MAX = 1000


def read(data: bytes, step: int = 1 << 20) -> list[tuple[Asked, bytes]]:
    """Every request in it, fed in pieces of `step`."""
    reader, found, asked = Reader(), [], None
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        while True:
            asked = asked or reader.head()
            if asked is None or (body := reader.body(asked, BODY_MAX)) is None:
                break
            found.append((asked, body))
            asked = None
    return found


def sized(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*parts: bytes) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (*parts, b""))
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        pytest.param(sized(b"{}"), [b"{}"], id="of a length"),
        pytest.param(b"GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n", [b""], id="without a body"),
        pytest.param(chunked(b"{", b"}"), [b"{}"], id="in chunks"),
        pytest.param(chunked(), [b""], id="in no chunk"),
        pytest.param(sized(b"1") + chunked(b"2") + sized(b"3"), [b"1", b"2", b"3"], id="three in a row"),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n", [b"x"], id="an extension"
        ),
    ],
)
def test_a_request_is_read_however_it_is_split(data: bytes, bodies: list[bytes]) -> None:
    for step in (1, 2, 3, 7, len(data)):
        assert [body for _, body in read(data, step)] == bodies


REFUSED = {
    "both lengths": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "two lengths in one": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a length with zeros": (POST + b"Content-Length: 03\r\n\r\nabc", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "a coding that is none": (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
    "two codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "a coding twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "a coding with a tab": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
    "a space before the colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n", 400),
    "an underscore": (POST + b"Content_Length: 3\r\n\r\nabc", 400),
    "a field in two lines": (POST + b"X: a\r\n b\r\n\r\n", 400),
    "a line ending in LF": (b"POST /mcp HTTP/1.1\nHost: a\n\n", 400),
    "one line ending in LF": (POST + b"X: a\nContent-Length: 3\r\n\r\nabc", 400),
    "a CR alone": (POST + b"X: a\rContent-Length: 3\r\n\r\nabc", 400),
    "a zero byte": (POST + b"X: a\x00b\r\n\r\n", 400),
    "two hosts": (POST + b"Host: localhost:1\r\n\r\n", 400),
    "no host": (b"GET /mcp HTTP/1.1\r\n\r\n", 400),
    "two tokens": (POST + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
    "two of an MCP header": (POST + b"Mcp-Method: a\r\nMcp-Method: b\r\n\r\n", 400),
    "a chunk longer than it says": (chunked(b"ab").replace(b"2\r\nab", b"1\r\nab"), 400),
    "a chunk's size that is none": (chunked(b"ab").replace(b"2\r\nab", b"0x2\r\nab"), 400),
    "a chunk's end in LF": (chunked(b"ab").replace(b"ab\r\n", b"ab\n"), 400),
    "a trailer": (chunked(b"ab")[:-2] + b"Host: b\r\n\r\n", 400),
    "chunks in HTTP/1.0": (chunked(b"ab").replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "an empty line before": (b"\r\n" + sized(b"a"), 400),
    "HTTP/0.9": (b"GET /mcp\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01", 400),
    "two spaces": (b"GET  /mcp HTTP/1.1\r\n", 400),
    "an expectation": (POST + b"Expect: 100-continue, x\r\n\r\n", 400),
    "a hidden field": (POST + b"Connection: close, host\r\n\r\n", 400),
    "a long line": (b"GET /" + b"a" * LINE_MAX + b" HTTP/1.1\r\n", 414),
    "a line without an end": (b"GET /" + b"a" * LINE_MAX, 414),
    "a long head": (POST + b"X: " + b"a" * HEAD_MAX + b"\r\n\r\n", 431),
    "a head without an end": (POST + b"X: a\r\n" * HEAD_MAX, 431),
    "many fields": (POST + b"".join(b"X-%d: a\r\n" % n for n in range(FIELDS_MAX)) + b"\r\n", 431),
    "a body in chunks that is too long": (chunked(b"a" * (BODY_MAX + 1)), 413),
    "a body in chunks that grows too long": (chunked(*[b"a" * 100] * 11), 413),
}


@pytest.mark.parametrize(("data", "status"), REFUSED.values(), ids=REFUSED)
def test_what_can_be_read_in_two_ways_is_refused_however_it_is_split(data: bytes, status: int) -> None:
    for step in (1, 5, len(data)) if len(data) < 5000 else (199, len(data)):
        with pytest.raises(Wrong) as caught:
            read(data, step)
        assert caught.value.status == status


def test_chunks_cost_what_they_carry() -> None:
    reader = Reader()
    reader.feed(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    asked = reader.head()
    assert asked is not None
    reader.feed(b"1\r\nx\r\n" * 1000)
    assert reader.body(asked, 1 << 20) is None
    reader.feed(b"1\r\nx\r\n" * 1000)
    with pytest.raises(Wrong, match="tiny"):
        reader.body(asked, 1 << 20)


def test_what_can_be_no_request_is_refused_before_its_end() -> None:
    reader = Reader()
    reader.feed(b"hello, is this")
    with pytest.raises(Wrong):
        reader.head()


# --- the reference ---------------------------------------------------------------------------------------

_LINES = st.sampled_from(
    [
        b"Content-Length: 2", b"Content-Length: 0", b"content-length:2", b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: identity", b"Transfer-Encoding:\tchunked", b"Connection: close", b"X: y",
        b"Expect: 100-continue", b"Content-Length: 2 ", b"Content-Length : 2", b" folded", b"X:", b"Host: b",
        b"Transfer_Encoding: chunked", b"Content-Length: 2\n", b"Connection: keep-alive, upgrade",
        b"Upgrade: h2c",
    ]
)  # fmt: skip
_BODIES = st.sampled_from(
    [b"", b"{}", b"2\r\n{}\r\n0\r\n\r\n", b"0\r\n\r\n", b"2\n{}\n0\n\n", b"2;a\r\n{}\r\n0\r\nX: y\r\n\r\n"]
)
_FIRST = st.sampled_from(
    [b"POST /mcp HTTP/1.1", b"GET /mcp HTTP/1.1", b"GET /mcp HTTP/1.0", b"DELETE /a HTTP/1.1"]
)
_REQUESTS = st.lists(st.tuples(_FIRST, st.lists(_LINES, max_size=4), _BODIES), min_size=1, max_size=3)


def seen_by_h11(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Method, target and body of the requests that h11 reads, until it stumbles."""
    found: list[tuple[bytes, bytes, bytes]] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    body = b""
    request: h11.Request | None = None
    try:
        while not isinstance(event := connection.next_event(), type(h11.NEED_DATA)):
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                found.append((request.method, request.target, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
    except h11.ProtocolError:
        pass
    return found


def seen_by_us(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The same of ours; where a request says that it is the last, nothing behind it is read."""
    reader, found = Reader(), []
    reader.feed(data)
    try:
        while (asked := reader.head()) is not None and (body := reader.body(asked, BODY_MAX)) is not None:
            found.append((asked.method.encode(), asked.target.encode(), body))
            if not asked.keeps_alive():
                break
    except Wrong:
        pass
    return found


@given(_REQUESTS, st.booleans())
def test_what_is_read_is_what_h11_reads(
    requests: list[tuple[bytes, list[bytes], bytes]], has_host: bool
) -> None:
    host = [b"Host: a"] if has_host else []
    data = b"".join(
        b"\r\n".join([first, *host, *lines]) + b"\r\n\r\n" + body for first, lines, body in requests
    )
    ours = seen_by_us(data)
    assert ours == seen_by_h11(data)[: len(ours)]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_noise_is_refused_or_waited_for(noise: bytes, step: int) -> None:
    try:
        read(POST[:-10] + noise, step)
    except Wrong as wrong:
        seen = wrong.status
        assert seen in (400, 413, 414, 431)
