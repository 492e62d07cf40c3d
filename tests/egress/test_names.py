"""The made-up addresses: one a name and a family, nobody's otherwise, and a bounded number of them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress import names as module
from sandbox.egress.addresses import kind
from sandbox.egress.names import MOST, NO_ONES, Names
from sandbox.trap import SOURCE_4, SOURCE_6

_NAMES = st.lists(st.from_regex(r"[a-c]{1,2}\.example", fullmatch=True), max_size=30)


@given(_NAMES)
def test_a_name_has_one_address_a_family_and_keeps_it(asked: list[str]) -> None:
    names = Names()
    numbers = [names.number(name) for name in asked]
    assert [names.number(name) for name in asked] == numbers
    assert len(set(numbers)) == len(set(asked))
    for name, number in zip(asked, numbers, strict=True):
        assert number is not None
        assert names.name(Names.four(number)) == names.name(Names.six(number)) == name


NOBODYS = [
    pytest.param("26.53.1.1", id="the next that will be given out"),
    pytest.param("26.53.0.255", id="below the first"),
    pytest.param(SOURCE_4, id="the sandbox's own"),
    pytest.param("198.19.255.255", id="the last of the block"),
    pytest.param("198.17.255.255", id="below the block"),
    pytest.param("0.0.1.0", id="the number alone"),
    pytest.param("255.255.255.255", id="the last of all"),
    pytest.param("3053:6278:0:1::101", id="the next IPv6 one"),
    pytest.param("3053:6278:0:1::ff", id="below the first IPv6 one"),
    pytest.param("3053:6278::100", id="the number at another prefix"),
    pytest.param("3053:6278:0:1:1::100", id="the number with more above it"),
    pytest.param("3053:6278:0:2::100", id="the prefix above"),
    pytest.param(SOURCE_6, id="the sandbox's own IPv6 one"),
    pytest.param("::ffff:26.53.1.0", id="mapped"),
    pytest.param("64:ff9b::c612:100", id="NAT64"),
    pytest.param("2002:c612:100::", id="6to4"),
    pytest.param("::", id="zero"),
]


@pytest.mark.parametrize("address", NOBODYS)
def test_every_other_address_is_nobodys(address: str) -> None:
    names = Names()
    assert names.number("a.example") is not None
    assert names.name(ip_address(address).packed) is None


@pytest.mark.parametrize("packed", [b"", b"\xc6\x12\x01", b"\xc6\x12\x01\x00\x00", bytes(17)])
def test_what_is_no_address_is_nobodys(packed: bytes) -> None:
    names = Names()
    names.number("a.example")
    assert names.name(packed) is None


def test_nobody_has_an_address_before_a_name_was_looked_up() -> None:
    assert Names().name(ip_address("26.53.1.0").packed) is None
    assert Names().name(ip_address("3053:6278:0:1::100").packed) is None


@pytest.mark.threat("D3", proves="a wildcard does not let the server fill the gateway's memory with names")
def test_the_names_of_a_session_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    names = Names()
    first = [names.number(f"n{n}.example") for n in range(5)]
    assert None not in first[:3]
    assert first[3:] == [None, None]
    # Those that were there before still are.
    assert [names.number(f"n{n}.example") for n in range(3)] == first[:3]


@given(st.integers(0, MOST - 1))
def test_every_made_up_address_is_one_that_no_name_may_resolve_to(at: int) -> None:
    number = module._FIRST + at
    four, six = IPv4Address(Names.four(number)), IPv6Address(Names.six(number))
    assert four in ip_network("26.53.0.0/16")
    assert six in ip_network("3053:6278:0:1::/64")
    assert kind(four) == "reserved"
    assert kind(six) == "reserved"
    assert str(four).startswith(NO_ONES)
    assert six.compressed.startswith(NO_ONES)


def test_the_sandboxs_own_addresses_count_as_nobodys() -> None:
    assert SOURCE_4.startswith(NO_ONES)
    assert SOURCE_6.startswith(NO_ONES)
