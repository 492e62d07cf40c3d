"""Attacks on the machine itself: its listeners by any address, its unix sockets, and other sandboxes."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from contextlib import suppress

SECONDS = 3.0
_kept: list[socket.socket] = []
_heard: list[str] = []


def tell_unix(path: str, word: str) -> None:
    """A unix socket by its path, or by its abstract name where `path` starts with `@`."""
    with socket.socket(socket.AF_UNIX) as out:
        out.settimeout(SECONDS)
        out.connect("\0" + path[1:] if path.startswith("@") else path)
        out.sendall(word.encode())


def listen(port: int) -> int:
    """Listens on every address of this namespace; what it hears, `heard` tells."""
    for address in ("0.0.0.0", "::"):  # noqa: S104 - in a namespace of its own, or the test host's
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen()
        _kept.append(one)
        threading.Thread(target=_hear, args=(one,), daemon=True).start()
    return port


def _hear(one: socket.socket) -> None:
    while True:
        client, _ = one.accept()
        with client:
            _heard.append(client.recv(4096).decode("latin-1"))
            client.sendall(b"!")


def heard() -> list[str]:
    """Everything that the listeners of this process were told."""
    return list(_heard)


def inherited(word: str) -> list[str]:
    """The sockets that we were born with, but stdio; `word` goes to each of them."""
    found = []
    for fd in range(3, 4096):
        try:
            place = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if place.startswith("socket:"):
            found.append(place)
            with suppress(OSError):
                os.write(fd, word.encode())
    return found


def run(words: list[str]) -> str:
    """What a program of the system says."""
    return subprocess.run(words, capture_output=True, text=True, timeout=10).stdout


def listen_abstract(name: str) -> None:
    """Holds an abstract socket open as long as this process lives."""
    _kept.append(socket.socket(socket.AF_UNIX))
    _kept[-1].bind("\0" + name[1:])
    _kept[-1].listen()
