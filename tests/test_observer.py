"""The observer's filter, run by a machine of our own on hand-made packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.observer import SNAP, program
from sandbox.wire import packet as wire
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
)

OUTGOING, HOST, LOOPBACK = 4, 0, 5
_PACKET_TYPE = 0xFFFFF004
_ABSOLUTE = {0x20: ">I", 0x28: ">H", 0x30: ">B"}
_INDEXED = {0x40: ">I", 0x48: ">H", 0x50: ">B"}


def run(packet: bytes, kind: int = OUTGOING, own: int = 0) -> int:
    """The bytes that the filter keeps, as bpf(2)'s classic machine would say; loads beyond the end drop."""
    code = list(struct.iter_unpack("=HBBI", program(own)))
    at = accumulator = index = 0
    while True:
        operation, true, false, k = code[at]
        at += 1
        try:
            if operation == 0x06:
                return k
            if operation == 0x30 and k == _PACKET_TYPE:
                accumulator = kind
            elif operation in _ABSOLUTE:
                (accumulator,) = struct.unpack_from(_ABSOLUTE[operation], packet, k)
            elif operation in _INDEXED:
                (accumulator,) = struct.unpack_from(_INDEXED[operation], packet, index + k)
            elif operation == 0xB1:
                index = (packet[k] & 15) * 4
            elif operation == 0x54:
                accumulator &= k
            else:
                taken = {0x15: accumulator == k, 0x35: accumulator >= k}[operation]
                at += true if taken else false
        except (IndexError, struct.error):
            return 0


def test_the_program_is_one_that_the_kernel_takes() -> None:
    code = list(struct.iter_unpack("=HBBI", program()))
    assert len(code) < 4096
    for at, (operation, true, false, _) in enumerate(code):
        if operation & 7 == 5:  # a jump: forward, and to an instruction
            assert at + 1 + max(true, false) < len(code)
        elif operation != 6:
            assert at + 1 < len(code)


KEPT = [
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, RST | ACK)), id="the reset of what found nobody"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, RST), b"\1" * 40), id="behind options"),
    pytest.param(ipv6(TCP, THEM6, US6, tcp(22, 4000, RST | ACK)), id="by IPv6"),
    pytest.param(refusal(ipv4(UDP, US, THEM, udp(4000, 443))), id="UDP"),
    pytest.param(refusal(ipv6(UDP, US6, THEM6, udp(4000, 443))), id="UDP by IPv6"),
    pytest.param(ipv4(UDP, US, "224.0.0.1", udp(1, 2)), id="multicast, first"),
    pytest.param(ipv4(UDP, US, "239.255.255.255", udp(1, 2)), id="multicast, last"),
    pytest.param(ipv4(UDP, US, "255.255.255.255", udp(1, 2)), id="broadcast"),
    pytest.param(ipv6(UDP, US6, "ff02::1", udp(1, 2)), id="IPv6 multicast"),
]
DROPPED = [
    pytest.param(ipv4(TCP, US, THEM, tcp(4000, 22, SYN)), id="the attempt itself: its answer is enough"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, SYN | ACK)), id="the answer of a listener"),
    pytest.param(ipv4(TCP, US, US, tcp(22, 4000, ACK, 7)), id="data"),
    pytest.param(ipv4(TCP, US, US, tcp(22, 4000, RST | ACK, 7)), id="the reset of a connection that stood"),
    pytest.param(ipv6(TCP, US6, US6, tcp(22, 4000, RST | ACK, 7)), id="the same by IPv6"),
    pytest.param(ipv4(UDP, US, "127.0.0.1", udp(1, 2)), id="a datagram to a listener of its own"),
    pytest.param(ipv4(UDP, US, "223.255.255.255", udp(1, 2)), id="below multicast"),
    pytest.param(ipv4(UDP, US, "240.0.0.1", udp(1, 2)), id="above multicast: ICMP tells of it"),
    pytest.param(ipv4(UDP, US, "255.255.255.254", udp(1, 2)), id="below broadcast"),
    pytest.param(ipv6(UDP, US6, "fe80::1", udp(1, 2)), id="IPv6 below multicast"),
    pytest.param(ipv4(ICMP, THEM, US, icmp(0, 0, b"x" * 40)), id="an echo's reply"),
    pytest.param(ipv4(ICMP, US, THEM, icmp(8, 0, b"x" * 40)), id="an echo"),
    pytest.param(ipv6(ICMP6, US6, "ff02::2", icmp(133, 0, b"")), id="the kernel asks for a router"),
    pytest.param(ipv6(ICMP6, US6, THEM6, icmp(128, 0, b"")), id="an ICMPv6 echo"),
    pytest.param(ipv4(47, US, THEM, bytes(60)), id="another protocol"),
    pytest.param(ipv6(43, US6, THEM6, bytes(60)), id="another IPv6 header"),
    pytest.param(b"\x55" + bytes(60), id="another version"),
    pytest.param(b"", id="nothing"),
    pytest.param(ipv4(TCP, THEM, US, tcp(22, 4000, RST))[:30], id="cut"),
]


