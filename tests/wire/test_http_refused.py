"""What may be read in two ways and is refused: the tricks by which requests are smuggled, one by one."""

from __future__ import annotations

import pytest

from sandbox.wire.http import Malformed, RequestReader
from tests.wire.http_requests import (
    CHUNKED,
    GET,
    GOOD,
    HIDDEN,
    HOST,
    STOLEN,
    WRONG,
    outcome,
    post,
    read,
    request,
)

# --- lines ------------------------------------------------------------------------------------------------


def lined(line: str) -> bytes:
    return request(HOST, line=line)


LINES = [
    pytest.param(lined("GET /"), "no line of a request", id="HTTP/0.9"),
    pytest.param(b"GET /\r\n", "no line of a request", id="HTTP/0.9 without fields"),
    pytest.param(lined("GET / HTTP/2.0"), "no line of a request", id="HTTP/2.0"),
    pytest.param(lined("GET / HTTP/1.2"), "no line of a request", id="HTTP/1.2"),
    pytest.param(lined("GET / HTTP/1.10"), "no line of a request", id="HTTP/1.10"),
    pytest.param(lined("GET / HTTP/01.1"), "no line of a request", id="HTTP/01.1"),
    pytest.param(lined("GET / http/1.1"), "no line of a request", id="http/1.1"),
    pytest.param(lined("GET / HTTP/1.1 "), "no line of a request", id="a space at the end"),
    pytest.param(lined("GET  / HTTP/1.1"), "no line of a request", id="two spaces"),
    pytest.param(lined("GET /  HTTP/1.1"), "no line of a request", id="two spaces before the version"),
    pytest.param(lined("GET /a b HTTP/1.1"), "no line of a request", id="a space in the target"),
    pytest.param(lined("GET\t/ HTTP/1.1"), "begins no request|no line", id="a tab"),
    pytest.param(lined(" GET / HTTP/1.1"), "begins no request|no line", id="a space before it"),
    pytest.param(lined("get / HTTP/1.1"), "begins no request|no line", id="small letters"),
    pytest.param(lined("G=T / HTTP/1.1"), "begins no request|no line", id="a sign in the method"),
    pytest.param(lined("G\xc9T / HTTP/1.1"), "begins no request|no line", id="a method beyond ASCII"),
    pytest.param(lined("GET /\x0b HTTP/1.1"), "target", id="a control character in the target"),
    pytest.param(lined("GET /\xe4 HTTP/1.1"), "target", id="a target beyond ASCII"),
    pytest.param(lined("GET /\x7f HTTP/1.1"), "target", id="DEL in the target"),
    pytest.param(lined("GET /#x HTTP/1.1"), "target", id="a fragment"),
    pytest.param(lined("GET x HTTP/1.1"), "target", id="a target that is no path"),
    pytest.param(lined("GET evil.example:80 HTTP/1.1"), "target", id="authority form"),
    pytest.param(lined("GET * HTTP/1.1"), "target", id="asterisk form of GET"),
    pytest.param(lined("OPTIONS ** HTTP/1.1"), "target", id="two asterisks"),
    pytest.param(lined("GET http:/evil.example/ HTTP/1.1"), "target", id="one slash"),
    pytest.param(lined("GET http:evil.example HTTP/1.1"), "target", id="no slash"),
    pytest.param(lined("GET ://evil.example HTTP/1.1"), "target", id="no scheme"),
    pytest.param(lined("GET http:///x HTTP/1.1"), "neither a host", id="no authority"),
    pytest.param(lined("GET http://u@evil.example/ HTTP/1.1"), "neither a host", id="a user"),
    pytest.param(lined("GET http://u:p@evil.example/ HTTP/1.1"), "neither a host", id="a password"),
    pytest.param(lined(f"GET http://{GOOD}\\@evil.example/ HTTP/1.1"), "neither a host", id="a backslash"),
    pytest.param(lined(f"GET http://{GOOD}%2f@x/ HTTP/1.1"), "neither a host", id="a slash in percent"),
    pytest.param(lined(f"GET http://{GOOD}#.evil.example/ HTTP/1.1"), "target", id="a fragment in a URL"),
    pytest.param(lined(f"GET http://{GOOD}:080/ HTTP/1.1"), "neither a host", id="a zero before the port"),
    pytest.param(lined("CONNECT / HTTP/1.1"), "neither a host", id="CONNECT to a path"),
    pytest.param(lined("CONNECT http://a/ HTTP/1.1"), "neither a host", id="CONNECT to a URL"),
    pytest.param(b"\r\n" + GET, "begins no request|an empty line", id="an empty line before"),
    pytest.param(GET + b"\r\n" + GET, "begins no request|an empty line", id="an empty line between"),
    pytest.param(
        post("Content-Length: 1", body="x") + b"\r\n" + GET, "begins no request|an empty line",
        id="an empty line behind a body",
    ),
    pytest.param(b"\n" + GET, "begins no request|LF alone", id="a line feed before"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "no line of a request", id="HTTP/2"),
    pytest.param(b"\x16\x03\x01", "begins no request", id="TLS"),
    pytest.param(GET + b"\x16\x03\x01", "begins no request", id="TLS behind a request"),
]  # fmt: skip

