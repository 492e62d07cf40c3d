"""Attacks that are no TCP: datagrams, echo requests, raw packets, frames and the other transports."""

from __future__ import annotations

import os
import socket
import struct
from itertools import product

ECHO, ECHO6 = 8, 128
ETH_P_IP = 0x0800
# Of the kernel's families those that can carry bytes elsewhere (socket.h): IPX, AX.25, AppleTalk, X.25,
# packet, RDS, IRDA, PPPoX, LLC, InfiniBand, CAN, TIPC, Bluetooth, IUCV, phonet, 802.15.4, CAIF, NFC,
# vsock, KCM, QRTR, SMC, XDP, MCTP.
FAMILIES = (4, 3, 5, 9, 17, 21, 23, 24, 26, 27, 29, 30, 31, 32, 35, 36, 37, 39, 40, 41, 42, 43, 44, 45)
# ICMP by datagram is asked for elsewhere: it depends on a switch of the kernel.
PROTOCOLS = {
    "sctp": (1, 132),
    "sctp packets": (5, 132),
    "dccp": (6, 33),
    "udplite": (2, 136),
    "raw": (3, 255),
}


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tell(
    address: str, port: int, word: str, head: str = "", broadcast: bool = False, interface: bool = False
) -> str:
    """Sends `word` behind `head` (hex); the error that came back for it is this attack's own."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as out:
        out.settimeout(0.1)
        if broadcast:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        scope = socket.if_nametoindex(_interface()) if interface else 0
        to = (address, port, 0, scope) if ":" in address else (address, port)
        out.connect(to)
        out.send(bytes.fromhex(head) + word.encode())
        try:
            return out.recv(4096).decode("latin-1")
        except TimeoutError:
            return ""


def flood(address: str, count: int, word: str) -> int:
    """A datagram to each of that many ports in turn, refused or not; how many were sent."""
    sent = 0
    with socket.socket(_family(address), socket.SOCK_DGRAM) as out:
        for number in range(count):
            try:
                sent += bool(out.sendto(f"{word}{number}".encode(), (address, 1024 + number % 60_000)))
            except OSError:
                sent += 1  # the answer to an earlier one
    return sent


def _interface() -> str:
    """The interface that leads out, or the loopback where there is no other."""
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in names if name != "lo"), "lo")


def _echo(address: str, word: str) -> bytes:
    head = struct.pack(">2B3H", ECHO6 if ":" in address else ECHO, 0, 0, os.getpid() & 0xFFFF, 1)
    packet = head + word.encode()
    words = struct.unpack(f">{len(packet + b'x') // 2}H", packet + bytes(len(packet) % 2))
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return packet[:2] + struct.pack(">H", ~total & 0xFFFF) + packet[4:]


def ping(address: str, word: str, raw: bool) -> str:
    """An echo request with `word` in it, and what came back."""
    protocol = socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP
    kind = socket.SOCK_RAW if raw else socket.SOCK_DGRAM
    with socket.socket(_family(address), kind, protocol) as out:
        out.settimeout(0.5)
        out.sendto(_echo(address, word), (address, 0))
        return out.recv(4096).decode("latin-1")


def raw(address: str, protocol: int, word: str) -> int:
    """A packet of any protocol."""
    with socket.socket(_family(address), socket.SOCK_RAW, protocol) as out:
        return out.sendto(word.encode(), (address, 0))


def frame(word: str) -> int:
    """An Ethernet frame to everybody, past every table of the kernel."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP)) as out:
        out.bind((_interface(), ETH_P_IP))
        return out.send(b"\xff" * 6 + bytes(6) + struct.pack(">H", ETH_P_IP) + word.encode())


def other(address: str, port: int, word: str, protocol: str) -> int:
    """A message over a transport that is neither TCP nor UDP."""
    kind, number = PROTOCOLS[protocol]
    with socket.socket(_family(address), kind, number) as out:
        out.settimeout(1.0)
        out.connect((address, port))
        return out.send(word.encode())


def families() -> list[int]:
    """Which of the families, beside the internet's own, give a socket of any kind; none is used."""
    found = []
    for family, kind in product(FAMILIES, (1, 2, 3, 5)):
        try:
            socket.socket(family, kind, 0).close()
        except OSError:
            continue
        found.append(family)
    return sorted(set(found))
