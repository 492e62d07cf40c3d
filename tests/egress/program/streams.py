"""Attacks over TCP without TLS: literal addresses in every spelling, and requests for another host."""

from __future__ import annotations

import socket
from collections.abc import Sequence

SECONDS = 2.0
MPTCP = 262
_FASTOPEN_CONNECT = 30


def connected(host: str, port: int, protocol: int = 0) -> socket.socket:
    """A connection to the first address of `host`, in whatever way it is spelt."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    out = socket.socket(family, kind, protocol)
    try:
        out.settimeout(SECONDS)
        out.connect(address)
    except BaseException:
        out.close()
        raise
    return out


def everything(out: socket.socket) -> str:
    """What the other side says to its end, after our own."""
    out.shutdown(socket.SHUT_WR)
    said = b""
    while more := out.recv(1 << 16):
        said += more
    return said.decode("latin-1")


def tell(host: str, port: int, word: str, protocol: int = 0) -> str:
    """Sends `word` to any port."""
    with connected(host, port, protocol) as out:
        out.sendall(word.encode("latin-1"))
        return everything(out)


def spelt(text: str, port: int, word: str) -> str:
    """The same to an IPv4 address in a spelling that only inet_aton(3) takes."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as out:
        out.settimeout(SECONDS)
        out.connect((socket.inet_ntoa(socket.inet_aton(text)), port))
        out.sendall(word.encode())
        return everything(out)


def tell_any(host: str, port: int, word: str) -> str:
    """To the first address of `host` that answers, as most clients do."""
    with socket.create_connection((host, port), SECONDS) as out:
        out.sendall(word.encode())
        return everything(out)


def exchange(host: str, port: int, parts: Sequence[str], answers: bool = False) -> str:
    """Sends the parts one by one; with `answers` each is answered before the next."""
    with connected(host, port) as out:
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = ""
        for number, part in enumerate(parts):
            if answers and number:
                said += out.recv(1 << 16).decode("latin-1")
            out.sendall(part.encode("latin-1"))
        return said + everything(out)


def in_syn(address: str, port: int, word: str, option: bool) -> str:
    """TCP Fast Open: data with the first packet, by MSG_FASTOPEN or by TCP_FASTOPEN_CONNECT (tcp(7))."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as out:
        out.settimeout(SECONDS)
        if option:
            out.setsockopt(socket.IPPROTO_TCP, _FASTOPEN_CONNECT, 1)
            out.connect((address, port))
            out.sendall(word.encode())
        else:
            out.settimeout(None)  # else the data stays here until it is connected
            out.sendto(word.encode(), socket.MSG_FASTOPEN, (address, port))
            out.settimeout(SECONDS)
        return everything(out)


def with_option(
    address: str, port: int, word: str, level: int, option: int, value: str | int, source: str = ""
) -> str:
    """A connection of a socket that was first told to go another way (socket(7), ip(7))."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as out:
        out.settimeout(SECONDS)
        out.setsockopt(level, option, value.encode() if isinstance(value, str) else value)
        if source:
            out.bind((source, 0))
        out.connect((address, port))
        out.sendall(word.encode())
        return everything(out)