# --- fields -----------------------------------------------------------------------------------------------

FIELDS = [
    pytest.param(request(HOST, end="\n"), "LF alone", id="line feeds"),
    pytest.param(request(HOST, end="\r"), "CR without LF", id="carriage returns"),
    pytest.param(GET[:-2] + b"\n", "LF alone", id="an empty line of LF"),
    pytest.param(GET[:-2] + b"\r\r\n", "CR without LF", id="an empty line of CR CR LF"),
    pytest.param(request(HOST, f"X: y\n{WRONG}"), "LF alone", id="a line feed in a value"),
    pytest.param(request(HOST, f"X: y\r{WRONG}"), "CR without LF", id="a carriage return in a value"),
    pytest.param(request(f"{HOST}\r"), "CR without LF", id="a carriage return at the end of a value"),
    pytest.param(request(HOST, "X: y", f" {WRONG}"), "in two lines", id="a folded line"),
    pytest.param(request(HOST, "X: y", "\tz"), "in two lines", id="folded with a tab"),
    pytest.param(request(f" {WRONG}", HOST), "in two lines", id="a folded line first"),
    pytest.param(request(HOST, " "), "in two lines", id="a line of a space"),
    pytest.param(request(HOST, "X: a\0b"), "control", id="NUL"),
    pytest.param(request(HOST, "X: a\x0bb"), "control", id="a vertical tab"),
    pytest.param(request(HOST, "X: a\x7fb"), "control", id="DEL"),
    pytest.param(request(HOST, "X: a\x1b[2J"), "control", id="an escape"),
    pytest.param(request(HOST, f"X: y\x85{WRONG}"), "control", id="NEL, a line's end in Latin-1"),
    pytest.param(request(HOST, "Host : evil.example"), "no field", id="a space before the colon"),
    pytest.param(request(HOST, "Host\t: evil.example"), "no field", id="a tab before the colon"),
    pytest.param(request(HOST, "Host\0: evil.example"), "no field", id="NUL in a name"),
    pytest.param(request(HOST, "Ho st: x"), "no field", id="a space in a name"),
    pytest.param(request(HOST, ": evil.example"), "no field", id="no name"),
    pytest.param(request(HOST, "x"), "no field", id="no colon"),
    pytest.param(request(HOST, "H\xf6st: x"), "no field", id="a name beyond ASCII"),
    pytest.param(request(HOST, "X(y): z"), "no field", id="brackets in a name"),
    pytest.param(request(HOST, "Host_: evil.example"), "read as `host`", id="Host and an underscore"),
    pytest.param(request(HOST, "content_length: 5"), "read as `content-length`", id="content_length"),
    pytest.param(request(HOST, "Content.Length: 5"), "read as `content-length`", id="Content.Length"),
    pytest.param(request(HOST, "TRANSFER_ENCODING: chunked"), "read as `transfer", id="TRANSFER_ENCODING"),
    pytest.param(request(HOST, "Connection: close, Host"), "lists `host`", id="Connection: Host"),
    pytest.param(request(HOST, "connection: Content-Length"), "lists `cont", id="Connection: Content-Length"),
    pytest.param(
        request(HOST, "Connection: keep-alive", "Connection: x,transfer-encoding"), "lists `transfer",
        id="Connection: Transfer-Encoding",
    ),
    pytest.param(request(HOST, "Connection: close; host"), "in the field `con", id="Connection: no token"),
    pytest.param(request(HOST, 'Upgrade: "h2c"'), "in the field `upg", id="an upgrade in quotes"),
    pytest.param(request(HOST, "Expect: x 100-continue"), "Expect", id="another expectation"),
    pytest.param(request(HOST, "Expect: 100-continue", "Expect: 100-continue"), "Expect", id="two of them"),
]  # fmt: skip

