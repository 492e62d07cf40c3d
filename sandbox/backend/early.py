"""A keeper that is forked before it has anything to keep, and is told later what to build.

It gets ready meanwhile. And it is small: a fork copies the tables of every page that its process has, and a
sandbox takes four of them, which cost several times as much once the wrapper has loaded all that it needs.
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
from contextlib import ExitStack, closing, suppress

from sandbox.backend.running import Channels, Running, channels
from sandbox.errors import LIMITS, SandboxNotBuilt

_FIRST = b"O"
_PIECE = 1 << 16


class Early:
    """One keeper and its pipes; call it before any thread exists. `close` without orders ends it."""

    def __init__(self, keep: Callable[[Channels, int], None], *, measured: bool = False) -> None:
        """`keep` is the keeper's whole life: its pipes, and the channel for `receive`."""
        self._channels: Channels | None = None
        with ExitStack() as stack:
            try:
                made = channels(measured)
                stack.callback(made.close)
                ours, theirs = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
                stack.callback(ours.close)
                stack.callback(theirs.close)
                self._process = os.fork()
            except OSError as error:
                what = f"the process that keeps the sandbox cannot be started: {error.strerror}"
                raise SandboxNotBuilt("not-prepared", what, hint=LIMITS) from error
            stack.pop_all()
        self._channels, self._orders = made, ours.detach()
        if self._process == 0:
            self._channels.keeper_keeps()
            os.close(self._orders)
            keep(self._channels, theirs.detach())
            os._exit(1)
        theirs.close()

    def told(self, orders: bytes, trap: int) -> Running:
        """Gives the orders and returns at once; the sandbox's end of the trap (-1: none) is closed here."""
        running = self._taken()
        with suppress(ConnectionError):  # it has ended, and `ready` hears of it
            send(self._orders, orders, trap)
        if trap >= 0:
            os.close(trap)
        return running

    def close(self) -> None:
        """Ends a keeper that was told nothing."""
        if self._channels is None:
            return
        os.close(self._orders)
        running = self._taken()
        running.kill()
        running.wait(5.0)
        for fd in (running.stdin, running.stdout, running.stderr):
            os.close(fd)

    def _taken(self) -> Running:
        assert self._channels is not None  # noqa: S101 - one keeper builds once
        running = self._channels.wrapper_keeps(self._process)
        self._channels = None
        return running


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
