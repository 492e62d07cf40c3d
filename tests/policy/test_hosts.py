"""Host rules: one spelling each, and no spelling that slips past."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.policy.hosts import canonical, inherited, literal, match, named, parse, spelt
from sandbox.policy.model import HostRule

PARSED = [
    pytest.param("api.github.com", ("api.github.com", 443), id="port 443 unless said"),
    pytest.param("API.GitHub.com:8443", ("api.github.com", 8443), id="case is folded"),
    pytest.param("example.com.", ("example.com", 443), id="final dot"),
    pytest.param("*.example.com:80", ("*.example.com", 80), id="wildcard"),
    pytest.param("localhost:5432", ("localhost", 5432), id="the host's own service"),
    pytest.param("bücher.example", ("xn--bcher-kva.example", 443), id="IDNA"),
    pytest.param("127.0.0.1:1", ("127.0.0.1", 1), id="IPv4"),
    pytest.param("[2001:DB8:0::1]:8080", ("2001:db8::1", 8080), id="IPv6 with a port"),
    pytest.param("2001:db8::1", ("2001:db8::1", 443), id="IPv6 bare"),
    pytest.param("_dns.example.com", ("_dns.example.com", 443), id="underscore"),
]


@pytest.mark.parametrize(("text", "expected"), PARSED)
def test_parses_to_one_spelling(text: str, expected: tuple[str, int]) -> None:
    rule = parse(text)
    assert (rule.host, rule.port) == expected


REFUSED = [
    pytest.param("", "missing", id="empty"),
    pytest.param("a.com\0.evil.com", "control", id="NUL"),
    pytest.param("a.com\r\n", "control", id="CRLF"),
    pytest.param(" a.com", "space", id="leading space"),
    pytest.param("a\u200b.com", "control", id="zero width space"),
    pytest.param("a\u202e.com", "control", id="right-to-left override"),
    pytest.param("https://a.com", "URL", id="URL"),
    pytest.param("a.com/path", "`host:port`", id="path"),
    pytest.param("user@a.com", "`host:port`", id="user"),
    pytest.param("a%2ecom", "`host:port`", id="percent encoding"),
    pytest.param("a\u3002com", "full stop", id="ideographic full stop"),
    pytest.param("a\uff0ecom", "full stop", id="fullwidth full stop"),
    pytest.param("\uff45xample.com", "another spelling", id="fullwidth letter"),
    pytest.param("straße.de", "ambiguous", id="sharp s, read differently by two IDNAs"),
    pytest.param("a..com", "not a host name", id="empty label"),
    pytest.param("a.com..", "not a host name", id="two final dots"),
    pytest.param("-a.com", "not a host name", id="leading hyphen"),
    pytest.param("a" * 64 + ".com", "not a host name", id="long label"),
    pytest.param(".".join(["a" * 60] * 5), "not a host name", id="long name"),
    pytest.param("*", "leading labels", id="everything"),
    pytest.param("*.com", "top-level", id="a whole top-level domain"),
    pytest.param("*.co.uk", "top-level", id="a country's second level"),
    pytest.param("*.com.", "top-level", id="a whole top-level domain with a final dot"),
    pytest.param("*.*.a.com", "leading labels", id="two wildcards"),
    pytest.param("a.*.com", "leading labels", id="wildcard inside"),
    pytest.param("*a.com", "leading labels", id="wildcard of part of a label"),
    pytest.param("*.", "missing", id="wildcard of nothing"),
    pytest.param("*.1.2.3.4", "leading labels", id="wildcard of an address"),
    pytest.param("*.localhost", "write `localhost`", id="every name of this host's loopback"),
    pytest.param("db.localhost:5432", "write `localhost`", id="a name of this host's loopback"),
    pytest.param("*.db.LocalHost.", "write `localhost`", id="names of this host's loopback, spelt otherwise"),
    pytest.param("2130706433", "four decimal", id="decimal IPv4"),
    pytest.param("0x7f000001", "four decimal", id="hexadecimal IPv4"),
    pytest.param("0177.0.0.1", "four decimal", id="octal IPv4"),
    pytest.param("127.1", "four decimal", id="short IPv4"),
    pytest.param("127.0.0.1.", "four decimal", id="IPv4 with a final dot"),
    pytest.param("127.0.0.256", "four decimal", id="octet too large"),
    pytest.param("a.0x1", "four decimal", id="a name that ends in a number"),
    pytest.param("0.0.0.0", "one host", id="any address"),  # noqa: S104 - refused, not bound
    pytest.param("224.0.0.1", "one host", id="multicast"),
    pytest.param("::", "one host", id="any IPv6 address"),
    pytest.param("ff02::1", "one host", id="IPv6 multicast"),
    pytest.param("::ffff:127.0.0.1", "spells an IPv4", id="mapped"),
    pytest.param("::127.0.0.1", "spells an IPv4", id="compatible"),
    pytest.param("64:ff9b::7f00:1", "spells an IPv4", id="NAT64"),
    pytest.param("2002:7f00:1::", "spells an IPv4", id="6to4"),
    pytest.param("fe80::1%eth0", "`host:port`", id="zone"),
    pytest.param("[a.com]:443", r"\[address\]", id="name in brackets"),
    pytest.param("[::1", r"\[address\]", id="open bracket"),
    pytest.param("a.com:", "port", id="empty port"),
    pytest.param("a.com:0", "port", id="port 0"),
    pytest.param("a.com:65536", "port", id="port too large"),
    pytest.param("a.com:+1", "port", id="signed port"),
    pytest.param("a.com:080", "port", id="port with a leading zero"),
    pytest.param("a.com:٤٤٣", "port", id="port in other digits"),
    pytest.param("a.com:https", "port", id="port by name"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refuses_what_could_be_read_twice(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


RULES = tuple(map(parse, ("api.github.com", "*.example.com:443", "10.0.0.1:80", "[::1]:80")))
MATCHES = [
    pytest.param("api.github.com", 443, True, id="exact"),
    pytest.param("API.GITHUB.COM.", 443, True, id="another spelling of the same name"),
    pytest.param("api.github.com", 80, False, id="another port"),
    pytest.param("api.github.com.evil.org", 443, False, id="the name as a prefix"),
    pytest.param("evilapi.github.com", 443, False, id="the name as a suffix"),
    pytest.param("a.example.com", 443, True, id="one label deep"),
    pytest.param("a.b.c.example.com", 443, True, id="any depth"),
    pytest.param("example.com", 443, False, id="wildcard does not match the apex"),
    pytest.param("badexample.com", 443, False, id="wildcard keeps its dot"),
    pytest.param("*.example.com", 443, False, id="a question is no pattern"),
    pytest.param("a.example.com\0", 443, False, id="NUL"),
    pytest.param("a%2eexample.com", 443, False, id="percent"),
    pytest.param("10.0.0.1", 80, True, id="listed literal"),
    pytest.param("167772161", 80, False, id="the listed literal in decimal"),
    pytest.param("::ffff:10.0.0.1", 80, False, id="the listed literal mapped"),
    pytest.param("0:0:0:0:0:0:0:1", 80, True, id="the listed IPv6 literal written out"),
    pytest.param("", 443, False, id="nothing"),
]


@pytest.mark.parametrize(("host", "port", "allowed"), MATCHES)
def test_matches(host: str, port: int, allowed: bool) -> None:
    assert (match(RULES, host, port) is not None) is allowed


def test_no_rules_allow_nothing() -> None:
    assert match((), "api.github.com", 443) is None


SPECIFIC = [
    pytest.param(["*.example.com", "db.example.com"], "db.example.com", id="exact after wildcard"),
    pytest.param(["db.example.com", "*.example.com"], "db.example.com", id="exact before wildcard"),
    pytest.param(
        ["*.example.com", "*.db.example.com"], "*.example.com", id="a wildcard below does not cover it"
    ),
    pytest.param(["*.example.com", "db.example.com:5432"], "*.example.com", id="exact on another port"),
]


@pytest.mark.parametrize(("texts", "expected"), SPECIFIC)
def test_the_most_specific_rule_wins_in_any_order(texts: list[str], expected: str) -> None:
    found = match(tuple(map(parse, texts)), "DB.example.com", 443)
    assert found is not None
    assert found.host == expected


def test_of_two_wildcards_the_longer_wins() -> None:
    for texts in (("*.example.com", "*.db.example.com"), ("*.db.example.com", "*.example.com")):
        found = match(map(parse, texts), "a.db.example.com", 443)
        assert found is not None
        assert found.host == "*.db.example.com"


NAMES = tuple(
    map(parse, ("api.github.com:8443", "*.example.com", "localhost:5432", "10.0.0.1:80", "[::1]:80"))
)
NAMED = [
    pytest.param("api.github.com", True, id="whatever its port"),
    pytest.param("API.GitHub.com.", True, id="another spelling"),
    pytest.param("a.b.example.com", True, id="below a wildcard"),
    pytest.param("example.com", False, id="the apex of a wildcard"),
    pytest.param("localhost", True, id="localhost, which is a name"),
    pytest.param("a.localhost", False, id="below localhost"),
    pytest.param("10.0.0.1", False, id="a listed address, which is no name"),
    pytest.param("::1", False, id="a listed IPv6 address"),
    pytest.param("github.com", False, id="a parent"),
    pytest.param("exfil.api.github.com", False, id="below an exact name"),
    pytest.param("*.example.com", False, id="a question is no pattern"),
    pytest.param("", False, id="nothing"),
    pytest.param("a\0.example.com", False, id="NUL"),
]


@pytest.mark.parametrize(("host", "allowed"), NAMED)
def test_named(host: str, allowed: bool) -> None:
    assert named(NAMES, host) is allowed


def test_localhost_is_not_named_unless_it_is_listed() -> None:
    assert not named((parse("*.example.com"), parse("127.0.0.1:5432")), "localhost")


INHERITED = [
    pytest.param("git.corp.example", True, id="an exact name below it"),
    pytest.param("*.git.corp.example", True, id="a wildcard below it"),
    pytest.param("git.corp.example:8443", False, id="another port"),
    pytest.param("corp.example", False, id="the apex"),
    pytest.param("git.example", False, id="another name"),
    pytest.param("10.0.0.1", False, id="an address"),
]


@pytest.mark.parametrize(("text", "private"), INHERITED)
def test_naming_a_host_again_takes_no_private_wildcard_from_it(text: str, private: bool) -> None:
    wide = HostRule("*.corp.example", 443, private=True)
    for rules in ((parse(text), wide), (wide, parse(text))):
        (found,) = (rule for rule in inherited(rules) if rule.host != wide.host)
        assert found.private is private
        assert not found.opaque


def test_an_exact_private_name_marks_nothing_else() -> None:
    rules = (HostRule("git.corp.example", 443, private=True), parse("*.corp.example"))
    assert inherited(rules) == rules


@given(st.text(max_size=40))
def test_a_canonical_host_is_canonical(text: str) -> None:
    try:
        once = canonical(text)
    except ValueError:
        return
    assert canonical(once) == once
    assert once == once.lower()
    assert once.isascii()


@given(st.ip_addresses(v=4))
def test_only_the_dotted_quad_means_an_address(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    for spelling in (str(number), hex(number), f"0{number:o}"):
        with pytest.raises(ValueError, match="IPv4"):
            canonical(spelling)


_LABELS = st.lists(st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), min_size=2, max_size=4)


@given(_LABELS, _LABELS)
def test_a_wildcard_allows_exactly_what_ends_in_its_suffix(labels: list[str], other: list[str]) -> None:
    suffix = "x." + ".".join(labels)
    rules = (parse(f"*.{suffix}"),)
    name = ".".join(other)
    assert (match(rules, name, 443) is not None) == name.endswith("." + suffix)
    assert match(rules, f"{name}.{suffix}", 443) is rules[0]


_LISTED = st.sampled_from(
    "a.example.com *.example.com b.a.example.com *.a.example.com localhost 10.0.0.1 2001:db8::1".split()
)
_PORTS = st.sampled_from((443, 80))
_RULES = st.lists(st.builds(HostRule, _LISTED, _PORTS), max_size=6)
_ASKED = st.one_of(
    _LISTED.map(lambda host: host.replace("*", "x")),
    st.text("abcx.*10:e[]-", max_size=16),
    _LABELS.map(".".join),
)


@given(_RULES, _ASKED)
def test_a_name_is_named_exactly_where_some_port_of_it_is_allowed(rules: list[HostRule], host: str) -> None:
    found = [rule for port in (443, 80) if (rule := match(rules, host, port)) is not None]
    assert named(rules, host) == any(not literal(rule.host) for rule in found)
    assert all(rule in rules for rule in found)


@given(_RULES, _ASKED, _PORTS)
def test_more_rules_never_allow_less(rules: list[HostRule], host: str, port: int) -> None:
    for count in range(len(rules)):
        if match(rules[:count], host, port) is not None:
            assert match(rules, host, port) is not None


@given(st.builds(HostRule, _LISTED, st.integers(1, 65535)))
def test_what_is_spelt_is_read_back(rule: HostRule) -> None:
    assert parse(spelt(rule.host, rule.port)) == rule
