"""Every packet that arrives on one interface, as a JSON line: what left the test host, whoever sent it."""

from __future__ import annotations

import json
import socket
import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Any

ETH_P_ALL = 3
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "icmp6"}
# Headers between IPv6's own and the payload that say their length in units of eight bytes (RFC 8200, 4).
EXTENSIONS = {0, 43, 60}
FRAGMENT = 44
SYN, ACK = 0x02, 0x10
PACKET_STATISTICS, SOL_PACKET, SO_RCVBUFFORCE = 6, 263, 33
# A packet's payload is logged this far: an upload of gigabytes must not fill the disk.
KEPT = 8192

Packet = dict[str, Any]


def read(kind: int, frame: bytes) -> Packet:
    """What a frame's payload says, down to the ports; `payload` is what follows the headers, in hex."""
    if kind == IPV4 and len(frame) >= 20:
        end = struct.unpack_from(">H", frame, 2)[0] or len(frame)
        return _above(frame[9], frame[12:16], frame[16:20], frame[(frame[0] & 15) * 4 : end])
    if kind == IPV6 and len(frame) >= 40:
        length = struct.unpack_from(">H", frame, 4)[0]
        protocol, rest = _behind_extensions(frame[6], frame[40 : 40 + length] if length else frame[40:])
        return _above(protocol, frame[8:24], frame[24:40], rest)
    return {"proto": "arp" if kind == ARP else f"ether-{kind:04x}", "payload": frame[:KEPT].hex()}


def _behind_extensions(protocol: int, rest: bytes) -> tuple[int, bytes]:
    while (protocol in EXTENSIONS or protocol == FRAGMENT) and len(rest) >= 8:
        size = 8 if protocol == FRAGMENT else 8 + rest[1] * 8
        protocol, rest = rest[0], rest[size:]
    return protocol, rest


def _above(protocol: int, source: bytes, destination: bytes, rest: bytes) -> Packet:
    name = PROTOCOLS.get(protocol, str(protocol))
    found: Packet = {"proto": name, "src": str(ip_address(source)), "dst": str(ip_address(destination))}
    head = 0
    if name in ("tcp", "udp") and len(rest) >= 8:
        found["sport"], found["dport"] = struct.unpack_from(">HH", rest)
        head = 8
    if name == "tcp" and len(rest) >= 20:
        head, found["flags"] = (rest[12] >> 4) * 4, rest[13]
    if name in ("icmp", "icmp6") and rest:
        found["type"] = rest[0]
    found["payload"] = rest[head:][:KEPT].hex()
    return found


class Flows:
    """Numbers packets, and says of each TCP packet which one opened its connection."""

    def __init__(self) -> None:
        self.count = 0
        self._opened: dict[tuple[Any, ...], int] = {}

    def number(self, packet: Packet) -> Packet:
        """The packet with its number `n` and, for TCP, `opened`: its SYN's number, where one was seen."""
        self.count += 1
        packet["n"] = self.count
        if packet["proto"] == "tcp" and "flags" in packet:
            flow = tuple(packet[part] for part in ("src", "sport", "dst", "dport"))
            if packet["flags"] & (SYN | ACK) == SYN:
                self._opened[flow] = self.count
            packet["opened"] = self._opened.get(flow)
        return packet


def listen(interface: str) -> socket.socket:
    """A socket that every packet of the interface comes to from now on."""
    one = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    # Above the limit, so that a burst is not dropped while the line before is written.
    one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    one.bind((interface, ETH_P_ALL))
    return one


def sniff(one: socket.socket, log: Path) -> None:
    """Writes a line for each packet that arrives, until the process ends; a lost packet is a line too."""
    flows = Flows()
    with log.open("a", buffering=1) as file:
        while True:
            frame, (_, kind, direction, *_) = one.recvfrom(1 << 17)
            lost = struct.unpack("II", one.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            if lost:
                file.write(json.dumps({"proto": "lost", "n": flows.count, "packets": lost}) + "\n")
            if direction != socket.PACKET_OUTGOING:
                file.write(json.dumps(flows.number(read(kind, frame))) + "\n")
