"""What is said between a holder and whoever takes it: first whose it is, then what the trap is made of."""

from __future__ import annotations

import array
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET
from collections.abc import Iterable
from socket import socket

TAKE, TAKEN, HELD = b"take", b"taken", b"held"
LARGEST = 4096
TRAP_S = 5.0


def ask(connection: socket) -> bool:
    """Whether the holder is ours from now on."""
    try:
        connection.send(TAKE)
        return connection.recv(64) == TAKEN
    except OSError:
        return False


def hand_over(connection: socket, ports: Iterable[int], trap: int) -> None:
    """Returns once the trap stands and the holder has no right left; OSError says why not."""
    said = " ".join(map(str, ports)).encode()
    connection.settimeout(TRAP_S)
    connection.sendmsg([said], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [trap]))])
    answer = connection.recv(LARGEST)
    if answer != HELD:
        raise ConnectionError(answer.decode(errors="replace") or "it ended before the trap stood")
    connection.settimeout(None)


def order(connection: socket) -> tuple[list[int], int]:
    """The holder's side: the ports, and the one descriptor that came with them."""
    numbers = array.array("i")
    said, ancillary, _, _ = connection.recvmsg(LARGEST, CMSG_LEN(4 * numbers.itemsize), MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    if len(numbers) != 1:
        raise ValueError(f"{len(numbers)} descriptors came, not one")
    return [int(port) for port in said.split()], numbers[0]
