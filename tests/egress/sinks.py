"""Sockets that write down every byte they get: what an attack would be heard by, outside and on the host."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

Handler = Callable[[], None]
BANNER = b"banner: this server speaks first\r\n"


def bound(kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    """A socket on one address, listening if it is TCP; `::` does not take IPv4's port."""
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if ":" in address:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.setblocking(False)
    one.bind((address, port))
    if kind == socket.SOCK_STREAM:
        one.listen(128)
    return one


class Sinks:
    """Listeners in one loop: bytes are logged in the order in which they came, a mark behind all earlier."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("a", buffering=1)
        self._selector = selectors.DefaultSelector()

    def write(self, **line: Any) -> None:
        """One line of the log."""
        self._file.write(json.dumps(line) + "\n")

    def tcp(self, addresses: Iterable[str], ports: Iterable[int]) -> None:
        """Says nothing and hears everything."""
        self._each(socket.SOCK_STREAM, addresses, ports, self._accept)

    def speaker(self, addresses: Iterable[str], ports: Iterable[int]) -> None:
        """Speaks first, and then sends everything back."""
        self._each(socket.SOCK_STREAM, addresses, ports, partial(self._accept, banner=BANNER))

    def udp(self, addresses: Iterable[str], ports: Iterable[int]) -> None:
        """Hears everything."""
        self._each(socket.SOCK_DGRAM, addresses, ports, self._datagrams)

    def on(self, file: Any, handle: Handler) -> None:
        """`handle` is called whenever `file` can be read, behind all sockets that can be read then."""
        self._selector.register(file, selectors.EVENT_READ, handle)

    def run(self) -> None:
        """Until the process ends."""
        while True:
            ready = [key for key, _ in self._selector.select()]
            for key in sorted(ready, key=lambda one: not isinstance(one.fileobj, socket.socket)):
                key.data()

    def _each(
        self,
        kind: socket.SocketKind,
        addresses: Iterable[str],
        ports: Iterable[int],
        handle: Callable[[socket.socket], None],
    ) -> None:
        ports = tuple(ports)
        for address in addresses:
            for port in ports:
                one = bound(kind, address, port)
                self.on(one, partial(handle, one))

    def _accept(self, listener: socket.socket, banner: bytes = b"") -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                one, peer = listener.accept()
                one.setblocking(False)
                port = one.getsockname()[1]
                self.write(proto="tcp", port=port, peer=peer[0], data="", event="open")
                if banner:
                    one.sendall(banner)
                # At once, not in the next round: a mark that came later must be logged behind these bytes.
                if self._stream(one, peer[0], bool(banner)):
                    self.on(one, partial(self._again, one, peer[0], bool(banner)))

    def _again(self, one: socket.socket, peer: str, echo: bool) -> None:
        if not self._stream(one, peer, echo):
            self._selector.unregister(one)

    def _stream(self, one: socket.socket, peer: str, echo: bool) -> bool:
        """Logs what there is to read; false when the other side is gone."""
        try:
            while data := one.recv(1 << 16):
                self.write(proto="tcp", port=one.getsockname()[1], peer=peer, data=data.hex())
                if echo:
                    one.sendall(data)
        except BlockingIOError:
            return True
        except OSError:
            pass
        one.close()
        return False

    def _datagrams(self, one: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                data, peer = one.recvfrom(1 << 16)
                self.write(proto="udp", port=one.getsockname()[1], peer=peer[0], data=data.hex())
