"""The observer: a packet socket on `lo` that sees what found no listener, and nothing else (packet(7)).

The kernel's own answers tell what was refused, and leave out what the server says to its own listeners: a
reset with sequence number 0 answers a connection that found none (RFC 9293 3.5.2), an ICMP error carries
the datagram that found none. Datagrams to multicast and broadcast get no answer and are taken themselves.
A server's own port is left out: who waits until it listens attempts nothing.
"""

from __future__ import annotations

import array
import struct
from _socket import AF_PACKET, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_NONBLOCK, SOL_SOCKET, socket

SNAP = 160
"""Bytes kept of a packet: two IPv6 headers, the ICMP header and the inner ports fit."""

_SO_ATTACH_FILTER, _SO_RCVBUF = 26, 8
_ETH_P_ALL = 0x0003
_BUFFER = 1 << 18

# Classic BPF; packets begin at the IP header. A line: label, instructions, of a jump the two ways to go on
# (`-`: the next instruction). `lo` shows every packet twice, so only the outgoing one is looked at.
_PROGRAM = """
all:   ldb pkttype ; jeq 4 ip drop
ip:    ldb 0       ; and 0xf0 ; jeq 0x40 four six
four:  ldb 9       ; jeq 6 tcp4 - ; jeq 1 icmp4 - ; jeq 17 udp4 drop
tcp4:  ldx 0       ; ldbx 13 ; and 4 ; jeq 4 seq4 drop
seq4:  ldwx 4      ; jeq 0 - drop ; ldw 12 ; jeq 0x7f000001 - keep ; ldhx 0 ; jeq own drop keep
icmp4: ldx 0       ; ldbx 0 ; jeq 3 keep drop
udp4:  ldb 16      ; jge 240 wide - ; jge 224 keep drop
wide:  ldw 16      ; jeq 0xffffffff keep drop
six:   ldb 6       ; jeq 6 tcp6 - ; jeq 58 icmp6 - ; jeq 17 udp6 drop
tcp6:  ldb 53      ; and 4 ; jeq 4 seq6 drop
seq6:  ldw 44      ; jeq 0 - drop
one6:  ldw 8       ; jeq 0 - keep ; ldw 12 ; jeq 0 - keep ; ldw 16 ; jeq 0 - keep ; ldw 20 ; jeq 1 - keep
own6:  ldh 40      ; jeq own drop keep
icmp6: ldb 40      ; jeq 1 keep drop
udp6:  ldb 24      ; jeq 0xff keep drop
drop:  ret 0
keep:  ret snap
"""
_OPCODES = {
    "ldb": 0x30, "ldh": 0x28, "ldw": 0x20, "ldx": 0xB1, "ldbx": 0x50, "ldhx": 0x48, "ldwx": 0x40,
    "and": 0x54, "jeq": 0x15, "jge": 0x35, "ret": 0x06,
}  # fmt: skip
_WORDS = {"pkttype": 0xFFFFF004, "snap": SNAP}  # the first: SKF_AD_OFF + SKF_AD_PKTTYPE


def observer(own: int = 0) -> socket:
    """The socket; it takes nothing before its filter stands. `own`: the port of a server that listens."""
    one = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    code = array.array("B", program(own))
    where, length = code.buffer_info()
    one.setsockopt(SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", length // 8, where))
    one.setsockopt(SOL_SOCKET, _SO_RCVBUF, _BUFFER)
    one.bind(("lo", _ETH_P_ALL))
    return one


def program(own: int = 0) -> bytes:
    """The filter as the kernel takes it (struct sock_filter: code, jt, jf, k)."""
    words = {**_WORDS, "own": own}
    instructions: list[list[str]] = []
    labels: dict[str, int] = {}
    for line in _PROGRAM.strip().splitlines():
        label, _, rest = line.partition(":")
        labels[label] = len(instructions)
        instructions += [one.split() for one in rest.split(";")]
    return b"".join(_encoded(at, one, labels, words) for at, one in enumerate(instructions))


def _encoded(at: int, one: list[str], labels: dict[str, int], words: dict[str, int]) -> bytes:
    name, operand, *ways = one
    true, false = (0 if way == "-" else labels[way] - at - 1 for way in ways) if ways else (0, 0)
    value = words[operand] if operand in words else int(operand, 0)
    return struct.pack("=HBBI", _OPCODES[name], true, false, value)
