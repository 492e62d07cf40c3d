"""A keeper that is forked before it has anything to keep, and is told later what to build.

It gets ready meanwhile. And it is small: a fork copies the tables of every page that its process has, and
whoever then writes to one has it copied, both of which a sandbox does four times over.
"""

from __future__ import annotations

import array
import os
from _socket import (
    AF_UNIX,
    CMSG_LEN,
    MSG_CMSG_CLOEXEC,
    SCM_RIGHTS,
    SHUT_WR,
    SOCK_CLOEXEC,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
    socketpair,
)
from collections.abc import Callable
from contextlib import closing, suppress

from sandbox.backend.pipes import Channels, channels, close
from sandbox.backend.running import Running, held
from sandbox.errors import LIMITS, SandboxNotBuilt

_FIRST = b"O"
_PIECE = 1 << 16


class Early:
    """One keeper and its pipes; call it before any thread exists. `close` without orders ends it."""

    def __init__(
        self, keep: Callable[[Channels, int], None], *, measured: bool = False, gateway: bool = False
    ) -> None:
        """`keep` is the keeper's whole life: its pipes, and the channel for `receive`."""
        opened: list[int] = []
        try:
            made = channels(measured=measured, gateway=gateway)
            opened += (*made.of_wrapper(), *made.of_keeper())
            ours, theirs = (one.detach() for one in socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC))
            opened += (ours, theirs)
            self._process = os.fork()
        except OSError as error:
            close(*opened)
            what = f"the process that keeps the sandbox cannot be started: {error.strerror}"
            raise SandboxNotBuilt("not-prepared", what, hint=LIMITS) from error
        if self._process == 0:
            close(ours, *made.of_wrapper())
            keep(made, theirs)
            os._exit(1)
        close(theirs, *made.of_keeper())
        self._made, self.channel = made, ours
        self.waits = True
        """Whether it has been told nothing yet."""

    def told(self, orders: bytes, trap: int) -> Running:
        """Gives the orders and returns at once; the sandbox's end of the trap (-1: none) is closed here."""
        running = self._taken()
        with suppress(ConnectionError):  # it has ended, and `ready` hears of it
            send(self.channel, orders, trap)
        if trap >= 0:
            os.close(trap)
        return running

    def close(self) -> None:
        """Ends a keeper that was told nothing."""
        if not self.waits:
            return
        os.close(self.channel)
        running = self._taken()
        running.kill()
        running.wait(5.0)
        close(running.stdin, running.stdout, running.stderr)

    def _taken(self) -> Running:
        assert self.waits  # noqa: S101 - one keeper builds once
        self.waits = False
        return held(self._made, self._process)


def send(channel: int, orders: bytes, trap: int) -> None:
    """Says everything at once; the channel is closed afterwards."""
    rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [trap]))] if trap >= 0 else []
    with closing(socket(fileno=channel)) as one:
        one.sendmsg([_FIRST], rights)
        one.sendall(orders)
        one.shutdown(SHUT_WR)


def receive(channel: int) -> tuple[bytearray, int] | None:
    """The orders and the sandbox's end of the trap (or -1); None where the wrapper ended without any."""
    one = socket(fileno=channel)
    numbers = array.array("i")
    first, ancillary, _, _ = one.recvmsg(1, CMSG_LEN(numbers.itemsize), MSG_CMSG_CLOEXEC)
    for _, _, data in ancillary:
        numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    orders, piece = bytearray(), bytearray(_PIECE)
    while first and (count := one.recv_into(piece)):
        orders += memoryview(piece)[:count]
    piece[:] = bytes(_PIECE)  # what is freed would be seen in the memory of those whom we fork
    one.close()
    return (orders, numbers[0] if numbers else -1) if first == _FIRST else None
