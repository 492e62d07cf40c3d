"""The gateway's process from its fork on: takes the trap, waits until it is needed, gives up rights, serves.

Nothing heavy is imported at the top: this runs in a fork of a wrapper that has just started.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from sandbox.egress.charge import Charge
from sandbox.egress.words import SETTLE, SETTLED
from sandbox.trap import Trapped, receive

MOST_FILES = 8192
PATIENCE_MS = 1000
"""A server is mostly up by then: what we load while it starts, it waits for where processors are few."""


def serve(trap: int, channel: int, held: bytes, charge: Charge, harden: Callable[[], None]) -> None:
    """Returns when the wrapper has closed `channel`, or when the sandbox ended before it stood.

    `held` is said on `trap` once all its sockets are here. Then not a module is loaded until the first
    attempt, which nearly no server makes where nothing is allowed; elsewhere for `PATIENCE_MS` at most.
    """
    traps = receive(trap)
    if not traps:
        return
    os.write(trap, held)
    os.close(trap)
    _raise_file_limit()
    # Root keeps its rights until all is loaded: the uid that it takes may not be able to read our files.
    # It has read nothing of the server's by then.
    if os.geteuid() != 0:
        harden()
    _await_first(traps, channel, PATIENCE_MS if charge.network.allow else None)
    _import_all()
    if any(url.startswith("socks") for url in charge.proxies.values()):
        _import_socks()
    if os.geteuid() == 0:
        harden()
    _run(charge, traps, channel)


def _await_first(traps: list[Trapped], channel: int, patience: int | None) -> None:
    """Returns when something reaches the trap, or after so many milliseconds in which nothing happens."""
    poll = select.poll()
    for fd in (channel, *(one.fd for one in traps)):
        poll.register(fd, select.POLLIN)
    while [fd for fd, _ in poll.poll(patience)] == [channel]:
        if os.read(channel, 16) != SETTLE:
            os._exit(0)
        os.write(channel, SETTLED)


def _import_all() -> None:
    """Everything that will be used: afterwards our own files may be out of reach (another uid)."""
    import asyncio.staggered
    import concurrent.futures.thread
    import encodings.idna
    import stringprep
    import unicodedata

    import sandbox.egress.gateway

    _ = (asyncio, concurrent, encodings, stringprep, unicodedata, sandbox)


def _import_socks() -> None:
    """What only a SOCKS proxy of the host's needs."""
    import python_socks.async_.asyncio

    _ = python_socks


def _raise_file_limit() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _run(charge: Charge, traps: list[Trapped], channel: int) -> None:
    # An allowed name is asked for as it stands: no search domain makes another one of it (resolv.conf(5)),
    # nor does a file of aliases (hostname(7)).
    os.environ["LOCALDOMAIN"] = ""
    os.environ.pop("HOSTALIASES", None)
    import asyncio
    import socket

    from sandbox.egress.gateway import Gateway

    async def run(one: socket.socket) -> None:
        await Gateway(charge, traps, one).run()

    one = socket.socket(fileno=channel)
    try:
        # Not `asyncio.run`: after a fault it would wait for connections that still have something to tell.
        asyncio.new_event_loop().run_until_complete(run(one))
    finally:
        one.detach()  # what went wrong is told over it
