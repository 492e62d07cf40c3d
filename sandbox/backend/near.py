"""A connection to a server's own loopback, made by a process in the server's network namespace."""

from __future__ import annotations

import os
from _socket import AF_INET, AF_INET6, SOCK_CLOEXEC, SOCK_STREAM
from collections.abc import Collection
from contextlib import suppress
from errno import ECONNREFUSED
from socket import socket

LOOPBACK = ((AF_INET, "127.0.0.1"), (AF_INET6, "::1"))
CONNECT_S = 2.0
"""Loopback answers at once, unless the server's queue is full and it accepts nobody."""
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LARGEST = 1 << 16
_LISTENS = b"0A"
_MOST_NAMED = 3


class Tables:
    """The kernel's tables of the namespace's sockets (proc(5)), for where no file can be opened any more."""

    def __init__(self, ours: Collection[int]) -> None:
        """`ours`: the ports on which the sandbox itself listens."""
        self._ours = ours
        self.descriptors: list[int] = []
        for path in TABLES:
            with suppress(OSError):  # without IPv6 there is one
                self.descriptors.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def ports(self) -> list[int]:
        """Where the server listens, as far as the first pages say."""
        found = set[int]()
        with suppress(OSError):
            for fd in self.descriptors:
                found |= listening(os.pread(fd, _LARGEST, 0))
        return sorted(found.difference(self._ours))


def listening(table: bytes) -> set[int]:
    """The ports of a table on which somebody listens; of a line that is cut nothing is taken."""
    lines = [line.split() for line in table.split(b"\n")[1:-1]]
    return {int(words[1].rpartition(b":")[2], 16) for words in lines if words[3:4] == [_LISTENS]}


def connect(port: int, tables: Tables | None = None, within: float = CONNECT_S) -> socket:
    """A connected socket without a time-out, by IPv4, else by IPv6; OSError where nobody listens."""
    first: OSError | None = None
    for family, address in LOOPBACK:
        try:
            return _connected(family, address, port, within)
        except OSError as error:
            # There may be no IPv6 at all, which is not why.
            first = first or error
    others = tables.ports() if tables is not None else []
    if isinstance(first, ConnectionRefusedError) and others:
        said = ", ".join(map(str, others[:_MOST_NAMED]))
        raise ConnectionRefusedError(ECONNREFUSED, f"nobody listens there, but on port {said}")
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
