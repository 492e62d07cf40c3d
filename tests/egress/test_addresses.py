"""Every special address of the registries by its kind, and none of them reached without being listed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.addresses import Address, kind, reachable

# One row a block of the IANA special-purpose registries (RFC 6890, 8190), and of blocks nobody else may have.
BLOCKS = [
    pytest.param("0.0.0.0/8", "reserved", id="this network (RFC 791)"),
    pytest.param("10.0.0.0/8", "private", id="private, ten (RFC 1918)"),
    pytest.param("100.64.0.0/10", "private", id="shared (RFC 6598)"),
    pytest.param("127.0.0.0/8", "loopback", id="loopback (RFC 1122)"),
    pytest.param("169.254.0.0/16", "link-local", id="link-local (RFC 3927)"),
    pytest.param("172.16.0.0/12", "private", id="private, 172 (RFC 1918)"),
    pytest.param("192.0.0.0/24", "reserved", id="protocol assignments (RFC 6890)"),
    pytest.param("192.0.0.0/29", "reserved", id="DS-Lite (RFC 7335)"),
    pytest.param("192.0.0.9/32", "reserved", id="anycast of PCP (RFC 7723)"),
    pytest.param("192.0.0.170/31", "reserved", id="discovery of NAT64 (RFC 8880)"),
    pytest.param("192.0.2.0/24", "reserved", id="documentation 1 (RFC 5737)"),
    pytest.param("192.31.196.0/24", "reserved", id="AS112 (RFC 7535)"),
    pytest.param("192.52.193.0/24", "reserved", id="AMT relays (RFC 7450)"),
    pytest.param("192.88.99.0/24", "reserved", id="6to4 relays (RFC 7526)"),
    pytest.param("192.168.0.0/16", "private", id="private, 192 (RFC 1918)"),
    pytest.param("192.175.48.0/24", "reserved", id="AS112, direct (RFC 7534)"),
    pytest.param("198.18.0.0/15", "reserved", id="benchmarks (RFC 2544)"),
    pytest.param("198.51.100.0/24", "reserved", id="documentation 2 (RFC 5737)"),
    pytest.param("203.0.113.0/24", "reserved", id="documentation 3 (RFC 5737)"),
    pytest.param("224.0.0.0/4", "multicast", id="multicast (RFC 5771)"),
    pytest.param("240.0.0.0/4", "reserved", id="class E and broadcast (RFC 1112, 919)"),
    pytest.param("::1/128", "loopback", id="IPv6 loopback (RFC 4291)"),
    pytest.param("::/128", "embedding", id="unspecified (RFC 4291)"),
    pytest.param("::ff00:0/104", "embedding", id="IPv4-compatible (RFC 4291)"),
    pytest.param("::ffff:0:0/96", "embedding", id="IPv4-mapped (RFC 4291)"),
    pytest.param("::ffff:0:0:0/96", "embedding", id="IPv4-translated (RFC 2765)"),
    pytest.param("64:ff9b:1::/48", "embedding", id="local NAT64 (RFC 8215)"),
    pytest.param("64:ff9b:2::/48", "reserved", id="beside local NAT64"),
    pytest.param("100::/64", "reserved", id="discard (RFC 6666)"),
    pytest.param("100:0:0:1::/64", "reserved", id="dummy prefix (RFC 9780)"),
    pytest.param("2001::/32", "embedding", id="Teredo (RFC 4380)"),
    pytest.param("2001:1::/126", "reserved", id="anycast of PCP, TURN and DNS-SD"),
    pytest.param("2001:2::/48", "reserved", id="benchmarks (RFC 5180)"),
    pytest.param("2001:3::/32", "reserved", id="AMT (RFC 7450)"),
    pytest.param("2001:4:112::/48", "reserved", id="IPv6 AS112 (RFC 7535)"),
    pytest.param("2001:10::/28", "reserved", id="ORCHID (RFC 4843)"),
    pytest.param("2001:20::/28", "reserved", id="ORCHIDv2 (RFC 7343)"),
    pytest.param("2001:30::/28", "reserved", id="drones (RFC 9374)"),
    pytest.param("2001:100::/24", "reserved", id="the rest of protocol assignments (RFC 2928)"),
    pytest.param("2001:db8::/32", "reserved", id="documentation (RFC 3849)"),
    pytest.param("2002::/16", "embedding", id="6to4 (RFC 3056)"),
    pytest.param("2620:4f:8000::/48", "reserved", id="IPv6 AS112, direct (RFC 7534)"),
    pytest.param("3ffe::/16", "reserved", id="the 6bone's (RFC 3701)"),
    pytest.param("3fff::/20", "reserved", id="IPv6 documentation (RFC 9637)"),
    pytest.param("4000::/3", "reserved", id="not given out"),
    pytest.param("5f00::/16", "reserved", id="segments (RFC 9602)"),
    pytest.param("fc00::/7", "private", id="unique local (RFC 4193)"),
    pytest.param("fe80::/10", "link-local", id="IPv6 link-local (RFC 4291)"),
    pytest.param("fec0::/10", "reserved", id="site-local (RFC 3879)"),
    pytest.param("ff00::/8", "multicast", id="IPv6 multicast (RFC 4291)"),
]


@pytest.mark.threat("D3", proves="no address of the special-purpose registries counts as a public one")
@pytest.mark.parametrize(("block", "expected"), BLOCKS)
def test_a_special_block_from_its_first_address_to_its_last(block: str, expected: str) -> None:
    network = ip_network(block)
    assert kind(network[0]) == expected
    assert kind(network[-1]) == expected


METADATA = [
    pytest.param("169.254.169.254", id="EC2, Google, Azure, Oracle, DigitalOcean, OpenStack"),
    pytest.param("169.254.170.2", id="ECS"),
    pytest.param("169.254.170.23", id="EKS"),
    pytest.param("168.63.129.16", id="Azure, at a public address"),
    pytest.param("100.100.100.200", id="Alibaba, in the shared block"),
    pytest.param("192.0.0.192", id="Oracle, classic"),
    pytest.param("169.254.42.42", id="Scaleway"),
    pytest.param("169.254.0.23", id="Tencent"),
    pytest.param("fd00:ec2::254", id="EC2 by IPv6"),
    pytest.param("fd00:ec2::23", id="EKS by IPv6"),
    pytest.param("fd00:ec2::253", id="AWS's resolver by IPv6"),
    pytest.param("fd20:ce::254", id="Google by IPv6"),
    pytest.param("fd00:c1::a9fe:a9fe", id="Oracle by IPv6"),
    pytest.param("fd00:42::42", id="Scaleway by IPv6"),
    pytest.param("fd00:a9fe:a9fe::1", id="Akamai by IPv6"),
    pytest.param("fd00:100::100:200", id="Alibaba by IPv6"),
    pytest.param("fe80::a9fe:a9fe", id="OpenStack by IPv6"),
]


@pytest.mark.threat("D3", proves="no name reaches a metadata service, even if it may be private")
@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_are_reached_by_no_name(address: str) -> None:
    assert kind(ip_address(address)) == "metadata"
    assert _reachable(address, private=True) == "metadata"


EMBEDDED = [
    pytest.param("64:ff9b::{}", id="NAT64"),
    pytest.param("64:ff9b:1::{}", id="local NAT64"),
    pytest.param("64:ff9b:1:fffe::{}", id="another local NAT64"),
    pytest.param("::{}", id="compatible"),
    pytest.param("::ffff:{}", id="mapped"),
    pytest.param("::ffff:0:{}", id="translated"),
    pytest.param("2600:1f18::5efe:{}", id="ISATAP"),
    pytest.param("2600:1f18::200:5efe:{}", id="ISATAP, a global IPv4 address"),
    pytest.param("2600:1f18::100:5efe:{}", id="ISATAP with the group bit"),
    pytest.param("fd53::300:5efe:{}", id="ISATAP below a private prefix"),
    pytest.param("fe80::5efe:{}", id="ISATAP, link-local"),
]
INNER = "127.0.0.1 10.0.0.1 100.64.0.1 169.254.169.254 168.63.129.16 192.168.1.1 224.0.0.1 198.18.1.0".split()


@pytest.mark.threat("D3", proves="no IPv6 address that embeds a refused IPv4 one is reached")
@pytest.mark.parametrize("form", EMBEDDED)
@pytest.mark.parametrize("inner", INNER)
def test_an_embedded_address_that_is_not_public_is_refused(form: str, inner: str) -> None:
    assert _reachable(form.format(inner), private=True) == "embedding"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("2002:7f00:1::", id="6to4 of loopback"),
        pytest.param("2002:a9fe:a9fe::1", id="6to4 of metadata"),
        pytest.param("2001:0:a00:1::f5ff:fffe", id="Teredo: its server and its client"),
    ],
)
def test_an_address_that_embeds_another_in_its_middle_is_refused(text: str) -> None:
    assert _reachable(text, private=True) == "embedding"


PUBLIC = [
    pytest.param("1.1.1.1", id="low"),
    pytest.param("9.255.255.255", id="below ten"),
    pytest.param("11.0.0.0", id="above ten"),
    pytest.param("100.63.255.255", id="below the shared block"),
    pytest.param("100.128.0.0", id="above the shared block"),
    pytest.param("126.255.255.255", id="below loopback"),
    pytest.param("128.0.0.0", id="above loopback"),
    pytest.param("169.253.255.255", id="below link-local"),
    pytest.param("172.15.255.255", id="below 172.16"),
    pytest.param("172.32.0.0", id="above 172.31"),
    pytest.param("192.0.1.0", id="between protocol assignments and documentation"),
    pytest.param("192.88.98.255", id="below 6to4"),
    pytest.param("198.17.255.255", id="below benchmarks"),
    pytest.param("198.20.0.0", id="above benchmarks"),
    pytest.param("223.255.255.255", id="below multicast"),
    pytest.param("168.63.129.17", id="beside Azure's"),
    pytest.param("2001:200::1", id="above protocol assignments"),
    pytest.param("2001:4860:4860::8888", id="a resolver"),
    pytest.param("2606:4700::1111", id="a distributor"),
    pytest.param("3fff:1000::1", id="above documentation"),
    pytest.param("64:ff9b::808:808", id="NAT64 of a public address"),
    pytest.param("2600::5eff:1.2.3.4", id="nearly ISATAP"),
]


@pytest.mark.parametrize("text", PUBLIC)
def test_an_ordinary_address_is_public(text: str) -> None:
    assert kind(ip_address(text)) == "public"
    assert _reachable(text) is None


def test_a_scope_makes_an_address_this_links() -> None:
    assert kind(ip_address("2600::1%eth0")) == "link-local"
    assert _reachable("fe80::a9fe:a9fe%1", private=True) == "link-local"


# --- reachable ------------------------------------------------------------------------------------


def _reachable(
    text: str, *, private: bool = False, listed: frozenset[str] = frozenset(), own: str = "192.0.2.1"
) -> str | None:
    return reachable(
        ip_address(text),
        private=private,
        listed=lambda one: one in listed,
        own=lambda one: one == ip_address(own),
    )


@pytest.mark.parametrize(
    ("text", "private", "listed", "own", "expected"),
    [
        pytest.param("93.184.216.34", False, "", "", None, id="public"),
        pytest.param("10.1.2.3", False, "", "", "private", id="rebinding to a private address"),
        pytest.param("10.1.2.3", True, "", "", None, id="a private address where that is meant"),
        pytest.param("fd12::1", True, "", "", None, id="a unique local address where that is meant"),
        pytest.param("127.0.0.1", True, "", "", "loopback", id="private is not loopback"),
        pytest.param("169.254.1.1", True, "", "", "link-local", id="private is not link-local"),
        pytest.param("198.18.1.0", True, "", "", "reserved", id="private is not our made-up ones"),
        pytest.param("10.1.2.3", False, "10.1.2.3", "", None, id="a listed literal"),
        pytest.param("10.1.2.4", False, "10.1.2.3", "", "private", id="beside a listed literal"),
        pytest.param("fd12::1", False, "fd12::1", "", None, id="a listed IPv6 literal"),
        pytest.param("127.0.0.1", False, "localhost", "", "loopback", id="localhost is no literal"),
        pytest.param("93.184.216.34", False, "", "93.184.216.34", "own", id="this machine's public address"),
        pytest.param("10.1.2.3", True, "", "10.1.2.3", "own", id="this machine's private address"),
        pytest.param("10.1.2.3", True, "10.1.2.3", "10.1.2.3", None, id="this machine's, listed"),
        pytest.param("64:ff9b::5db8:d822", False, "", "93.184.216.34", "own", id="this machine's by NAT64"),
        pytest.param("64:ff9b::5db8:d823", False, "", "93.184.216.34", None, id="another's by NAT64"),
    ],
)
def test_reachable(text: str, private: bool, listed: str, own: str, expected: str | None) -> None:
    given_own = own or "192.0.2.1"
    assert _reachable(text, private=private, listed=frozenset({listed}), own=given_own) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("203.0.113.80", None, id="reserved: a machine's own world of test networks"),
        pytest.param("10.1.2.3", None, id="private"),
        pytest.param("127.0.1.1", None, id="this machine by its name"),
        pytest.param("192.0.2.1", None, id="this machine's own address"),
        pytest.param("93.184.216.34", None, id="public"),
        pytest.param("169.254.169.254", "metadata", id="a cloud's metadata"),
        pytest.param("fd00:ec2::254", "metadata", id="AWS's metadata by IPv6"),
        pytest.param("169.254.1.1", "link-local", id="link-local"),
        pytest.param("224.0.0.1", "multicast", id="multicast"),
        pytest.param("64:ff9b::a9fe:a9fe", "embedding", id="metadata by NAT64"),
        pytest.param("::ffff:169.254.169.254", "embedding", id="metadata, mapped"),
    ],
)
def test_a_registry_of_the_users_settings_is_anywhere_but_at_a_metadata_service(
    text: str, expected: str | None
) -> None:
    found = reachable(
        ip_address(text),
        private=False,
        listed=lambda one: False,
        own=lambda one: one == ip_address("192.0.2.1"),
        anywhere=True,
    )
    assert found == expected


def test_what_is_asked_about_the_profile_is_the_spelling_of_a_rule() -> None:
    asked: list[str] = []

    def listed(text: str) -> bool:
        asked.append(text)
        return False

    for text in ("2001:DB8:0:0::1", "10.0.0.1"):
        reachable(ip_address(text), private=False, listed=listed, own=lambda _: False)
    assert asked == ["2001:db8::1", "10.0.0.1"]


# --- against the standard library's table -------------------------------------------------------------

_SPECIAL = [address for block in BLOCKS for address in (ip_network(str(block.values[0]))[n] for n in (0, -1))]


@pytest.mark.threat("D3", proves="no name reaches what the standard library does not hold to be global")
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from(_SPECIAL)))
def test_our_table_is_never_wider_than_the_standard_librarys(address: Address) -> None:
    if kind(address) == "public":
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_nat64_is_public_exactly_where_the_inner_address_is(inner: IPv4Address) -> None:
    outer = IPv6Address(int(IPv6Address("64:ff9b::")) + int(inner))
    assert kind(outer) == ("public" if kind(inner) == "public" else "embedding")


@given(st.ip_addresses(), st.booleans())
def test_only_public_and_where_meant_private_addresses_are_reached(address: Address, private: bool) -> None:
    way = reachable(address, private=private, listed=lambda _: False, own=lambda _: False)
    assert (way is None) == (kind(address) in ({"public", "private"} if private else {"public"}))
