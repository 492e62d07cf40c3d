"""The trap: in a namespace with `lo` alone every address is local, and ends in a listener of ours.

`set_trap` runs inside, before the server exists, with CAP_NET_ADMIN, CAP_NET_RAW and
CAP_NET_BIND_SERVICE over the namespace; the sockets go out by SCM_RIGHTS (unix(7)) to the egress gateway,
which calls `receive`. A port on which nothing listens is refused by the kernel at once.
"""

from __future__ import annotations

import array
import os
from _socket import (
    AF_INET,
    AF_INET6,
    CMSG_LEN,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SCM_RIGHTS,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sandbox.netlink import Netlink
from sandbox.observer import observer
from sandbox.records import dataclass

SOURCE_4, SOURCE_6 = "198.18.0.1", "fd53:6278::1"
"""Addresses of `lo` that are no loopback ones: with AI_ADDRCONFIG glibc asks for no family that has none."""
DNS = 53
# The kernel cuts it to net.core.somaxconn; while the gateway still starts, connections wait here.
BACKLOG = 1024
MOST_PORTS = 120
"""Two families, two for DNS and the observer stay below the 253 descriptors of one message (unix(7))."""

_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_FREEBIND = 8, 49, 78
_IPPROTO_IP = 0


@dataclass(frozen=True, slots=True)
class Trapped:
    """One socket of the trap: `tcp` (a listener), `udp` (DNS) or `observer`, its port and its descriptor."""

    kind: str
    port: int
    fd: int


def set_trap(ports: Iterable[int], to: int, own: int = 0) -> None:
    """Makes every address local, binds listeners on `ports` and 53, sends all sockets over `to`.

    `own`: where the server itself will listen, if it does.
    """
    families = [AF_INET, AF_INET6] if _has_ipv6() else [AF_INET]
    with Netlink() as netlink:
        netlink.loopback_up()
        # Before the routes: from their first moment on a connection finds a listener or is refused.
        sockets = _sockets(sorted({*ports, DNS}), families, own)
        for source in (SOURCE_4, SOURCE_6)[: len(families)]:
            netlink.add_address(source, 128 if ":" in source else 32)
            netlink.add_local_default(source)
    _send(to, sockets)
    for _, _, one in sockets:
        one.close()


def receive(channel: int, most: int = 253) -> list[Trapped]:
    """The sockets that `set_trap` sent; empty when the sandbox ended before it stood."""
    with _adopted(channel) as held:
        descriptors = array.array("i")
        said, ancillary, flags, _ = held.recvmsg(1 << 14, CMSG_LEN(most * descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    words = said.decode().split()
    if flags or len(words) != len(descriptors):
        for fd in descriptors:
            os.close(fd)
        raise OSError(5, "the trap's sockets came incomplete")
    return [
        Trapped(kind, int(port), fd)
        for (kind, _, port), fd in zip((w.partition(":") for w in words), descriptors, strict=True)
    ]


_Sockets = list[tuple[str, int, socket]]


def _has_ipv6() -> bool:
    """False where the kernel has no IPv6 or keeps it off for `lo`: nothing can be sent by it then."""
    try:
        with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6") as switch:
            return switch.read().strip() == "0"
    except OSError:
        return False


def _sockets(ports: list[int], families: list[int], own: int) -> _Sockets:
    made: _Sockets = []
    for family in families:
        made += [("tcp", port, _listener(family, port)) for port in ports]
        made.append(("udp", DNS, _dns(family)))
    made.append(("observer", 0, observer(own)))
    return made


def _made(family: int, kind: int) -> socket:
    one = socket(family, kind | SOCK_NONBLOCK | SOCK_CLOEXEC)
    if family == AF_INET6:
        one.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
    return one


def _any(family: int, port: int) -> tuple[str, int]:
    return ("::" if family == AF_INET6 else "0.0.0.0", port)  # noqa: S104 - every address here is the trap's


def _listener(family: int, port: int) -> socket:
    one = _made(family, SOCK_STREAM)
    one.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    one.bind(_any(family, port))
    one.listen(BACKLOG)
    return one


def _dns(family: int) -> socket:
    """A socket that says to which address a query went, and may answer from that address."""
    one = _made(family, SOCK_DGRAM)
    if family == AF_INET6:
        one.setsockopt(IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        # The route alone makes the address ours; without this the kernel wants it on an interface.
        one.setsockopt(IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    else:
        one.setsockopt(_IPPROTO_IP, _IP_PKTINFO, 1)
    one.bind(_any(family, DNS))
    return one


def _send(to: int, sockets: _Sockets) -> None:
    names = " ".join(f"{kind}:{port}" for kind, port, _ in sockets)
    descriptors = array.array("i", [one.fileno() for _, _, one in sockets])
    with _adopted(to) as channel:
        channel.sendmsg([names.encode()], [(SOL_SOCKET, SCM_RIGHTS, descriptors)])


@contextmanager
def _adopted(fd: int) -> Iterator[socket]:
    """A socket object around a descriptor that stays its owner's."""
    one = socket(fileno=fd)
    try:
        yield one
    finally:
        one.detach()
