"""What the observer saw: the destination of a packet that found no listener (RFC 791, 792, 8200, 4443)."""

from __future__ import annotations

from sandbox.records import dataclass

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp"}
_RESET = 0x04
# "Destination unreachable" in both protocols of errors.
_UNREACHABLE = {ICMP: 3, ICMP6: 1}
# Hop by hop, routing, destination: what a program may have put between (RFC 8200 4.1; ipv6(7)).
_EXTENSIONS = frozenset({0, 43, 60})
_DNS = (53).to_bytes(2, "big")


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
        return _stray(TCP, source, rest[:2]) if _answers_nobody(rest) else None
    if protocol == UDP:
        return _stray(UDP, destination, rest[2:4])
    if protocol in _UNREACHABLE:
        return _undelivered(rest[8:]) if rest[:1] == bytes([_UNREACHABLE[protocol]]) else None
    return None


def _answers_nobody(segment: bytes) -> bool:
    """Whether it is the reset of a connection that found no listener: its sequence number is 0."""
    return len(segment) >= 14 and bool(segment[13] & _RESET) and not any(segment[4:8])


def _undelivered(packet: bytes) -> Stray | None:
    """An ICMP error quotes the head of what could not be delivered."""
    found = _header(packet)
    if found is None or found[0] not in (TCP, UDP):
        return None
    protocol, _, destination, rest = found
    if protocol == UDP and rest[:2] == _DNS:
        return None  # our own answer to a lookup that nobody waits for: the port is taken by the trap
    return _stray(protocol, destination, rest[2:4])


def _stray(protocol: int, address: bytes, port: bytes) -> Stray | None:
    return Stray(NAMES[protocol], address, int.from_bytes(port, "big")) if len(port) == 2 else None


def _header(packet: bytes) -> tuple[int, bytes, bytes, bytes] | None:
    """Protocol, source, destination and payload."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        size = (packet[0] & 15) * 4
        return (packet[9], packet[12:16], packet[16:20], packet[size:]) if size >= 20 else None
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        protocol, rest = packet[6], packet[40:]
        while protocol in _EXTENSIONS and len(rest) >= 8:
            protocol, rest = rest[0], rest[8 + 8 * rest[1] :]
        return protocol, packet[8:24], packet[24:40], rest
    return None