# --- where the body ends ----------------------------------------------------------------------------------

_SIZE = f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"
_END = f"0\r\n\r\n{HIDDEN}"
FRAMING = [
    pytest.param(post("Content-Length: 6", CHUNKED, body=_END), "both", id="CL.TE"),
    pytest.param(post(CHUNKED, "Content-Length: 4", body=_SIZE), "both", id="TE.CL"),
    pytest.param(post("Content-Length: 0", CHUNKED, body=_END), "both", id="a length of 0 and chunks"),
    pytest.param(post(CHUNKED, CHUNKED, body=_END), "not `chunked`", id="TE.TE"),
    pytest.param(post(CHUNKED, "Transfer-Encoding: identity"), "not `chunked`", id="chunked, then identity"),
    pytest.param(post("Transfer-Encoding: identity", body=HIDDEN), "not `chunked`", id="identity"),
    pytest.param(post("Transfer-Encoding: gzip, chunked", body=_END), "not `chunked`", id="gzip, chunked"),
    pytest.param(
        post("Transfer-Encoding: chunked, chunked", body=_END), "not `chunked`", id="chunked, chunked"
    ),
    pytest.param(post("Transfer-Encoding: chunked;x", body=_END), "not `chunked`", id="a parameter"),
    pytest.param(post("Transfer-Encoding: xchunked", body=_END), "not `chunked`", id="xchunked"),
    pytest.param(post("Transfer-Encoding: ,chunked", body=_END), "not `chunked`", id="a comma"),
    pytest.param(post('Transfer-Encoding: "chunked"', body=_END), "not `chunked`", id="in quotes"),
    pytest.param(post("Transfer-Encoding: chunked\xa0", body=_END), "not `chunked`", id="a wide space"),
    pytest.param(post("Transfer-Encoding: chun\xaaked"), "not `chunked`", id="another letter"),
    pytest.param(post("Transfer-Encoding:", body=HIDDEN), "not `chunked`", id="nothing"),
    pytest.param(post("Transfer-Encoding: \x0bchunked", body=_END), "control", id="a vertical tab first"),
    pytest.param(
        post("Transfer-Encoding\x0b: chunked", body=_END), "no field", id="a vertical tab in the name"
    ),
    pytest.param(post("Transfer-Encoding : chunked", body=_END), "no field", id="a space behind the name"),
    pytest.param(post("X: y\nTransfer-Encoding: chunked", body=_END), "LF alone", id="behind a line feed"),
    pytest.param(post("Transfer-Encoding:", " chunked", body=_END), "in two lines", id="folded"),
    pytest.param(request(HOST, CHUNKED, line="POST / HTTP/1.0", body=_END), "HTTP/1.0", id="HTTP/1.0"),
    pytest.param(
        post("Content-Length: 1", "Content-Length: 2", body="ab"), "more than once", id="two lengths"
    ),
    pytest.param(post("Content-Length: 1", "Content-Length: 1", body="a"), "more than once", id="one, twice"),
    pytest.param(post("Content-Length: 1, 1", body="a"), "Content-Length `", id="a list of lengths"),
    pytest.param(post("Content-Length: +1", body="a"), "Content-Length `", id="a plus"),
    pytest.param(post("Content-Length: -1"), "Content-Length `", id="a minus"),
    pytest.param(post("Content-Length: 0x1", body="a"), "Content-Length `", id="hexadecimal"),
    pytest.param(post("Content-Length: 010", body="a" * 8), "Content-Length `", id="perhaps octal"),
    pytest.param(post("Content-Length: 1_0", body="a" * 10), "Content-Length `", id="an underscore"),
    pytest.param(post("Content-Length: 1 0", body="a" * 10), "Content-Length `", id="a space within"),
    pytest.param(post("Content-Length: 1.0", body="a"), "Content-Length `", id="a fraction"),
    pytest.param(post("Content-Length: \xb2", body="ab"), "Content-Length `", id="a digit beyond ASCII"),
    pytest.param(post("Content-Length:"), "Content-Length `", id="no length"),
    pytest.param(post("Content-Length: 18446744073709551617", body="a"), "Content-Length `", id="2**64 + 1"),
    pytest.param(post(CHUNKED, body="0\n\n"), "LF alone", id="chunks of line feeds"),
    pytest.param(post(CHUNKED, body="1\r\nx\n0\r\n\r\n"), "goes on", id="a line feed behind a chunk"),
    pytest.param(
        post(CHUNKED, body="1\r\nx\rx0\r\n\r\n"), "CR without", id="a carriage return behind a chunk"
    ),
    pytest.param(post(CHUNKED, body="1\r\nxy\r\n0\r\n\r\n"), "goes on", id="a chunk longer than it says"),
    pytest.param(post(CHUNKED, body="2\r\nx\r\n0\r\n\r\n"), "goes on", id="a chunk shorter than it says"),
    pytest.param(post(CHUNKED, body="0x1\r\nx\r\n"), "no chunk's size", id="a size with a prefix"),
    pytest.param(post(CHUNKED, body="+1\r\nx\r\n"), "no chunk's size", id="a size with a plus"),
    pytest.param(post(CHUNKED, body="-1\r\nx\r\n"), "no chunk's size", id="a size with a minus"),
    pytest.param(post(CHUNKED, body="1_0\r\nx\r\n"), "no chunk's size", id="a size with an underscore"),
    pytest.param(post(CHUNKED, body=" 1\r\nx\r\n"), "no chunk's size", id="a space before a size"),
    pytest.param(post(CHUNKED, body="1 \r\nx\r\n"), "no chunk's size", id="a space behind a size"),
    pytest.param(post(CHUNKED, body="1 ;x\r\nx\r\n"), "no chunk's size", id="a space before an extension"),
    pytest.param(post(CHUNKED, body="1,x\r\nx\r\n"), "no chunk's size", id="a size and a comma"),
    pytest.param(post(CHUNKED, body="\r\n1\r\nx\r\n"), "no chunk's size", id="no size"),
    pytest.param(post(CHUNKED, body=";x\r\n"), "no chunk's size", id="an extension alone"),
    pytest.param(post(CHUNKED, body=f"{'0' * 16}1\r\nx\r\n"), "no chunk's size", id="a size of 17 digits"),
    pytest.param(
        post(CHUNKED, body="10000000000000001\r\nx\r\n"), "no chunk's size", id="2**64 + 1 in chunks"
    ),
    pytest.param(
        post(CHUNKED, body="ffffffffffffffff\r\n"), "a chunk of 18446744073709551615", id="2**64 - 1"
    ),
    pytest.param(post(CHUNKED, body="1;x\nx\r\n"), "LF alone", id="a line feed in an extension"),
    pytest.param(post(CHUNKED, body="1;x\rx\r\n"), "CR without", id="a carriage return in an extension"),
    pytest.param(post(CHUNKED, body='1;x="\n"\r\nx\r\n'), "LF alone", id="a line feed in quotes"),
    pytest.param(post(CHUNKED, body="1;\xe4\r\nx\r\n"), "no chunk's size", id="an extension beyond ASCII"),
    pytest.param(post(CHUNKED, body="1;\0\r\nx\r\n"), "no chunk's size", id="NUL in an extension"),
    pytest.param(post(CHUNKED, body=f"0\r\n{WRONG}\r\n\r\n"), "in a trailer", id="a Host in a trailer"),
    pytest.param(post(CHUNKED, body="0\r\nContent-Length: 9\r\n\r\n"), "in a trailer", id="a length in one"),
    pytest.param(post(CHUNKED, body=f"0\r\n{CHUNKED}\r\n\r\n"), "in a trailer", id="an encoding in one"),
    pytest.param(post(CHUNKED, body="0\r\nupgrade: h2c\r\n\r\n"), "in a trailer", id="an upgrade in one"),
    pytest.param(post(CHUNKED, body="0\r\nConnection: x\r\n\r\n"), "in a trailer", id="Connection in one"),
    pytest.param(post(CHUNKED, body="0\r\nho_st: x\r\n\r\n"), "read as `host`", id="a look-alike in one"),
    pytest.param(post(CHUNKED, body=f"0\r\n{HIDDEN}"), "no field", id="a request as a trailer"),
    pytest.param(post(CHUNKED, body="0\r\nA: b\r\n c\r\n\r\n"), "in two lines", id="a folded trailer"),
    pytest.param(post(CHUNKED, body="0\r\nA: b\n\r\n"), "LF alone", id="a line feed in a trailer"),
]


