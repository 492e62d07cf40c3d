"""What the observer saw: the destination of a packet that found no listener (RFC 791, 792, 8200, 4443)."""

from __future__ import annotations

from sandbox.records import dataclass

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}
_RESET = 0x04


@dataclass(frozen=True, slots=True)
class Stray:
    """A connection or datagram that went nowhere: its protocol, packed destination address and port."""

    protocol: str
    address: bytes
    port: int


def parse(packet: bytes) -> Stray | None:
    """The attempt behind a packet that begins at its IP header; None for one that tells of none."""
    found = _header(packet)
    if found is None:
        return None
    protocol, source, destination, rest = found
    if protocol == TCP:
        # The kernel's reset comes from where the server wanted to go.
        return _stray(TCP, source, rest[:2]) if len(rest) >= 14 and rest[13] & _RESET else None
    if protocol == UDP:
        return _stray(UDP, destination, rest[2:4])
    if protocol in (ICMP, ICMP6):
        return _undelivered(rest[8:])
    return None


def _undelivered(packet: bytes) -> Stray | None:
    """An ICMP error quotes the head of what could not be delivered."""
    found = _header(packet)
    if found is None or found[0] not in (TCP, UDP):
        return None
    protocol, _, destination, rest = found
    return _stray(protocol, destination, rest[2:4])


def _stray(protocol: int, address: bytes, port: bytes) -> Stray | None:
    return Stray(NAMES[protocol], address, int.from_bytes(port, "big")) if len(port) == 2 else None


def _header(packet: bytes) -> tuple[int, bytes, bytes, bytes] | None:
    """Protocol, source, destination and payload; extension headers are the kernel's not to add here."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        return (packet[9], packet[12:16], packet[16:20], packet[size:]) if size >= 20 else None
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return packet[6], packet[8:24], packet[24:40], packet[40:]
    return None
