"""What the wrapper tells a docker keeper to build: one JSON document and the trap's descriptor."""

from __future__ import annotations

import array
import json
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SHUT_WR, SOL_SOCKET, socket
from typing import Any

from sandbox.records import dataclass

_FIRST = b"O"
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Orders:
    """One container: its create body, what is staged for it, and what ends with it."""

    name: str
    body: dict[str, Any]
    ports: list[int]
    folder: str
    """Of the session: written files and mapped trees, by the number of their step."""
    files: list[tuple[int | str, int, str]]
    """Name, mode and content (latin-1, so that JSON carries every byte)."""
    trees: list[tuple[int, str, bool, bool, int, int]]
    """Number, source, writable, whether it is a directory, and uid and gid of the owner to be mapped."""
    sources: list[str]
    """Of the body's mounts: real paths of the host, which the engine looks up again."""
    uid: int
    gid: int
    holder: str
    """The id of the image that holders are made from; empty for a container that builds, and has no trap."""
    spares: str
    """The folder where spare holders lie."""
    labels: list[tuple[str, str]]
    engine: str
    limits: list[str]
    """Of the engine's: which it holds."""
    remove: list[str]
    """Files to remove once everything is gone."""
    podman: bool = False
    piped: bool = False
    """Whether stdin and stdout are named pipes in the folder."""
    far: bool = False
    """The gateway's own container brings the holder, and says its id on the trap."""
    endpoint: tuple[str, int, str, float] | None = None
    """Host, port, path and patience of a server that speaks HTTP (`plan.spec.Endpoint`)."""
    bridge: str = ""
    """The bridge's filter (latin-1)."""
    message: int = 0
    """Of the largest message, in bytes."""


def send(channel: int, orders: Orders, trap: int) -> None:
    """Says everything at once; the channel is closed afterwards."""
    one = socket(fileno=channel)
    document = {name: getattr(orders, name) for name in Orders.__slots__}
    one.sendmsg([_FIRST], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [trap]))])
    one.sendall(json.dumps(document).encode())
    one.shutdown(SHUT_WR)
    one.close()


def receive(channel: int) -> tuple[Orders, int] | None:
    """The orders and the sandbox's end of the trap; None where the wrapper ended before it said any."""
    one = socket(fileno=channel)
    numbers = array.array("i")
    first, ancillary, _, _ = one.recvmsg(1, CMSG_LEN(numbers.itemsize), MSG_CMSG_CLOEXEC)
    if first != _FIRST:
        one.close()
        return None
    for _, _, data in ancillary:
        numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    pieces = []
    while piece := one.recv(_PIECE):
        pieces.append(piece)
    one.close()
    return Orders(**json.loads(b"".join(pieces))), numbers[0]
