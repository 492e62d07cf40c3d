"""Which connection goes where, and what it must show: deny is what is left over."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.egress import decide, words
from sandbox.egress.decide import Denied, Target
from sandbox.egress.names import Names
from sandbox.policy import hosts
from sandbox.policy.hosts import parse
from sandbox.policy.model import HostRule

RULES = (
    parse("api.github.com"),
    parse("*.example.com:443"),
    parse("xn--bcher-kva.example:443"),
    HostRule("db.example.org", 5432, opaque=True),
    parse("localhost:5432"),
    parse("127.0.0.1:6379"),
    parse("127.0.0.53:8053"),
    parse("[::1]:9000"),
    parse("10.0.0.5:443"),
    parse("[2001:db8::5]:443"),
)


# --- names ----------------------------------------------------------------------------------------

NAMED = [
    pytest.param("api.github.com", True, id="an exact name"),
    pytest.param("a.b.example.com", True, id="below a wildcard"),
    pytest.param("db.example.org", True, id="a name whose rule has another port"),
    pytest.param("localhost", True, id="localhost, listed"),
    pytest.param("example.com", False, id="the apex of a wildcard"),
    pytest.param("github.com", False, id="a parent"),
    pytest.param("c2VjcmV0.api.github.com", False, id="data below an exact name"),
    pytest.param("api.github.com.evil.org", False, id="an allowed name as a prefix"),
    pytest.param("badexample.com", False, id="an allowed suffix without its dot"),
    pytest.param("10.0.0.5", False, id="a listed address, which is no name"),
    pytest.param("127.0.0.1", False, id="loopback"),
    pytest.param("a.localhost", False, id="below localhost"),
    pytest.param("", False, id="the root"),
    pytest.param(None, False, id="no spelling of a host"),
]


@pytest.mark.threat("D3", proves="no name exists for the server but those that a rule names")
@pytest.mark.parametrize(("name", "known"), NAMED)
def test_a_name_exists_where_a_rule_names_it(name: str | None, known: bool) -> None:
    assert (decide.lookup(RULES, name) is None) is known


def test_without_rules_no_name_exists() -> None:
    found = decide.lookup((), "api.github.com")
    assert found is not None
    assert (found.where, found.rule) == ("api.github.com", words.DEFAULT_DENY)


GRANTS = [
    pytest.param("git.example.org", "git.example.org", id="a name"),
    pytest.param("a-b.c0.example.net", "a-b.c0.example.net", id="any name"),
    pytest.param("printer", "", id="no dot: machinery"),
    pytest.param("", "", id="the root"),
    pytest.param(None, "", id="no spelling"),
    pytest.param("_dmarc.example.net", "", id="an underscore: machinery"),
    pytest.param("4.3.2.1.in-addr.arpa", "", id="a reverse lookup"),
    pytest.param("*.example.net", "", id="a pattern would grant more than was asked"),
    pytest.param("1.2.3.4", "", id="an address would grant something else"),
    pytest.param("evil.0x7f000001", "", id="a number at the end"),
    pytest.param("db.localhost", "", id="this machine's loopback"),
    pytest.param("-a.example.net", "", id="no host name"),
    pytest.param("example.net:80", "", id="a port in the name"),
    pytest.param("Example.net", "", id="another spelling"),
    pytest.param("example.net.", "", id="a final dot"),
]


@pytest.mark.parametrize(("name", "grant"), GRANTS)
def test_what_would_grant_a_name(name: str | None, grant: str) -> None:
    found = decide.lookup(RULES, name)
    assert found is not None
    assert found.grant == grant


@given(st.text(alphabet="aZ0.-_*:é[]", max_size=14))
@example("a.b")
def test_what_grants_a_name_grants_that_name_alone(name: str) -> None:
    found = decide.lookup((), name)
    assert found is not None
    if found.grant:
        rule = parse(found.grant)
        assert decide.lookup((rule,), name) is None
        assert rule.host == name


# --- where a connection goes ------------------------------------------------------------------------

ROUTES = [
    pytest.param("26.53.1.0", 443, "api.github.com", ("name", "api.github.com"), id="a looked-up name"),
    pytest.param("3053:6278:0:1::100", 443, "a.example.com", ("name", "a.example.com"), id="by a wildcard"),
    pytest.param("10.0.0.5", 443, None, ("literal", "10.0.0.5"), id="a listed literal"),
    pytest.param("2001:db8::5", 443, None, ("literal", "2001:db8::5"), id="a listed IPv6 literal"),
    pytest.param("127.0.0.1", 5432, None, ("local", "127.0.0.1"), id="localhost"),
    pytest.param("::1", 5432, None, ("local", "::1"), id="localhost by IPv6"),
    pytest.param("127.0.0.1", 6379, None, ("local", "127.0.0.1"), id="loopback as a literal"),
    pytest.param("::1", 9000, None, ("local", "::1"), id="IPv6 loopback as a literal"),
    pytest.param("127.0.0.53", 8053, None, ("literal", "127.0.0.53"), id="another address of loopback"),
    pytest.param("26.53.1.0", 80, "api.github.com", None, id="a looked-up name on another port"),
    pytest.param("26.53.1.0", 443, None, None, id="a made-up address that nobody looked up"),
    pytest.param("93.184.216.34", 443, None, None, id="an address that a server knows by heart"),
    pytest.param("10.0.0.5", 80, None, None, id="a listed literal on another port"),
    pytest.param("10.0.0.6", 443, None, None, id="beside a listed literal"),
    pytest.param("::1", 6379, None, None, id="the other loopback than the listed one"),
    pytest.param("127.0.0.1", 9000, None, None, id="the other loopback than the listed IPv6 one"),
    pytest.param("127.0.0.2", 5432, None, None, id="localhost is not all of 127/8"),
    pytest.param("127.0.0.1", 2375, None, None, id="the engine's port on loopback"),
    pytest.param("172.17.0.1", 5432, None, None, id="host.docker.internal is not localhost"),
    pytest.param("169.254.169.254", 80, None, None, id="metadata"),
    pytest.param("::ffff:10.0.0.5", 443, None, None, id="a listed literal, mapped"),
    pytest.param("64:ff9b::a00:5", 443, None, None, id="a listed literal by NAT64"),
    pytest.param("fe80::1%lo", 443, None, None, id="a scope"),
    pytest.param("10.0.0.5", 443, "evil.example.org", None, id="the name decides, not the address"),
]


@pytest.mark.threat("D3", proves="a connection goes to a looked-up name or a listed literal, or nowhere")
@pytest.mark.parametrize(("address", "port", "name", "expected"), ROUTES)
def test_where_a_connection_goes(
    address: str, port: int, name: str | None, expected: tuple[str, str] | None
) -> None:
    found = decide.route(RULES, address, port, name)
    if expected is None:
        assert isinstance(found, Denied)
        assert found.port == port
    else:
        assert isinstance(found, Target)
        assert (found.kind, found.host, found.port) == (*expected, port)


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.1", "::1", "26.53.1.0", "8.8.8.8"])
@pytest.mark.parametrize("name", [None, "api.github.com"])
def test_without_rules_no_connection_goes_anywhere(address: str, name: str | None) -> None:
    assert isinstance(decide.route((), address, 443, name), Denied)


ROUTE_GRANTS = [
    pytest.param("26.53.1.0", 80, "api.github.com", "api.github.com:80", id="the name with its port"),
    pytest.param("93.184.216.34", 443, None, "93.184.216.34:443", id="a literal"),
    pytest.param("2606:4700::1", 8443, None, "[2606:4700::1]:8443", id="an IPv6 literal"),
    pytest.param("127.0.0.1", 3000, None, "localhost:3000", id="a port of this machine's"),
    pytest.param("169.254.169.254", 80, None, "", id="metadata: no advice"),
    pytest.param("168.63.129.16", 80, None, "", id="Azure's metadata"),
    pytest.param("fd00:ec2::254", 80, None, "", id="AWS's by IPv6"),
    pytest.param("26.53.1.9", 443, None, "", id="a made-up address of another session's"),
    pytest.param("3053:6278:0:1::109", 443, None, "", id="a made-up IPv6 address of another session's"),
    pytest.param("198.18.0.1", 443, None, "", id="the sandbox's own address"),
    pytest.param("255.255.255.255", 443, None, "", id="not the address of one host"),
    pytest.param("::ffff:10.0.0.1", 443, None, "", id="a spelling that no profile takes"),
    pytest.param("fe80::1%lo", 443, None, "", id="a scope, which no profile takes"),
]


@pytest.mark.parametrize(("address", "port", "name", "grant"), ROUTE_GRANTS)
def test_what_would_grant_a_connection(address: str, port: int, name: str | None, grant: str) -> None:
    found = decide.route(RULES, address, port, name)
    assert isinstance(found, Denied)
    assert found.grant == grant
    if grant:
        assert isinstance(decide.route((parse(grant),), address, port, name), Target)


STRAYS = [
    pytest.param("tcp", "93.184.216.34", 22, None, "93.184.216.34:22", "93.184.216.34:22", id="tcp"),
    pytest.param(
        "tcp", "26.53.1.0", 22, "a.example.com", "a.example.com:22", "a.example.com:22", id="a name"
    ),
    pytest.param("tcp", "127.0.0.1", 22, None, "localhost:22", "localhost:22", id="loopback"),
    pytest.param("tcp", "::1", 22, None, "localhost:22", "localhost:22", id="IPv6 loopback"),
    pytest.param("tcp", "26.53.7.7", 22, None, "26.53.7.7:22", "", id="nobody's address"),
    pytest.param("tcp", "169.254.169.254", 81, None, "169.254.169.254:81", "", id="metadata"),
    pytest.param("tcp", "93.184.216.34", 0, None, "93.184.216.34", "", id="port 0"),
    pytest.param("tcp", "26.53.1.0", 0, "a.example.com", "a.example.com", "", id="port 0 of a name"),
    pytest.param("udp", "93.184.216.34", 443, None, "93.184.216.34:443", "", id="QUIC"),
    pytest.param("udp", "26.53.1.0", 443, "a.example.com", "a.example.com:443", "", id="QUIC to a name"),
    pytest.param("udp", "ff02::fb", 5353, None, "[ff02::fb]:5353", "", id="multicast"),
    pytest.param("sctp", "93.184.216.34", 443, None, "93.184.216.34:443", "", id="another protocol"),
]


@pytest.mark.parametrize(("protocol", "address", "port", "name", "where", "grant"), STRAYS)
def test_what_is_said_of_an_attempt_that_went_nowhere(
    protocol: str, address: str, port: int, name: str | None, where: str, grant: str
) -> None:
    found = decide.stray(protocol, address, port, name)
    assert (found.where, found.grant) == (where, grant)
    assert grant or protocol == "tcp" or protocol in found.reason


# --- what a connection shows ------------------------------------------------------------------------


def target(text: str, *, opaque: bool = False, kind: str = "name") -> Target:
    rule = parse(text)
    rule = HostRule(rule.host, rule.port, opaque=opaque)
    if kind == "local":
        return Target("local", "127.0.0.1", rule.port, rule)
    return Target("literal" if kind == "literal" else "name", rule.host, rule.port, rule)


NAME = target("api.github.com")
LITERAL = target("10.0.0.5:443", kind="literal")
SIX = target("[2001:db8::5]:8080", kind="literal")
LOCAL = target("localhost:8080", kind="local")
OPAQUE = target("db.example.org:5432", opaque=True)
IDN = target("xn--bcher-kva.example")

SHOWN = [
    pytest.param(NAME, "api.github.com", True, id="the name"),
    pytest.param(NAME, "API.GitHub.COM", True, id="case"),
    pytest.param(NAME, "api.github.com.", True, id="final dot"),
    pytest.param(NAME, "evil.org", False, id="another host"),
    pytest.param(NAME, "github.com", False, id="a parent"),
    pytest.param(NAME, "x.api.github.com", False, id="a child"),
    pytest.param(NAME, "api.github.com.evil.org", False, id="the name as a prefix"),
    pytest.param(NAME, "evilapi.github.com", False, id="the name as a suffix"),
    pytest.param(NAME, "api.github.com..", False, id="two final dots"),
    pytest.param(NAME, ".api.github.com", False, id="a leading dot"),
    pytest.param(NAME, "api..github.com", False, id="an empty label"),
    pytest.param(NAME, "*.github.com", False, id="a pattern"),
    pytest.param(NAME, "api.github.com\0.evil.org", False, id="NUL"),
    pytest.param(NAME, "api.github.com\0", False, id="a final NUL"),
    pytest.param(NAME, "api.github.com\r\nHost: evil.org", False, id="CRLF"),
    pytest.param(NAME, "api.github.com ", False, id="a space"),
    pytest.param(NAME, "api.github.com/", False, id="a slash"),
    pytest.param(NAME, "api.github.com@evil.org", False, id="a user"),
    pytest.param(NAME, "evil.org@api.github.com", False, id="as a user"),
    pytest.param(NAME, "api.github.com,evil.org", False, id="a list"),
    pytest.param(NAME, "api%2egithub.com", False, id="percent"),
    pytest.param(NAME, "api\u3002github.com", False, id="ideographic full stop"),
    pytest.param(NAME, "\uff41pi.github.com", False, id="fullwidth"),
    pytest.param(NAME, "\u0430pi.github.com", False, id="a Cyrillic look-alike"),
    pytest.param(NAME, "api.github.com\u200b", False, id="zero width space"),
    pytest.param(NAME, "api.github.com:443", False, id="a port where a name belongs"),
    pytest.param(NAME, "[api.github.com]", False, id="a name in brackets"),
    pytest.param(NAME, "", False, id="nothing"),
    pytest.param(NAME, "26.53.1.0", False, id="the made-up address"),
    pytest.param(IDN, "xn--bcher-kva.example", True, id="IDNA in its wire form"),
    pytest.param(IDN, "b\u00fccher.example", False, id="IDNA not in its wire form"),
    pytest.param(LITERAL, "10.0.0.5", True, id="the literal"),
    pytest.param(LITERAL, "167772165", False, id="the literal in decimal"),
    pytest.param(LITERAL, "0xa000005", False, id="the literal in hexadecimal"),
    pytest.param(LITERAL, "012.0.0.5", False, id="the literal in octal"),
    pytest.param(LITERAL, "10.5", False, id="the literal, short"),
    pytest.param(LITERAL, "::ffff:10.0.0.5", False, id="the literal, mapped"),
    pytest.param(LITERAL, "10.0.0.5.", False, id="the literal with a final dot"),
    pytest.param(LITERAL, "evil.org", False, id="a name at a literal"),
    pytest.param(LITERAL, "localhost", False, id="localhost at a literal"),
    pytest.param(SIX, "2001:db8::5", True, id="the IPv6 literal"),
    pytest.param(SIX, "[2001:DB8:0::5]", True, id="the IPv6 literal, otherwise spelt"),
    pytest.param(SIX, "[2001:db8::6]", False, id="another IPv6 literal"),
    pytest.param(SIX, "2001:db8::5%lo", False, id="a zone"),
    pytest.param(LOCAL, "localhost", True, id="localhost"),
    pytest.param(LOCAL, "127.0.0.1", True, id="loopback"),
    pytest.param(LOCAL, "[::1]", True, id="IPv6 loopback"),
    pytest.param(LOCAL, "evil.org", False, id="another name at this machine: rebinding turned round"),
    pytest.param(LOCAL, "127.0.0.2", False, id="another loopback address"),
    pytest.param(LOCAL, "app.localhost", False, id="below localhost"),
]


@pytest.mark.threat("D3", proves="SNI passes only as the host that was looked up, in every spelling tried")
@pytest.mark.parametrize(("at", "shown", "passes"), SHOWN)
def test_sni(at: Target, shown: str, passes: bool) -> None:
    found = decide.tls(at, shown, ech=False)
    assert (found is None) is passes
    if found is not None:
        assert (found.where, found.rule, found.grant) == (at.where, decide.PINNED, "")
        assert found.reason.isprintable()


@pytest.mark.threat("D3", proves="Host passes only as the host that was looked up, in every spelling tried")
@pytest.mark.parametrize(("at", "shown", "passes"), SHOWN)
def test_host(at: Target, shown: str, passes: bool) -> None:
    found = decide.http(at, "GET", (shown, None), None)
    assert (found is None) is passes
    assert (decide.http(at, "GET", (at.named, None), (shown, None)) is None) is passes


@pytest.mark.parametrize(
    ("at", "passes"),
    [
        pytest.param(NAME, False, id="a name has to be shown"),
        pytest.param(LITERAL, True, id="an address has no SNI"),
        pytest.param(LOCAL, True, id="nor has this machine"),
        pytest.param(OPAQUE, True, id="opaque"),
    ],
)
def test_no_sni(at: Target, passes: bool) -> None:
    assert (decide.tls(at, None, ech=False) is None) is passes


@pytest.mark.threat("D3", proves="an encrypted ClientHello passes nowhere, but where nothing is checked")
@pytest.mark.parametrize("at", [NAME, LITERAL, LOCAL])
@pytest.mark.parametrize("right", [True, False])
def test_an_encrypted_hello_does_not_pass_whatever_its_outer_name(at: Target, right: bool) -> None:
    assert decide.tls(at, at.host if right else None, ech=True) is not None


def test_where_nothing_is_checked_everything_passes_but_connect() -> None:
    assert decide.tls(OPAQUE, "evil.org", ech=True) is None
    assert decide.http(OPAQUE, "GET", None, ("evil.org", 1)) is None
    assert decide.bare(OPAQUE, "http2") is None
    assert decide.http(OPAQUE, "CONNECT", None, None) is not None


REQUESTS = [
    pytest.param("GET", ("api.github.com", None), None, True, id="Host"),
    pytest.param("GET", ("api.github.com", 443), None, True, id="Host with the port"),
    pytest.param("GET", ("api.github.com", None), ("api.github.com", None), True, id="absolute form"),
    pytest.param("GET", ("api.github.com", None), ("api.github.com", 443), True, id="absolute, with port"),
    pytest.param("GET", ("api.github.com", 80), None, False, id="Host with another port"),
    pytest.param("GET", ("api.github.com", 0), None, False, id="Host with port 0"),
    pytest.param("GET", None, None, False, id="no Host, or several"),
    pytest.param("GET", None, ("api.github.com", None), False, id="absolute form alone"),
    pytest.param("GET", ("api.github.com", None), ("evil.org", None), False, id="absolute form differs"),
    pytest.param("GET", ("evil.org", None), ("api.github.com", None), False, id="Host differs"),
    pytest.param("GET", ("evil.org", None), ("evil.org", None), False, id="both are another"),
    pytest.param("GET", ("api.github.com", None), ("api.github.com", 80), False, id="absolute, another port"),
    pytest.param("CONNECT", ("api.github.com", None), ("api.github.com", 443), False, id="CONNECT to itself"),
    pytest.param("CONNECT", ("api.github.com", None), ("evil.org", 443), False, id="CONNECT to another"),
    pytest.param("connect", ("api.github.com", None), None, False, id="connect in small letters"),
]


@pytest.mark.threat(
    "D3", proves="Host, request target and looked-up name that disagree in any pair are denied"
)
@pytest.mark.parametrize(("method", "host", "authority", "passes"), REQUESTS)
def test_requests(
    method: str, host: tuple[str, int | None] | None, authority: tuple[str, int | None] | None, passes: bool
) -> None:
    assert (decide.http(NAME, method, host, authority) is None) is passes


BARE = [
    pytest.param("db.example.org:5432", "raw", True, id="a database"),
    pytest.param("git.example.org:22", "raw", True, id="SSH"),
    pytest.param("api.github.com:443", "raw", False, id="not TLS on 443"),
    pytest.param("api.github.com:80", "raw", False, id="not HTTP on 80"),
    pytest.param("api.github.com:443", "http2", False, id="HTTP/2 without TLS"),
    pytest.param("grpc.example.org:50051", "http2", False, id="HTTP/2 on a port of its own"),
]


@pytest.mark.parametrize(("where", "what", "passes"), BARE)
def test_bare(where: str, what: str, passes: bool) -> None:
    assert (decide.bare(target(where), what) is None) is passes
    assert decide.bare(target(where, opaque=True), what) is None


# --- the whole way ------------------------------------------------------------------------------------

_ANY = st.one_of(st.text(max_size=20), st.from_regex(r"[a-z.]{1,12}\.example\.com", fullmatch=True))


@pytest.mark.threat("D3", proves="what is shown passes only if it names the one host, whatever is looked up")
@given(_ANY, _ANY)
def test_what_passes_names_the_very_host_that_a_rule_allows(name: str, shown: str) -> None:
    found = decide.route(RULES, "26.53.1.0", 443, name)
    if isinstance(found, Denied):
        return
    assert hosts.match(RULES, name, 443) is found.rule
    if decide.tls(found, shown, ech=False) is None:
        assert shown.lower().removesuffix(".") == found.host


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_nobody_listed_is_never_a_target(address: object, port: int) -> None:
    found = decide.route(RULES, str(address), port, None)
    if isinstance(found, Target):
        assert found.rule in RULES
        assert found.port == found.rule.port
        assert found.kind == "local" or found.rule.host == found.host


def test_a_made_up_address_is_the_way_to_its_name() -> None:
    names = Names()
    number = names.number("api.github.com")
    assert number is not None
    for packed in (Names.four(number), Names.six(number)):
        found = decide.route(RULES, "26.53.1.0", 443, names.name(packed))
        assert isinstance(found, Target)
        assert found.host == "api.github.com"
