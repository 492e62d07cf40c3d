"""Attacks by name: queries that no resolver library would make, and data in labels (RFC 1035)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Sequence
from typing import Any

SECONDS = 3.0
A, TXT, NULL = 1, 16, 10


def question(labels: Iterable[bytes], kind: int = A, cls: int = 1) -> bytes:
    """The question section for exactly these labels, whatever bytes are in them."""
    name = b"".join(bytes([len(label)]) + label for label in labels)
    return name + b"\0" + struct.pack(">2H", kind, cls)


def query(asked: bytes, *, questions: int = 1, additional: int = 0, flags: int = 0x0100) -> bytes:
    """A packet with `asked` behind its header."""
    return os.urandom(2) + struct.pack(">5H", flags, questions, 0, 0, additional) + asked


def ask(
    labels: Sequence[str], server: str, port: int = 53, tcp: bool = False, kind: int = A, cls: int = 1
) -> dict[str, Any]:
    """What `server` says to a question for these labels, in latin-1."""
    return send(
        query(question([label.encode("latin-1") for label in labels], kind, cls)).hex(), server, port, tcp
    )


def send(
    packet: str, server: str, port: int = 53, tcp: bool = False, seconds: float = SECONDS
) -> dict[str, Any]:
    """What `server` says to any bytes, given in hex."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as out:
        out.settimeout(seconds)
        out.connect((server, port))
        return _said(_exchange(out, bytes.fromhex(packet), tcp))


def _exchange(out: socket.socket, packet: bytes, tcp: bool) -> bytes:
    if not tcp:
        out.send(packet)
        return out.recv(4096)
    out.sendall(struct.pack(">H", len(packet)) + packet)
    size = struct.unpack(">H", _exactly(out, 2))[0]
    return _exactly(out, size)


def _exactly(out: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = out.recv(size - len(found))
        if not more:
            raise ConnectionResetError(104, "closed")
        found += more
    return found


def _said(answer: bytes) -> dict[str, Any]:
    _, flags, _, answers, _, _ = struct.unpack_from(">6H", answer)
    return {"rcode": flags & 15, "answers": answers}


def resolve(name: str) -> list[str]:
    """The addresses that the system's resolver finds, in the order of their text."""
    return sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})


def tunnel(count: int, below: str, word: str, server: str, tcp: bool, each: int = 60) -> dict[str, int]:
    """`count` lookups whose first label carries data; how many answers of each code came."""
    said: dict[str, int] = {}
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    for start in range(0, count, each):
        with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as out:
            out.settimeout(10.0)
            out.connect((server, 53))
            for number in range(start, min(start + each, count)):
                labels = [f"{word}-{number}", *below.split(".")]
                packet = query(question([label.encode() for label in labels]))
                code = str(_said(_exchange(out, packet, tcp))["rcode"])
                said[code] = said.get(code, 0) + 1
    return said
