"""What the wrapper tells a docker keeper to build: one JSON document."""

from __future__ import annotations

import json
from typing import Any

from sandbox.backend import early
from sandbox.records import dataclass


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


def spelt(orders: Orders) -> bytes:
    """The document."""
    return json.dumps({name: getattr(orders, name) for name in Orders.__slots__}).encode()


def receive(channel: int) -> tuple[Orders, int] | None:
    """The orders and the sandbox's end of the trap; None where the wrapper ended before it said any."""
    received = early.receive(channel)
    if received is None:
        return None
    document, trap = received
    if trap < 0:
        raise ValueError("orders without a trap")
    return Orders(**json.loads(document)), trap
