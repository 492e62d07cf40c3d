"""Hand-made packets, from the IP header on, as an observer sees them on `lo`."""

from __future__ import annotations

import struct
from ipaddress import ip_address

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
SYN, RST, ACK = 0x02, 0x04, 0x10
# The sandbox's addresses, and somebody's in the world.
US, THEM = "198.18.0.1", "93.184.216.34"
US6, THEM6 = "fd53:6278::1", "2606:4700::1111"


def ipv4(protocol: int, source: str, destination: str, payload: bytes, options: bytes = b"") -> bytes:
    """An IPv4 packet; its checksum is the kernel's affair."""
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 0, 0, 64, protocol, 0)
    return head + ip_address(source).packed + ip_address(destination).packed + options + payload


def ipv6(protocol: int, source: str, destination: str, payload: bytes) -> bytes:
    """An IPv6 packet; `protocol` is that of its first header behind the fixed one."""
    head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64)
    return head + ip_address(source).packed + ip_address(destination).packed + payload


def tcp(source: int, destination: int, flags: int, sequence: int = 0) -> bytes:
    """A TCP segment without data."""
    return struct.pack(">HHIIBBHHH", source, destination, sequence, 7, 0x50, flags, 0, 0, 0)


def udp(source: int, destination: int, data: bytes = b"x") -> bytes:
    """A datagram."""
    return struct.pack(">HHHH", source, destination, 8 + len(data), 0) + data


def icmp(kind: int, code: int, quoted: bytes) -> bytes:
    """An ICMP error of either family around what it answers."""
    return struct.pack(">BBHI", kind, code, 0, 0) + quoted


def refusal(quoted: bytes) -> bytes:
    """`Port unreachable`, about a packet of either family that went from us to them."""
    if quoted[0] >> 4 == 6:
        return ipv6(ICMP6, THEM6, US6, icmp(1, 4, quoted))
    return ipv4(ICMP, THEM, US, icmp(3, 3, quoted))
