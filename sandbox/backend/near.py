"""A connection to a server's own loopback, made by a process in the server's network namespace."""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_STREAM
from errno import ECONNREFUSED
from socket import socket

LOOPBACK = ((AF_INET, "127.0.0.1"), (AF_INET6, "::1"))
CONNECT_S = 2.0
"""Loopback answers at once, unless the server's queue is full and it accepts nobody."""


def connect(port: int, within: float = CONNECT_S) -> socket:
    """A connected socket without a time-out, by IPv4, else by IPv6; OSError where nobody listens."""
    first: OSError | None = None
    for family, address in LOOPBACK:
        try:
            return _connected(family, address, port, within)
        except OSError as error:
            # There may be no IPv6 at all, which is not why.
            first = first or error
    raise first or OSError("no address")


def _connected(family: int, address: str, port: int, within: float) -> socket:
    one = socket(family, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        one.settimeout(within)
        one.connect((address, port))
        if one.getsockname()[:2] == one.getpeername()[:2]:
            # Where nobody listens, TCP may give us the same port as our own and connect us to ourselves.
            raise ConnectionRefusedError(ECONNREFUSED, "nobody listens")
        one.settimeout(None)
    except BaseException:
        one.close()
        raise
    return one
