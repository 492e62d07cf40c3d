"""What a client speaks, told by its first bytes: as few as possible, and never raw what may be HTTP."""

from __future__ import annotations

import io
import random
import ssl
from http.server import BaseHTTPRequestHandler
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.opening import UNDECIDED_MAX, Opening, classify
from tests.wire.hellos import client_context, client_hello
from tests.wire.http_requests import CHUNKED, GET, HOST, mutated, outcome, post, request, requests, theirs

# --- what it is, and after how many bytes that is known ---------------------------------------------------

SSL_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x2f"
GSS_REQUEST = b"\0\0\0\x08\x04\xd2\x16\x30"
CASES: list[object] = [
    pytest.param(b"\x16\x03\x01\x02\0", "tls", 2, id="TLS"),
    pytest.param(client_hello(client_context(ssl.TLSVersion.TLSv1_2)), "tls", 2, id="TLS of OpenSSL"),
    pytest.param(b"\x15\x03\x01\0\2", "tls", 2, id="an alert before the hello"),
    pytest.param(b"\x14\x03\x03\0\1\1", "tls", 2, id="a change of cipher before the hello"),
    pytest.param(b"\x80\x2e\1\3\1\0", "tls", 4, id="a hello as SSL 2 framed it"),
    pytest.param(b"\x16\x02", "raw", 2, id="no TLS"),
    pytest.param(b"\x13\x03", "raw", 1, id="no record"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2", 16, id="HTTP/2"),
    pytest.param(b"PRI * HTTP/2.0\n\n", "http", 15, id="almost HTTP/2"),
    pytest.param(b"PRI / HTTP/1.1\r\n", "http", 11, id="a method PRI"),
    pytest.param(SSL_REQUEST, "postgres-tls", 8, id="PostgreSQL's SSLRequest"),
    pytest.param(SSL_REQUEST + b"\x16\x03", "postgres-tls", 8, id="and more"),
    pytest.param(GSS_REQUEST, "raw", 8, id="PostgreSQL's GSSENCRequest"),
    pytest.param(b"\0\0\0\x4e\0\3\0\0user\0", "raw", 4, id="PostgreSQL's StartupMessage"),
    pytest.param(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", "http", 6, id="PROXY"),
    pytest.param(b"\r\n\r\n\0\r\nQUIT\n\x21\x11", "http", 12, id="PROXY, version 2"),
    pytest.param(b"\r\n\r\n\0\r\nQUIT\r", "raw", 12, id="almost PROXY, version 2"),
    # HTTP
    pytest.param(GET, "http", 5, id="a GET"),
    pytest.param(request(HOST, line="PUT http://a/ HTTP/1.1"), "http", 11, id="absolute form"),
    pytest.param(request(HOST, line="OPTIONS * HTTP/1.1"), "http", 15, id="asterisk form"),
    pytest.param(request(HOST, line="CONNECT a:443 HTTP/1.1"), "http", 9, id="CONNECT"),
    pytest.param(b"CONNECT a:443\r\n\r\n", "http", 9, id="CONNECT without a version"),
    pytest.param(request(HOST, line="X-Y!z / HTTP/1.1"), "http", 13, id="a method of its own"),
    pytest.param(request(HOST, line=f"{'M' * 99} / HTTP/1.1"), "http", 107, id="a long method"),
    pytest.param(request(HOST, line="get / http/1.1"), "http", 11, id="small letters"),
    pytest.param(b"\r\n" + GET, "http", 7, id="an empty line first"),
    pytest.param(b"\n\r \t\x0b" + GET, "http", 10, id="blanks first"),
    pytest.param(b"\xa0" + GET, "http", 6, id="a wide space first"),
    pytest.param(b"GET\t/\tHTTP/1.1\r\n", "http", 5, id="tabs"),
    pytest.param(b"GET\x0b/\x0cHTTP/1.1\r\n", "http", 5, id="other blanks"),
    pytest.param(b"GET\r/ HTTP/1.1\r\n", "http", 5, id="a carriage return for a space"),
    pytest.param(b"GET\n/ HTTP/1.1\r\n", "http", 5, id="a line feed for a space"),
    pytest.param(b"GET\nx\nHTTP/1.1\r\n", "http", 11, id="line feeds for both spaces"),
    pytest.param(b"GET \r\n / HTTP/1.1\r\n", "raw", 6, id="a line without a target"),
    pytest.param(b"FOO\r/ HTTP/1.1\r\n", "http", 11, id="and a method of its own"),
    pytest.param(b"GET \0 HTTP/1.1\r\n", "http", 11, id="NUL for a target"),
    pytest.param(b"FOO \xe4 HTTP/1.1\r\n", "http", 11, id="a target beyond ASCII"),
    pytest.param(b"GET  a b c HTTP/1.1\r\n", "http", 16, id="too many words"),
    pytest.param(b"GET / HTTP/0.9\n", "http", 5, id="LF alone"),
    pytest.param(b"GET /\r\n", "http", 5, id="HTTP/0.9"),
    pytest.param(b"POST /\n", "http", 6, id="HTTP/0.9 of another method"),
    pytest.param(b"GET HTTPS://a/\r\n", "http", 12, id="HTTP/0.9 with a URL"),
    pytest.param(b"GET ftp://a/\r\n", "http", 14, id="HTTP/0.9 with another URL"),
    # text
    pytest.param(b"GET key\r\n", "raw", 9, id="Redis by hand"),
    pytest.param(b"PING\r\n", "raw", 6, id="Redis by hand, one word"),
    pytest.param(b"*1\r\n$4\r\nPING\r\n", "raw", 4, id="Redis"),
    pytest.param(b"get /key\r\n", "raw", 10, id="memcached"),
    pytest.param(b"set key 0 0 5\r\nGET / HTTP/1.1\r\n", "raw", 15, id="memcached, then a request"),
    pytest.param(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "raw", 32, id="SSH"),
    pytest.param(b"EHLO good.example\r\n", "raw", 19, id="SMTP"),
    pytest.param(b"USER x\r\n", "raw", 8, id="FTP"),
    pytest.param(b"NICK x\r\n", "raw", 8, id="IRC"),
    pytest.param(b"a1 LOGIN x y\r\n", "raw", 14, id="IMAP"),
    pytest.param(b'CONNECT {"verbose":false}\r\n', "raw", 27, id="NATS"),
    pytest.param(b"CONNECT\naccept-version:1.2\n\n\0", "raw", 29, id="STOMP"),
    pytest.param(b"OPTIONS rtsp://a/ RTSP/1.0\r\n", "raw", 28, id="RTSP"),
    pytest.param(b"OPTIONS sip:a SIP/2.0\r\n", "raw", 23, id="SIP"),
    pytest.param(b"gemini://a/\r\n", "raw", 7, id="Gemini"),
    pytest.param(b"<stream:stream>", "raw", 1, id="XMPP"),
    pytest.param(b'{"jsonrpc":"2.0"}\n', "raw", 1, id="JSON"),
    pytest.param(b"Content-Length: 2\r\n\r\n{}", "raw", 15, id="a language server"),
    pytest.param(b"AMQP\0\0\x09\1", "raw", 5, id="AMQP"),
    # bytes
    pytest.param(b"\x10\x0e\0\4MQTT", "raw", 1, id="MQTT"),
    pytest.param(b"\x30\x0c\2\1\1`\7\2\1\3\4\0\x80\0", "raw", 3, id="LDAP, which begins with a digit and FF"),
    pytest.param(b"\x30\x20\2\1\1`", "raw", 3, id="LDAP, with a space"),
    pytest.param(b"\x3f\1\0\0\0\0\0\0\xdd\7\0\0", "raw", 1, id="MongoDB"),
    pytest.param(b"\x30\1\0\0\0\0\0\0\xdd\7\0\0", "raw", 2, id="MongoDB, which begins with a digit"),
    pytest.param(b"\x80\0\0\3\0\0\0\0", "raw", 3, id="memcached in bytes"),
    pytest.param(b"\5\1\0", "raw", 1, id="SOCKS"),
    pytest.param(b"\x12\1\0\x2f", "raw", 1, id="SQL Server"),
    pytest.param(b"\0\0\0\x2c\0\x12", "raw", 4, id="Kafka"),
    pytest.param(b"\x1f\x8b\x08", "raw", 2, id="gzip"),
    pytest.param(b"\xff\xfe", "raw", 3, id="anything else"),
]


@pytest.mark.parametrize(("data", "expected", "known"), CASES)
def test_what_a_client_speaks(data: bytes, expected: Opening, known: int) -> None:
    data += b"\xfe" * (known - len(data))
    assert [classify(data[:at]) for at in range(known)] == ["more"] * known
    assert {classify(data[:at]) for at in range(known, len(data) + 1)} == {expected}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\n" * (UNDECIDED_MAX // 2), id="empty lines"),
        pytest.param(b"M" * UNDECIDED_MAX, id="a word"),
        pytest.param(b"GET " + b"x" * (UNDECIDED_MAX - 4), id="a line of GET"),
        pytest.param(b"a " + b"x" * (UNDECIDED_MAX - 2), id="a line of two words"),
    ],
)
def test_there_is_always_a_decision_and_it_is_not_to_let_pass(data: bytes) -> None:
    assert classify(data[:-1]) == "more"
    assert classify(data) == classify(data + b"\0\n" * 9) == "http"


