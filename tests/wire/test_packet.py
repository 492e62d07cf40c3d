"""Which attempt a packet that the observer kept tells of, and that no packet is more than bytes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.observer import SNAP
from sandbox.wire.packet import Stray, parse
from tests.packets import (
    ACK,
    ICMP,
    ICMP6,
    RST,
    SYN,
    TCP,
    THEM,
    THEM6,
    UDP,
    US,
    US6,
    icmp,
    ipv4,
    ipv6,
    refusal,
    tcp,
    udp,
)  # fmt: skip

ROUTING, HOPS, OPTIONS = 43, 0, 60
NOP = b"\x01"


def behind(protocol: int, size: int = 0) -> bytes:
    """An IPv6 extension header before one of `protocol`."""
    return bytes([protocol, size]) + bytes(6 + 8 * size)


_TWO = behind(OPTIONS) + behind(UDP, 1) + udp(4, 53)
ATTEMPTS = [
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, RST | ACK)), "tcp", THEM, 22, id="a reset"),
    pytest.param(ipv6(TCP, THEM6, US6, tcp(22, 4000, RST)), "tcp", THEM6, 22, id="a reset by IPv6"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4, RST), NOP * 8), "tcp", THEM, 22, id="IPv4 options"),
    pytest.param(refusal(ipv4(UDP, US, THEM, udp(4000, 443))), "udp", THEM, 443, id="UDP"),
    pytest.param(refusal(ipv4(UDP, US, THEM, udp(4, 443), NOP * 40)), "udp", THEM, 443, id="most options"),
    pytest.param(refusal(ipv6(UDP, US6, THEM6, udp(4000, 53))), "udp", THEM6, 53, id="UDP by IPv6"),
    pytest.param(
        refusal(ipv6(ROUTING, US6, THEM6, behind(UDP) + udp(4, 53))), "udp", THEM6, 53, id="routing header"
    ),
    pytest.param(refusal(ipv6(HOPS, US6, THEM6, _TWO)), "udp", THEM6, 53, id="two headers between"),
    pytest.param(refusal(ipv4(TCP, US, THEM, tcp(4000, 25, SYN))), "tcp", THEM, 25, id="TCP"),
    pytest.param(ipv4(UDP, US, "224.0.0.251", udp(1, 5353)), "udp", "224.0.0.251", 5353, id="multicast"),
    pytest.param(ipv6(UDP, US6, "ff02::fb", udp(1, 5353)), "udp", "ff02::fb", 5353, id="IPv6 multicast"),
    pytest.param(ipv4(UDP, US, "255.255.255.255", udp(68, 67)), "udp", "255.255.255.255", 67, id="broadcast"),
]


@pytest.mark.parametrize(("packet", "protocol", "address", "port"), ATTEMPTS)
def test_an_attempt(packet: bytes, protocol: str, address: str, port: int) -> None:
    expected = Stray(protocol, ip_address(address).packed, port)
    assert parse(packet) == expected
    assert parse(packet[:SNAP]) == expected  # the observer keeps no more


_SOME = ipv4(UDP, US, THEM, udp(1, 2))
NOTHING = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"\x45", id="a byte"),
    pytest.param(bytes(40), id="no version"),
    pytest.param(b"\x55" + bytes(60), id="version 5"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, SYN | ACK)), id="a connection that was taken"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, RST, sequence=9)), id="the reset of one that was"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, RST))[:33], id="a reset cut before its flags"),
    pytest.param(ipv4(ICMP, THEM, US, icmp(0, 0, _SOME)), id="an echo, and what it says"),
    pytest.param(ipv4(ICMP, THEM, US, icmp(11, 0, _SOME)), id="another ICMP error"),
    pytest.param(ipv6(ICMP6, THEM6, US6, icmp(3, 0, _SOME)), id="another ICMPv6 error"),
    pytest.param(refusal(b"\x45"), id="an error about nothing"),
    pytest.param(refusal(ipv4(UDP, THEM, US, udp(53, 4000))), id="our answer, that nobody waits for"),
    pytest.param(refusal(ipv6(UDP, THEM6, US6, udp(53, 4000))), id="our answer by IPv6"),
    pytest.param(refusal(ipv4(UDP, US, THEM, b"\0\0\1")), id="half a port"),
    pytest.param(refusal(ipv4(ICMP, US, THEM, bytes(8))), id="an error about an error"),
    pytest.param(ipv4(47, THEM, US, bytes(20)), id="another protocol"),
    pytest.param(b"\x44" + _SOME[1:], id="a header shorter than a header"),
    pytest.param(refusal(ipv6(ROUTING, US6, THEM6, b"\x2b\xff" + bytes(6))), id="a header without end"),
    pytest.param(refusal(ipv6(ROUTING, US6, THEM6, b"\x2b\0\0")), id="a routing header that is cut"),
]


@pytest.mark.parametrize("packet", NOTHING)
def test_no_attempt(packet: bytes) -> None:
    assert parse(packet) is None


_PACKETS = st.sampled_from([bytes(one.values[0]) for one in (*ATTEMPTS, *NOTHING)])  # type: ignore[arg-type]


@given(st.one_of(_PACKETS, st.binary(max_size=200)), st.integers(0, 120), st.binary(max_size=2))
def test_any_bytes_are_an_attempt_or_none(packet: bytes, at: int, other: bytes) -> None:
    found = parse(packet[:at] + other + packet[at + len(other) :])
    if found is not None:
        assert found.protocol in ("tcp", "udp")
        assert len(found.address) in (4, 16)
        assert 0 <= found.port < 65536


@given(_PACKETS, st.integers(0, 200))
def test_a_cut_packet_tells_the_same_or_nothing(packet: bytes, size: int) -> None:
    assert parse(packet[:size]) in (None, parse(packet))