@pytest.mark.parametrize(("data", "reason"), [*LINES, *FIELDS, *FRAMING])
def test_refused_however_it_is_split(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as why:
        read(data)
    assert str(why.value).isprintable()
    for at in range(len(data)):
        assert outcome(data, [at]) is None
    with pytest.raises(Malformed, match=reason):
        read(data, range(len(data)))


def test_a_line_that_is_refused_is_refused_when_it_is_there() -> None:
    for line in (b"get", b"GET / HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nX : y\r\n", b"GET / HTTP/1.1\r\nX\n"):
        with pytest.raises(Malformed):
            RequestReader().feed(line)


# --- bodies that are overlooked ---------------------------------------------------------------------------


def with_body(method: str, body: str) -> bytes:
    return request(HOST, f"Content-Length: {len(body)}", line=f"{method} / HTTP/1.1", body=body)


BODILESS = ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"]
LIKE_REQUESTS = [
    pytest.param(HIDDEN, id="a request"),
    pytest.param(f"\r\n \t\n{HIDDEN}", id="behind blanks"),
    pytest.param(HIDDEN.replace("GET", "m-x"), id="with a method of its own"),
    pytest.param("GET\t/\tHTTP/1.1\r\n", id="with tabs"),
    pytest.param("GET /a b HTTP/1.1\r\n", id="with a space in the target"),
    pytest.param("GET / http/1.1\r\n", id="in small letters"),
    pytest.param("GET http://evil.example/ HTTP/1.1\n", id="absolute form, line feed"),
    pytest.param("OPTIONS * HTTP/1.1\r", id="asterisk form, carriage return"),
    pytest.param("CONNECT 10.0.0.1:443 HTTP/1.1\r\n", id="authority form"),
    pytest.param("GET / HTTP/1.1", id="the line's end is for the next request to bring"),
]
UNLIKE_REQUESTS = [
    pytest.param('{"query": {"match_all": {}}}', id="JSON"),
    pytest.param('{"a":\r\n"GET / HTTP/1.1\r\n"}', id="a request in JSON"),
    pytest.param("a=GET / HTTP/1.1&b=c", id="a form"),
    pytest.param("--x\r\nContent-Type: text/plain\r\n\r\nGET / HTTP/1.1\r\n", id="parts"),
    pytest.param("How to speak HTTP/1.1\r\n", id="a text"),
    pytest.param("GET /\r\n", id="a text without a version"),
    pytest.param("\0GET / HTTP/1.1\r\n", id="bytes"),
    pytest.param("\r\n\r\n", id="blanks"),
    pytest.param("x" * 70000 + " / HTTP/1.1\r\n", id="a line longer than any server reads"),
]


@pytest.mark.parametrize("method", BODILESS)
@pytest.mark.parametrize("body", LIKE_REQUESTS)
def test_a_body_that_servers_overlook_may_not_begin_like_a_request(method: str, body: str) -> None:
    chunked = request(
        HOST, CHUNKED, line=f"{method} / HTTP/1.1", body=f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
    )
    by_byte = "".join(f"1\r\n{one}\r\n" for one in body) + "0\r\n\r\n"
    apart = request(HOST, CHUNKED, line=f"{method} / HTTP/1.1", body=by_byte)
    for data in (with_body(method, body), chunked, apart):
        for cuts in ([], range(len(data)), range(0, len(data), 7)):
            assert outcome(data, cuts) is None


def test_of_a_body_that_is_refused_no_host_has_passed() -> None:
    reader, data = RequestReader(), with_body("GET", HIDDEN)
    line = data.index(HIDDEN.encode()) + len("GET / HTTP/1.1")
    passed = b"".join(piece.raw for at in range(line) for piece in reader.feed(data[at : at + 1]))
    assert passed == data[:line]
    with pytest.raises(Malformed, match=r"begins like a request: `GET / HTTP/1\.1`"):
        reader.feed(data[line : line + 1])


@pytest.mark.parametrize("body", UNLIKE_REQUESTS)
def test_any_other_body_of_any_method_passes(body: str) -> None:
    for method in BODILESS:
        for cuts in ([], [60], [66, 67, 68]):
            assert outcome(with_body(method, body), cuts) is not None


def test_where_a_body_is_expected_it_may_say_anything() -> None:
    assert outcome(with_body("POST", HIDDEN) + STOLEN) is not None
    assert outcome(post(CHUNKED, body=_SIZE)) is not None