PARTS = st.lists(
    st.one_of(
        st.sampled_from([
            b"GET", b"get", b"FOO", b"PRI", b"PROXY", b" ", b"\t", b"\r", b"\n", b"\x0b", b"\xa0", b"/", b"*",
            b"HTTP/", b"http://", b"x://", b"1.1", b"\0", b"\x16", b"\x03", b"\x80", b"\1",
            SSL_REQUEST[:7], b"\x2f", b"\x30",
        ]),
        st.binary(max_size=3),
    ),
    max_size=9,
).map(b"".join)  # fmt: skip


@settings(max_examples=1000)
@given(PARTS)
def test_a_decision_does_not_change_with_more_bytes(data: bytes) -> None:
    told = [classify(data[:at]) for at in range(len(data) + 1)]
    decided = [one for one in told if one != "more"]
    assert told == ["more"] * (len(told) - len(decided)) + decided
    assert len(set(decided)) <= 1


# --- nothing that a server takes for a request is raw -----------------------------------------------------

SEEDS = [
    GET,
    request(HOST, line="GET http://good.example/ HTTP/1.1"),
    request(HOST, line="OPTIONS * HTTP/1.0"),
    request(HOST, line="X_9-Y / HTTP/1.1"),
    request(HOST, line="-0 / HTTP/1.1"),
    request(HOST, line="PRI / HTTP/1.1"),
    request(HOST, line="CONNECT a.example:443 HTTP/1.1"),
    post(CHUNKED, body="0\r\n\r\n"),
]
TOKENS = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=40)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


