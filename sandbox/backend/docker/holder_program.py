"""Process 1 of the holder container, which owns the sandbox's network namespace and ends with the session.

It listens on a socket in the one folder that is mounted. The first connection is its owner: when that ends,
it ends. Whoever says `TAKE` first gets it: every other connection is closed, the taker's is the lifeline from
then on, over which the ports and the descriptor come where the trap's sockets go. Of a server that speaks
HTTP it asks there for connections to the server's port, which nobody outside of this namespace could make.

Once the trap stands it is an ordinary user without a capability; CAP_SETUID is there for that alone, since
this Python has no ctypes for capset(2). It runs from a bundle, with what a minimal Python has (no `json`).
"""

from __future__ import annotations

import os
import select
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_SEQPACKET
from contextlib import suppress
from socket import socket

from sandbox.backend.docker.handover import HELD, LARGEST, TAKE, TAKEN, answer, order
from sandbox.backend.near import Tables, connect
from sandbox.trap import DNS, set_trap

ADDRESS = "/s/s"
PATIENCE_S = 120
"""Without an owner for so long, whoever made this container is gone."""
NOBODY = 65534
_BACKLOG = 16


def main(address: str = ADDRESS) -> None:
    """Returns when nobody needs this namespace any more."""
    taker = await_taker(_listener(address))
    if taker is None:
        return
    with suppress(OSError):
        os.unlink(address)
    ours = hold(taker)
    if ours is None:
        return
    tables = Tables(ours)
    with suppress(ConnectionError):
        while answer(taker, lambda port: connect(port, tables)):
            pass


def _listener(address: str) -> socket:
    """Under its name only once it listens, for everyone who reaches the folder."""
    one = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    os.umask(0)
    one.bind(f"{address}.new")
    one.listen(_BACKLOG)
    one.setblocking(False)
    os.rename(f"{address}.new", address)
    return one


def await_taker(listener: socket) -> socket | None:
    """The connection that took this holder, all others closed; None when the owner is gone, or never came."""
    door = _Door(listener)
    try:
        return door.taker()
    finally:
        door.close()


class _Door:
    """The listener and every connection that has not asked yet."""

    def __init__(self, listener: socket) -> None:
        self._listener = listener
        self._waiting: dict[int, socket] = {}
        self._owner = -1
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def taker(self) -> socket | None:
        while True:
            ready = self._poll.poll(PATIENCE_S * 1000 if self._owner < 0 else None)
            if not ready:
                return None
            for fd, _ in ready:
                if fd == self._listener.fileno():
                    self._admit()
                elif self._takes(fd):
                    return self._waiting.pop(fd)
                elif fd == self._owner:
                    return None

    def _admit(self) -> None:
        with suppress(OSError):  # it may have gone again
            one, _ = self._listener.accept()
            self._waiting[one.fileno()] = one
            self._poll.register(one, select.POLLIN)
            if self._owner < 0:
                self._owner = one.fileno()

    def _takes(self, fd: int) -> bool:
        """Whether it asked and was told that it has it; who says anything else is let go."""
        if _word(self._waiting[fd]) == TAKE and _say(self._waiting[fd], TAKEN):
            return True
        self._poll.unregister(fd)
        self._waiting.pop(fd).close()
        return False

    def close(self) -> None:
        for one in (self._listener, *self._waiting.values()):
            one.close()


def _word(one: socket) -> bytes:
    try:
        return one.recv(64)
    except OSError:
        return b""


def _say(one: socket, word: bytes) -> bool:
    try:
        return one.send(word) == len(word)
    except OSError:
        return False


def hold(taker: socket) -> set[int] | None:
    """Sets the trap as the taker says, gives up every right, and answers `HELD` or what went wrong.

    The ports on which the trap listens; None where it does not stand.
    """
    try:
        ports, own, to = order(taker)
        try:
            set_trap(ports, to, own)
        finally:
            os.close(to)
        drop_rights()
    except Exception as error:  # whatever it was: the taker must not wait for an answer
        _say(taker, f"{getattr(error, 'errno', None) or 0} {error}".encode()[:LARGEST])
        return None
    return {*ports, DNS} if _say(taker, HELD) else None


def drop_rights() -> None:
    """Leaving uid 0 clears every set of capabilities (capabilities(7), "Effect of user ID changes")."""
    os.setresuid(NOBODY, NOBODY, NOBODY)
    with open("/proc/self/status") as file:
        left = [line for line in file if line.startswith(("CapPrm", "CapEff", "CapAmb"))]
    if any(int(line.split()[1], 16) for line in left):
        raise PermissionError(1, "capabilities survived the change of user")
