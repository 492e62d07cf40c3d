"""Connections to a server in a container, which the holder of its network makes and hands out."""

from __future__ import annotations

import os
from socket import socket
from threading import Lock

from sandbox.backend.docker.handover import HERE, receive

DIAL_S = 10.0
"""A holder tries two addresses, for two seconds each, one request after the other."""


class Dialler:
    """Connections to the server's loopback, made by the holder; for any thread of one process."""

    def __init__(self, connection: socket, port: int) -> None:
        self._connection = connection
        self._port = port
        self._lock = Lock()

    def dial(self) -> socket:
        """A connected socket; OSError where nobody listens or the holder is gone."""
        with self._lock:
            self._connection.settimeout(DIAL_S)
            self._connection.send(str(self._port).encode())
            said, numbers = receive(self._connection)
        if said == HERE and len(numbers) == 1:
            return socket(fileno=numbers[0])
        for fd in numbers:
            os.close(fd)
        number, _, text = said.decode(errors="replace").partition(" ")
        raise OSError(int(number) if number.isdecimal() else 0, text or "the holder is gone")