def changed(seed: bytes, random_: random.Random) -> bytes:
    """A stream whose first line is changed."""
    line, end, rest = seed.partition(b"\r\n")
    return mutated(random_, line) + end + rest


@settings(max_examples=1500)
@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False))
def test_what_our_reader_takes_is_http(seed: bytes, random_: random.Random) -> None:
    data = changed(seed, random_)
    if requests(outcome(data) or []):
        assert classify(data) == "http"


@settings(max_examples=500)
@given(TOKENS, VISIBLE, st.sampled_from(["0.9", "1.0", "1.1", "1.9", "3.0"]), st.sampled_from(["\n", "\r\n"]))
def test_what_h11_takes_is_http(method: str, target: str, version: str, end: str) -> None:
    data = request(HOST, line=f"{method} {target} HTTP/{version}", end=end)
    assert [one[:2] for one in theirs(data)[0]] == [(method, target)]
    assert classify(data) == "http"


@settings(max_examples=1500)
@given(st.sampled_from(SEEDS), st.randoms(use_true_random=False))
def test_what_h11_takes_after_a_change_is_http(seed: bytes, random_: random.Random) -> None:
    data = changed(seed, random_)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        found = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if isinstance(found, h11.Request):
        assert classify(data) == "http"


class Lenient(BaseHTTPRequestHandler):
    """The standard library's server, which takes words however they are separated, without a socket."""

    def __init__(self, data: bytes) -> None:
        self.rfile, self.wfile = io.BytesIO(data), io.BytesIO()
        self.raw_requestline = self.rfile.readline(65537)
        self.taken = bool(self.parse_request())

    def log_message(self, format: str, *args: Any) -> None:
        pass


SPACES = st.text("\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0", min_size=1, max_size=3).map(
    lambda text: text.replace("\n", "") or " "
)
ANYTHING = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\n"), min_size=1, max_size=9)


@settings(max_examples=1500)
@given(SPACES, st.sampled_from(["GET", "POST", "TRACE"]), SPACES, st.one_of(VISIBLE, ANYTHING), SPACES)
def test_what_the_most_lenient_server_takes_is_http(
    before: str, method: str, between: str, target: str, behind: str
) -> None:
    for start in ("", before):
        data = request(HOST, line=f"{start}{method}{between}{target}{behind}HTTP/1.1")
        if Lenient(data).taken:
            assert classify(data) == "http"


def test_the_most_lenient_server_is_lenient() -> None:
    assert Lenient(b"\xa0\x1cGET\x0b/\x85HTTP/1.1\r\nHost: x\r\n\r\n").taken
    assert not Lenient(b"GET / / HTTP/1.1\r\n\r\n").taken
