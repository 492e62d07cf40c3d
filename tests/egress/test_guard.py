"""What a connection shows before it passes: TLS, databases, everything else; and the guard's own promises."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sandbox.egress import decide
from sandbox.egress.guard import OPENING_MOST, Guard, Refused
from tests.egress.guarding import EVIL, GOOD, Watched, at, fed, play, same_in_pieces
from tests.wire import hellos as tls

WEB, DATABASE, OTHER = at(f"{GOOD}:443"), at(f"{GOOD}:5432"), at(f"{GOOD}:8444")
LITERAL, LOCAL = at("10.0.0.5:443"), at("localhost:8443")
TAIL = tls.record(b"\0" * 30, tls.APPLICATION)


def named(host: str | bytes) -> bytes:
    raw = host if isinstance(host, bytes) else host.encode()
    return tls.record(tls.message(tls.body(tls.server_name(raw) + tls.VERSIONS)))


def hello(host: str | None, *extensions: bytes) -> bytes:
    return tls.hello(*extensions, host=host)


# --- TLS ------------------------------------------------------------------------------------------

PADDING = tls.extension(21, bytes(3000))
EARLY = tls.extension(tls.EARLY_DATA)
_TWO_NAMES = tls.extension(
    0, tls.vector(2, b"\0" + tls.vector(2, GOOD.encode()) + b"\0" + tls.vector(2, EVIL.encode()))
)
HELLOS = [
    pytest.param(WEB, hello(GOOD), True, id="the name"),
    pytest.param(WEB, hello(GOOD.upper()), True, id="case"),
    pytest.param(WEB, hello(f"{GOOD}."), True, id="final dot"),
    pytest.param(WEB, hello(GOOD, PADDING), True, id="longer than a kilobyte"),
    pytest.param(WEB, tls.fragmented(hello(GOOD), 1), True, id="one byte a record"),
    pytest.param(WEB, tls.fragmented(hello(GOOD, PADDING), 1000, 17), True, id="in many records"),
    pytest.param(WEB, hello(GOOD) + TAIL, True, id="and what follows"),
    pytest.param(WEB, hello(GOOD) + tls.CCS + TAIL * 3, True, id="and a resumed session"),
    pytest.param(WEB, hello(GOOD) + tls.CCS + hello(GOOD) + TAIL, True, id="a second hello of the same name"),
    pytest.param(WEB, hello(GOOD, EARLY) + TAIL + hello(GOOD), True, id="early data, then a second hello"),
    pytest.param(OTHER, hello(GOOD), True, id="on another port"),
    pytest.param(LITERAL, hello(None), True, id="an address shows no name"),
    pytest.param(LITERAL, named("10.0.0.5"), True, id="an address as its name"),
    pytest.param(LOCAL, hello("localhost"), True, id="this machine by name"),
    pytest.param(LOCAL, hello(None), True, id="this machine without a name"),
    pytest.param(WEB, hello(EVIL), False, id="another name"),
    pytest.param(WEB, hello(None), False, id="no name"),
    pytest.param(WEB, tls.record(tls.message(tls.body(None))), False, id="no extensions"),
    pytest.param(WEB, hello(EVIL, PADDING), False, id="another name in a long hello"),
    pytest.param(
        WEB, hello(None, PADDING, tls.server_name(EVIL.encode())), False, id="another name after a kilobyte"
    ),
    pytest.param(WEB, tls.fragmented(hello(EVIL), 1), False, id="another name, one byte a record"),
    pytest.param(WEB, tls.fragmented(hello(EVIL), 60), False, id="another name across records"),
    pytest.param(WEB, hello(GOOD, tls.extension(tls.ECH, b"\0" * 40)), False, id="ECH behind the right name"),
    pytest.param(
        WEB, hello(GOOD, tls.extension(tls.ESNI, b"\0" * 40)), False, id="ESNI behind the right name"
    ),
    pytest.param(WEB, hello(None, tls.extension(tls.ECH, b"\0" * 40)), False, id="ECH alone"),
    pytest.param(LITERAL, hello(None, tls.extension(tls.ECH, b"\0" * 40)), False, id="ECH to an address"),
    pytest.param(WEB, hello(GOOD, tls.server_name(EVIL.encode())), False, id="two extensions of names"),
    pytest.param(WEB, hello(None, _TWO_NAMES), False, id="two names in one extension"),
    pytest.param(
        WEB, hello(None, tls.server_name(GOOD.encode(), kind=1)), False, id="a name of another type"
    ),
    pytest.param(WEB, named(f"{GOOD}\0.{EVIL}"), False, id="NUL"),
    pytest.param(WEB, named(f"{GOOD}\r\n"), False, id="CRLF"),
    pytest.param(WEB, named(f"{EVIL}.{GOOD}"), False, id="a child"),
    pytest.param(WEB, named(f"{GOOD}.{EVIL}"), False, id="the name as a prefix"),
    pytest.param(WEB, named("example"), False, id="a parent"),
    pytest.param(WEB, named(f"*.{GOOD}"), False, id="a pattern"),
    pytest.param(WEB, named("good%2eexample"), False, id="percent"),
    pytest.param(WEB, named("good\u3002example"), False, id="another dot"),
    pytest.param(WEB, named("26.53.1.0"), False, id="the made-up address"),
    pytest.param(WEB, named(""), False, id="an empty name"),
    pytest.param(LITERAL, named("012.0.0.5"), False, id="the address in octal"),
    pytest.param(LITERAL, named("167772165"), False, id="the address in decimal"),
    pytest.param(LITERAL, named("::ffff:10.0.0.5"), False, id="the address, mapped"),
    pytest.param(LITERAL, hello(EVIL), False, id="a name at an address"),
    pytest.param(LOCAL, hello(EVIL), False, id="another name at this machine"),
    pytest.param(WEB, hello(GOOD) + hello(EVIL), False, id="a second hello of another name"),
    pytest.param(WEB, hello(GOOD) + tls.CCS + hello(EVIL), False, id="the same behind a change of cipher"),
    pytest.param(WEB, hello(GOOD, EARLY) + TAIL * 3 + hello(EVIL), False, id="behind early data"),
    pytest.param(WEB, hello(GOOD) + TAIL + hello(EVIL), False, id="behind data that nobody offered"),
    pytest.param(
        WEB, hello(GOOD) + tls.CCS + tls.fragmented(hello(EVIL), 40), False, id="a second one, split"
    ),
    pytest.param(WEB, hello(GOOD) + hello(None), False, id="a second hello without a name"),
    pytest.param(
        WEB, hello(GOOD) + hello(GOOD, tls.extension(tls.ECH, b"\0")), False, id="ECH in the second"
    ),
    pytest.param(WEB, hello(GOOD)[:-4] + hello(EVIL), False, id="a hello inside a hello"),
]


@pytest.mark.threat("K3", proves="no fronting: a hidden host does not ride on an allowed one's SNI")
@pytest.mark.threat("D3", proves="no ClientHello passes that names another host, or none, or hides it")
@pytest.mark.parametrize(("target", "stream", "passes"), HELLOS)
def test_tls(target: decide.Target, stream: bytes, passes: bool) -> None:
    denied = same_in_pieces(target, stream, passes)
    assert denied is None or denied.rule == decide.PINNED


def test_what_was_shown_is_kept_for_the_log() -> None:
    for host, stream in ((GOOD, hello(GOOD)), (EVIL, hello(EVIL)), (None, hello(None))):
        one = Watched(WEB)
        one.feed(stream)
        assert (one.guard.protocol, one.guard.shown) == ("tls", host)


def test_real_clients(tmp_path: Path) -> None:
    context = tls.client_context(alpn=60)
    assert same_in_pieces(WEB, tls.client_hello(context, GOOD), passes=True) is None
    same_in_pieces(WEB, tls.client_hello(context, EVIL), passes=False)
    server = tls.Peer(tls.server_context(tls.certificate(tmp_path), "secp521r1"))
    flights = tls.converse(tls.Peer(context, GOOD), server)
    one = Watched(WEB)
    for flight in flights:
        assert one.feed(flight, 5) == flight


# --- what only looks like something else --------------------------------------------------------------

_SSL2 = b"\x01\x03\x01\0\x03\0\0\0\x10\0\0\x2f" + bytes(16)
DISGUISED = [
    pytest.param(bytes([0x80, len(_SSL2)]) + _SSL2, id="a ClientHello of SSL 2, which has no name"),
    pytest.param(tls.record(b"\1\x5a", tls.ALERT) + hello(EVIL), id="an alert before the hello"),
    pytest.param(tls.CCS + hello(EVIL), id="a change of cipher before the hello"),
    pytest.param(tls.record(b"\1\0\1x", 24) + hello(EVIL), id="a heartbeat before the hello"),
    pytest.param(TAIL + hello(EVIL), id="data before the hello"),
    pytest.param(b"\r\n" + b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="an empty line before HTTP"),
    pytest.param(b"\n" + b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="a line feed before HTTP"),
    pytest.param(b" GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="a space before HTTP"),
    pytest.param(b"get / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="a method in small letters"),
    pytest.param(b"M-X / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="a method of its own"),
    pytest.param(b"GET\t/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="a tab behind the method"),
    pytest.param(b"GET /\r\n", id="HTTP 0.9"),
    pytest.param(
        b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="PROXY"
    ),
    pytest.param(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0" + hello(EVIL), id="PROXY, version 2"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), id="HTTP/2 with prior knowledge"),
    pytest.param(b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n", id="CONNECT"),
    pytest.param(b"CONNECT evil.example:443\r\n\r\n", id="CONNECT without a version"),
    pytest.param(b"CONNECT\nevil.example:443\nHTTP/1.1\r\n\r\n", id="CONNECT with line feeds for spaces"),
    pytest.param(b"GET\n/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", id="a line feed behind the method"),
    pytest.param(b"GET http://evil.example/\r\n\r\n", id="absolute form without a version"),
]


@pytest.mark.threat("D3", proves="nothing that a host could take for TLS or HTTP passes unread on any port")
@pytest.mark.parametrize("stream", DISGUISED)
@pytest.mark.parametrize("target", [WEB, OTHER, DATABASE])
def test_no_disguise_passes(target: decide.Target, stream: bytes) -> None:
    same_in_pieces(target, stream, passes=False)


# --- neither TLS nor HTTP ---------------------------------------------------------------------------

STARTUP = struct.pack(">II", 24, 196608) + b"user\0me\0\0\0\0\0\0\0\0"
SSL_REQUEST, GSS_REQUEST = struct.pack(">II", 8, 80877103), struct.pack(">II", 8, 80877104)
CANCEL = struct.pack(">IIII", 16, 80877102, 1, 2)
RAW = [
    pytest.param("git.example:22", b"SSH-2.0-OpenSSH_9.9\r\n", id="SSH"),
    pytest.param("git.example:6379", b"*1\r\n$4\r\nPING\r\n", id="Redis"),
    pytest.param("git.example:6379", b"PING\r\n", id="Redis, inline"),
    pytest.param("git.example:3306", b"\x20\0\0\x01\x85\xa6\xff\x09" + bytes(28), id="MySQL"),
    pytest.param("git.example:27017", struct.pack("<IIII", 60, 1, 0, 2013) + bytes(44), id="MongoDB"),
    pytest.param("git.example:5432", STARTUP, id="PostgreSQL, plain"),
    pytest.param("git.example:5432", CANCEL, id="PostgreSQL, a cancellation"),
    pytest.param("git.example:5672", b"AMQP\0\0\x09\x01", id="AMQP"),
    pytest.param("git.example:1883", b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04abcd", id="MQTT"),
    pytest.param("git.example:25", b"EHLO me\r\n", id="SMTP"),
    pytest.param("git.example:143", b"a1 LOGIN me x\r\n", id="IMAP"),
    pytest.param("git.example:9092", struct.pack(">IHHI", 20, 18, 3, 1) + bytes(10), id="Kafka"),
    pytest.param("git.example:9042", b"\x04\0\0\0\x05\0\0\0\0", id="Cassandra"),
    pytest.param("git.example:61613", b"CONNECT\naccept-version:1.2\nhost:a\n\n\0", id="STOMP"),
    pytest.param("git.example:4222", b'CONNECT {"verbose":false}\r\nPING\r\n', id="NATS"),
    pytest.param("git.example:389", b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\0\x80\0", id="LDAP"),
]


@pytest.mark.parametrize(("place", "stream"), RAW)
def test_a_protocol_of_its_own_passes_on_its_port_and_on_no_web_port(place: str, stream: bytes) -> None:
    target = at(place)
    assert same_in_pieces(target, stream, passes=True) is None
    one = Watched(target)
    one.feed(stream)
    assert (one.guard.watching, one.guard.protocol) == (False, "raw")
    for port in sorted(decide.WEB_PORTS):
        same_in_pieces(at(f"{target.host}:{port}"), stream, passes=False, steps=(1,))


GREETINGS = [
    pytest.param(OTHER, b"220 here I am\r\n", True, id="text"),
    pytest.param(DATABASE, b"SSH-2.0-x\r\n", True, id="SSH"),
    pytest.param(LOCAL, b"220 here I am\r\n", False, id="on a web port"),
    pytest.param(OTHER, b"HTTP/1.1 408 Request Timeout\r\n\r\n", False, id="HTTP gives up"),
    pytest.param(OTHER, b"\x15\x03\x03\0\x02\x02\x50", False, id="TLS gives up"),
    pytest.param(OTHER, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64", False, id="settings of HTTP/2"),
]


@pytest.mark.parametrize(("target", "greeting", "leaves"), GREETINGS)
@pytest.mark.parametrize("cut", [None, 1])
def test_one_word_answers_a_host_that_spoke_first(
    target: decide.Target, greeting: bytes, leaves: bool, cut: int | None
) -> None:
    word = b"ruok"
    play(target, [("<", greeting, b""), (">", word, word if leaves else b"")], cut)
    one = play(target, [(">", word, b""), ("<", greeting, word if leaves else b"")], cut)
    if not leaves:
        one.feed(f" / HTTP/1.1\r\nHost: {EVIL}\r\n\r\n".encode(), cut)
        assert (one.passed, one.denied is None) == (b"", False)


@pytest.mark.parametrize(
    "stream", [hello(EVIL), b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n", SSL_REQUEST, b""]
)
def test_opaque_is_left_alone(stream: bytes) -> None:
    one = Watched(at(f"{GOOD}:443", opaque=True))
    assert (one.guard.watching, one.guard.undecided, one.guard.protocol) == (False, False, "opaque")
    assert one.feed(stream) == stream


# --- PostgreSQL ---------------------------------------------------------------------------------------

POSTGRES = [
    pytest.param(SSL_REQUEST + hello(GOOD) + TAIL, True, id="TLS"),
    pytest.param(SSL_REQUEST + hello(None) + TAIL, True, id="TLS without a name, as older clients"),
    pytest.param(SSL_REQUEST + STARTUP, True, id="declined"),
    pytest.param(SSL_REQUEST + CANCEL, True, id="declined, a cancellation"),
    pytest.param(GSS_REQUEST + STARTUP, True, id="GSSAPI, declined"),
    pytest.param(GSS_REQUEST + SSL_REQUEST + hello(GOOD), True, id="GSSAPI, then TLS, as libpq"),
    pytest.param(SSL_REQUEST + GSS_REQUEST + STARTUP, True, id="the other way round"),
    pytest.param(GSS_REQUEST + hello(GOOD), True, id="GSSAPI, then TLS at once"),
    pytest.param(SSL_REQUEST + hello(EVIL), False, id="TLS, another name"),
    pytest.param(SSL_REQUEST + hello(None, tls.extension(tls.ECH, b"\0")), False, id="TLS, ECH"),
    pytest.param(SSL_REQUEST + hello(GOOD) + hello(EVIL), False, id="a second hello, another name"),
    pytest.param(SSL_REQUEST * 3 + hello(EVIL), False, id="asked thrice"),
    pytest.param(GSS_REQUEST + SSL_REQUEST + hello(EVIL), False, id="TLS behind GSSAPI, another name"),
    pytest.param(GSS_REQUEST + hello(EVIL), False, id="TLS at once behind GSSAPI, another name"),
    pytest.param(SSL_REQUEST + GSS_REQUEST + hello(EVIL), False, id="behind both"),
    pytest.param(SSL_REQUEST + tls.record(b"\1\x5a", tls.ALERT) + hello(EVIL), False, id="behind an alert"),
    pytest.param(SSL_REQUEST + b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", False, id="HTTP behind it"),
    pytest.param(SSL_REQUEST + b"\x80\x2e\x01\x03\x01" + bytes(40), False, id="SSL 2 behind it"),
]


@pytest.mark.threat(
    "D3", proves="a database's request for TLS does not carry a hello of another name past the guard"
)
@pytest.mark.parametrize(("stream", "passes"), POSTGRES)
def test_postgres(stream: bytes, passes: bool) -> None:
    same_in_pieces(DATABASE, stream, passes)


@pytest.mark.parametrize(
    "stream", [SSL_REQUEST, GSS_REQUEST, SSL_REQUEST + hello(None), SSL_REQUEST + hello(GOOD)]
)
def test_postgres_is_not_for_web_ports(stream: bytes) -> None:
    for step in (None, 1):
        passed, denied = fed(WEB, stream, step)
        assert denied is not None
        assert passed == b""


def test_a_request_for_tls_leaves_at_once() -> None:
    one = Watched(DATABASE)
    assert one.feed(SSL_REQUEST[:7]) == b""
    assert one.guard.undecided
    assert one.feed(SSL_REQUEST[7:]) == SSL_REQUEST
    assert not one.guard.undecided
    assert one.guard.watching
    assert one.feed(hello(GOOD)) == hello(GOOD)
    assert one.guard.protocol == "postgres-tls"


# --- the guard's own promises -------------------------------------------------------------------------


@pytest.mark.threat("D3", proves="after a denial nothing more of the connection passes")
@pytest.mark.parametrize("stream", [hello(EVIL), b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n", SSL_REQUEST])
@pytest.mark.parametrize("later", [hello(GOOD), b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", b"x", b""])
def test_nothing_passes_after_a_denial(stream: bytes, later: bytes) -> None:
    guard = Guard(WEB)
    with pytest.raises(Refused) as first:
        guard.feed(stream)
    for again in (guard.feed, guard.answer):
        with pytest.raises(Refused) as second:
            again(later)
        assert second.value.denied is first.value.denied
    assert not guard.undecided


def test_an_opening_that_never_says_enough_is_refused() -> None:
    for byte in (b"\x16", b"\r", b"G", b"\0"):
        one = Watched(OTHER)
        for _ in range(OPENING_MOST * 2):
            one.feed(byte)
            if one.denied or not one.guard.undecided:
                break
        else:
            pytest.fail("it is still waiting")


def test_a_hello_without_end_is_refused() -> None:
    one = Watched(WEB)
    one.feed(tls.record(b"\1\0\xff\xff\3\3"))
    for _ in range(1 << 17):
        one.feed(tls.record(b"x"))
        if one.denied:
            return
    pytest.fail("it is still held")


def test_nothing_fed_is_nothing_decided() -> None:
    one = Watched(WEB)
    assert one.feed(b"") == b""
    one.guard.feed(b"")
    assert one.guard.watching
    assert not one.guard.undecided


WHOLE = b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n"


@pytest.mark.parametrize(
    ("place", "stream", "refused"),
    [
        pytest.param("good.example:7000", b"QUIT", True, id="a word that could begin a request"),
        pytest.param("good.example:80", WHOLE[:30], True, id="half a head"),
        pytest.param("good.example:443", hello(GOOD)[:40], True, id="half a ClientHello"),
        pytest.param("good.example:7000", b"QUIT\r\n", False, id="a protocol of its own"),
        pytest.param(
            "good.example:80", b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n", False, id="a request"
        ),
        pytest.param("good.example:443", hello(GOOD), False, id="a ClientHello"),
        pytest.param("good.example:443", b"", False, id="nothing"),
    ],
)
def test_whoever_ends_before_it_said_enough_is_told_why(place: str, stream: bytes, refused: bool) -> None:
    watched = Watched(at(place))
    watched.feed(stream)
    if not refused:
        watched.guard.finish()
        assert watched.passed == stream
        return
    with pytest.raises(Refused, match="before it said which host"):
        watched.guard.finish()
    assert watched.passed == b""