@pytest.mark.parametrize("packet", KEPT)
def test_kept_and_readable(packet: bytes) -> None:
    assert run(packet) == SNAP
    assert wire.parse(packet[:SNAP]) is not None


@pytest.mark.parametrize("packet", DROPPED)
def test_dropped(packet: bytes) -> None:
    assert run(packet) == 0


@pytest.mark.parametrize("packet", KEPT)
@pytest.mark.parametrize("kind", [HOST, LOOPBACK, 1, 2, 3, 6])
def test_only_the_outgoing_one_of_the_two_that_lo_shows(packet: bytes, kind: int) -> None:
    assert run(packet, kind) == 0


@given(st.binary(max_size=100), st.sampled_from([0x45, 0x46, 0x60, 0]), st.sampled_from([1, 6, 17, 58, 0]))
def test_any_packet_is_kept_or_dropped(rest: bytes, first: int, protocol: int) -> None:
    packet = bytes([first, *rest[:5], protocol, *rest[6:8], protocol, *rest[8:]])
    assert run(packet) in (0, SNAP)


OWN = [
    pytest.param(ipv4(TCP, "127.0.0.1", "127.0.0.1", tcp(3000, 4000, RST | ACK)), True, id="its own port"),
    pytest.param(ipv4(TCP, "127.0.0.1", US, tcp(3000, 4000, RST), b"\1" * 4), True, id="behind options"),
    pytest.param(ipv6(TCP, "::1", "::1", tcp(3000, 4000, RST | ACK)), True, id="its own port by IPv6"),
    pytest.param(ipv4(TCP, "127.0.0.1", "127.0.0.1", tcp(3001, 4000, RST)), False, id="another port"),
    pytest.param(ipv6(TCP, "::1", "::1", tcp(3001, 4000, RST)), False, id="another port by IPv6"),
    pytest.param(ipv4(TCP, "127.0.0.2", US, tcp(3000, 4000, RST)), False, id="another loopback address"),
    pytest.param(ipv4(TCP, THEM, US, tcp(3000, 4000, RST)), False, id="that port of somebody's"),
    pytest.param(ipv6(TCP, THEM6, US6, tcp(3000, 4000, RST)), False, id="that port by IPv6"),
    pytest.param(ipv6(TCP, "::2", US6, tcp(3000, 4000, RST)), False, id="a neighbour of ::1"),
    pytest.param(ipv6(TCP, "fd00::1", US6, tcp(3000, 4000, RST)), False, id="an address that ends in 1"),
    pytest.param(ipv4(TCP, "127.0.0.1", US, tcp(4000, 3000, RST)), False, id="from that port"),
]


@pytest.mark.parametrize(("packet", "silent"), OWN)
def test_who_waits_for_the_servers_own_port_attempts_nothing(packet: bytes, silent: bool) -> None:
    assert run(packet, own=3000) == (0 if silent else SNAP)
    assert run(packet) == SNAP, "the control: without a server that listens, all of it is told"
