"""The wrapper's side of a container: fork the keeper early, tell it later what to build."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socketpair
from collections.abc import Mapping

from sandbox.backend.docker import keeper, orders
from sandbox.backend.docker.orders import Orders
from sandbox.backend.running import Channels, Running, channels


class Early:
    """A keeper that waits for its orders and meanwhile gets ready; `close` without any ends it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._channels: Channels | None = channels()
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        self._orders = ours.detach()
        self._process = os.fork()
        if self._process == 0:
            self._channels.keeper_keeps()
            os.close(self._orders)
            made = self._channels
            ends = keeper.Ends(
                made.stdin[0],
                made.stdout[1],
                made.stderr[1],
                made.report[1],
                made.lifeline[0],
                theirs.detach(),
            )
            keeper.run(ends, environ)
        theirs.close()

    def start(self, told: Orders, trap: tuple[int, int]) -> Running:
        """Gives the orders and returns at once; the sandbox's end of `trap` is closed here."""
        assert self._channels is not None  # noqa: S101 - one keeper builds once
        running = self._channels.wrapper_keeps(self._process)
        self._channels = None
        orders.send(self._orders, told, trap[0])
        os.close(trap[0])
        return running

    def close(self) -> None:
        """Ends a keeper that was told nothing."""
        if self._channels is None:
            return
        os.close(self._orders)
        running = self._channels.wrapper_keeps(self._process)
        self._channels = None
        running.kill()
        running.wait(5.0)
        for fd in (running.stdin, running.stdout, running.stderr):
            os.close(fd)
