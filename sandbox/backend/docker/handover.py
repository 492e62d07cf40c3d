"""What is said between a holder and whoever takes it: whose it is, the trap, and connections."""

from __future__ import annotations

import array
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET
from collections.abc import Callable, Iterable
from socket import socket

TAKE, TAKEN, HELD, HERE = b"take", b"taken", b"held", b"here"
LARGEST = 4096
TRAP_S = 5.0


def ask(connection: socket) -> bool:
    """Whether the holder is ours from now on."""
    try:
        connection.send(TAKE)
        return connection.recv(64) == TAKEN
    except OSError:
        return False


def hand_over(connection: socket, ports: Iterable[int], trap: int, own: int = 0) -> None:
    """Returns once the trap stands and the holder has no right left; OSError says why not.

    `own`: where the server itself will listen, if it does.
    """
    said = " ".join(map(str, (own, *ports))).encode()
    connection.settimeout(TRAP_S)
    _send(connection, said, trap)
    heard = connection.recv(LARGEST)
    if heard != HELD:
        raise ConnectionError(heard.decode(errors="replace") or "it ended before the trap stood")
    connection.settimeout(None)


def order(connection: socket) -> tuple[list[int], int, int]:
    """The holder's side: the ports, the server's own, and the one descriptor that came with them."""
    said, numbers = receive(connection)
    if len(numbers) != 1:
        raise ValueError(f"{len(numbers)} descriptors came, not one")
    own, *ports = map(int, said.split())
    return ports, own, numbers[0]


def answer(connection: socket, connect: Callable[[int], socket]) -> bool:
    """The holder's side: connects where one request says; False at the end of the session."""
    said = connection.recv(64)
    if not said:
        return False
    try:
        with connect(int(said)) as made:
            _send(connection, HERE, made.fileno())
    except (OSError, ValueError, OverflowError) as error:
        text = f"{getattr(error, 'errno', None) or 0} {getattr(error, 'strerror', None) or error}"
        connection.send(text.encode()[:LARGEST])
    return True


def _send(connection: socket, said: bytes, fd: int) -> None:
    connection.sendmsg([said], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [fd]))])


def receive(connection: socket) -> tuple[bytes, list[int]]:
    """One message and the descriptors that came with it."""
    numbers = array.array("i")
    said, ancillary, _, _ = connection.recvmsg(LARGEST, CMSG_LEN(4 * numbers.itemsize), MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    return said, numbers.tolist()
