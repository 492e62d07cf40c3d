"""What goes between the wrapper and a gateway in a container: frames, and the order that comes first.

A frame is four bytes of length and so many bytes; an empty one says that nothing more will follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sandbox.records import dataclass

HEAD = 4
LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Order:
    """The trap's ports, the gateway's charge and system call filter, and addresses that are no way out."""

    ports: tuple[int, ...]
    charge: Any
    filter: bytes
    own: tuple[str, ...] = ()


def frame(body: bytes) -> bytes:
    """One frame; without a body the last one."""
    return len(body).to_bytes(HEAD, "big") + body


class Deframer:
    """feed(bytes) -> the bodies that are whole by now, however the stream was cut."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """A length that nobody of ours would send is an error."""
        self._held += data
        while len(self._held) >= HEAD:
            size = int.from_bytes(self._held[:HEAD], "big")
            if size > LARGEST:
                raise ValueError(f"a frame of {size} bytes")
            if len(self._held) < HEAD + size:
                return
            body = bytes(self._held[HEAD : HEAD + size])
            del self._held[: HEAD + size]
            yield body


def own_addresses(tables: str) -> tuple[str, ...]:
    """The addresses in `/proc/net/fib_trie` and `/proc/net/if_inet6` that a machine has, but loopback's."""
    found: dict[str, None] = {}
    last = ""
    for line in tables.splitlines():
        words = line.split()
        if words[:1] == ["|--"] and len(words) > 1:
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and not last.startswith("127."):
            found[last] = None
        elif len(words) == 6 and len(words[0]) == 32 and words[3] in _GLOBAL:
            found[_written(words[0])] = None
    return tuple(found)


_GLOBAL = ("00", "40")
"""Scopes of an address in `if_inet6` that another machine can be told: global, site."""


def _written(digits: str) -> str:
    return ":".join(digits[at : at + 4] for at in range(0, 32, 4))


def exempt(route: str, resolv: str) -> frozenset[str]:
    """Addresses that the way out needs: the gateways in `/proc/net/route`, name servers in `resolv.conf`."""
    lines = [line.split() for line in route.splitlines()[1:]]
    gateways = [bytes.fromhex(words[2])[::-1] for words in lines if len(words) > 2]
    servers = [words[1] for words in map(str.split, resolv.splitlines()) if words[:1] == ["nameserver"]]
    return frozenset([*(".".join(map(str, one)) for one in gateways), *servers])
