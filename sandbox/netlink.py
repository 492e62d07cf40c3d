"""What we ask of rtnetlink(7): `lo` (always interface 1), addresses and routes of a namespace, a way out."""

from __future__ import annotations

import errno
import os
import struct

# The module below `socket`, which turns every constant into an enum at a cost of milliseconds a start.
from _socket import AF_INET, AF_INET6, AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, inet_pton, socket

LOOPBACK = 1

_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE, _RTM_GETROUTE = 16, 20, 24, 26
_NLMSG_ERROR = 2
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_IFF_UP = 1
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_PREFSRC = 1, 4, 7
_TABLE_LOCAL, _PROTOCOL_BOOT, _TYPE_UNICAST, _TYPE_LOCAL = 255, 3, 1, 2
_SCOPE_HOST, _SCOPE_UNIVERSE = 254, 0


class Netlink:
    """A routing socket of the current network namespace; every request waits for the kernel's answer."""

    def __init__(self) -> None:
        self._socket = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def loopback_up(self) -> None:
        """Sets `lo` up; its own 127.0.0.1 and ::1 come with that."""
        self._ask("lo up", _RTM_NEWLINK, 0, struct.pack("=BxHiII", 0, 0, LOOPBACK, _IFF_UP, _IFF_UP))

    def add_address(self, address: str, prefix: int) -> None:
        """Gives `lo` one more address; without duplicate detection, so that it can be used at once."""
        family, packed = _packed(address)
        flags = _IFA_F_NODAD if family == AF_INET6 else 0
        head = struct.pack("=BBBBi", family, prefix, flags, _SCOPE_UNIVERSE, LOOPBACK)
        body = head + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)
        self._ask(f"address {address}", _RTM_NEWADDR, _CREATE | _EXCL, body)

    def add_local_default(self, source: str) -> None:
        """Makes every address of `source`'s family this namespace's own (AnyIP; ip-route(8), `local`)."""
        family, packed = _packed(source)
        scope = _SCOPE_HOST if family == AF_INET else _SCOPE_UNIVERSE
        head = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _TABLE_LOCAL, _PROTOCOL_BOOT, scope, _TYPE_LOCAL, 0)
        body = head + _attribute(_RTA_OIF, struct.pack("=i", LOOPBACK)) + _attribute(_RTA_PREFSRC, packed)
        self._ask(f"local default route from {source}", _RTM_NEWROUTE, _CREATE | _EXCL, body)

    def leads_out(self, address: str) -> bool:
        """Whether a packet to `address` would leave this machine; OSError where no route leads there."""
        family, packed = _packed(address)
        head = struct.pack("=BBBBBBBBI", family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
        answer = self._say(_RTM_GETROUTE, _REQUEST, head + _attribute(_RTA_DST, packed))
        _, kind = struct.unpack_from("=IH", answer)
        if kind != _RTM_NEWROUTE:
            raise OSError(_error(answer), f"route to {address}: {os.strerror(_error(answer))}")
        # struct rtmsg, rtm_type: local, broadcast and multicast ones are other numbers.
        return answer[16 + 7] == _TYPE_UNICAST

    def _ask(self, what: str, kind: int, flags: int, body: bytes) -> None:
        code = _error(self._say(kind, flags | _REQUEST | _ACK, body))
        if code:
            raise OSError(code, f"{what}: {os.strerror(code)}")

    def _say(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body)
        return self._socket.recv(1 << 16)


def _packed(address: str) -> tuple[int, bytes]:
    family = AF_INET6 if ":" in address else AF_INET
    return family, inet_pton(family, address)


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _error(answer: bytes) -> int:
    """The errno of an NLMSG_ERROR, 0 for an acknowledgement; anything else is no answer to what was asked."""
    _, kind = struct.unpack_from("=IH", answer)
    if kind != _NLMSG_ERROR:
        return errno.EPROTO
    return -int(struct.unpack_from("=i", answer, 16)[0])
