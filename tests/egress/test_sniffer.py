"""What the packet log makes of hand-made packets: one that misreads would prove that nothing got out."""

from __future__ import annotations

import pytest

from tests import packets
from tests.egress import sniffer
from tests.packets import ACK, SYN, TCP, THEM, THEM6, UDP, US, US6

DATAGRAM = packets.udp(4000, 53, b"secret")
EXTENDED = bytes([UDP, 1]) + bytes(14) + DATAGRAM  # a header of 16 bytes
FRAGMENT = bytes([UDP, 0, 0, 1]) + bytes(4) + DATAGRAM


@pytest.mark.parametrize(
    ("kind", "frame", "source", "destination"),
    [
        pytest.param(sniffer.IPV4, packets.ipv4(UDP, US, THEM, DATAGRAM), US, THEM, id="IPv4"),
        pytest.param(
            sniffer.IPV4, packets.ipv4(UDP, US, THEM, DATAGRAM, bytes(8)), US, THEM, id="IPv4 with options"
        ),
        pytest.param(
            sniffer.IPV4, packets.ipv4(UDP, US, THEM, DATAGRAM) + bytes(9), US, THEM, id="padded to the frame"
        ),
        pytest.param(sniffer.IPV6, packets.ipv6(UDP, US6, THEM6, DATAGRAM), US6, THEM6, id="IPv6"),
        pytest.param(
            sniffer.IPV6, packets.ipv6(0, US6, THEM6, EXTENDED), US6, THEM6, id="behind a hop-by-hop header"
        ),
        pytest.param(
            sniffer.IPV6, packets.ipv6(44, US6, THEM6, FRAGMENT), US6, THEM6, id="in a first fragment"
        ),
    ],
)
def test_a_datagram_is_read(kind: int, frame: bytes, source: str, destination: str) -> None:
    assert sniffer.read(kind, frame) == {
        "proto": "udp", "src": source, "dst": destination, "sport": 4000, "dport": 53,
        "payload": b"secret".hex(),
    }  # fmt: skip


@pytest.mark.parametrize("kind", [sniffer.IPV4, sniffer.IPV6, sniffer.ARP, 0x88CC])
@pytest.mark.parametrize("size", range(64))
def test_what_cannot_be_read_is_on_record_all_the_same(kind: int, size: int) -> None:
    whole = (
        packets.ipv4(TCP, US, THEM, bytes(40)) if kind == sniffer.IPV4 else packets.ipv6(0, US6, THEM6, b"")
    )
    assert sniffer.read(kind, whole[:size])["proto"]


def test_a_packet_is_told_which_one_opened_its_connection() -> None:
    flows = sniffer.Flows()

    def number(source: int, flags: int) -> tuple[int, int | None]:
        frame = packets.ipv4(TCP, US, THEM, packets.tcp(source, 443, flags))
        packet = flows.number(sniffer.read(sniffer.IPV4, frame))
        return packet["n"], packet["opened"]

    assert [number(5000, SYN), number(5000, ACK), number(5001, ACK)] == [(1, 1), (2, 1), (3, None)]
    assert [number(5001, SYN), number(5000, ACK), number(5001, ACK)] == [(4, 4), (5, 1), (6, 4)]
