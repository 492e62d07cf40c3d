"""The keeper of a native session and the process of its gateway, before there is anything to keep.

The keeper forks the gateway, as the wrapper's child: both are as small as the wrapper was before it had
loaded what carries messages, and neither stays with pages that the wrapper has changed since.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable

from sandbox import linux
from sandbox.backend import early, report
from sandbox.backend.aside import leave_group
from sandbox.backend.native import keeper, orders, sensors
from sandbox.backend.native.orders import Orders
from sandbox.backend.pipes import Channels, close
from sandbox.backend.running import Running
from sandbox.plan.spec import Spec

Life = Callable[[int], None]
"""A gateway's, with its channel; it never returns."""
_PID = 16
"""Bytes that name a process, at most."""
_PATIENCE_MS = 5000


class Early(early.Early):
    """A keeper that has what it needs in memory, and nothing of the wrapper's more."""

    def __init__(self, also: Iterable[int] = (), gateway: Life | None = None) -> None:
        """`also`: what else of this process they have no use for."""

        def keep(made: Channels, channel: int) -> None:
            close(*also)
            _keep(made, channel, gateway)

        super().__init__(keep, measured=True, gateway=gateway is not None)
        self._gateway = 0, self._made.gateway[0]

    def start(self, spec: Spec, told: Orders, trap: tuple[int, int]) -> Running:
        """As `launch.start`, without a fork."""
        self._hear()
        running = self.told(orders.spelt(spec, told), trap[0])
        running.expected = sensors.expected(spec)
        return running

    def take_gateway(self) -> tuple[int, int] | None:
        """Its process and channel, which are the caller's from now on; None where there is none."""
        process, channel = self._gateway
        if not process:
            return None
        self._gateway = 0, -1
        return process, channel

    def close(self) -> None:
        """Ends both, or whichever of them was told nothing."""
        if self.waits:
            self._hear()
        process, channel = self._gateway
        self._gateway = 0, -1
        if channel >= 0:
            os.close(channel)
        if process:
            os.kill(process, signal.SIGKILL)  # our child, not yet waited for: the pid cannot be another's
            os.waitpid(process, 0)
        super().close()

    def _hear(self) -> None:
        """Which process the gateway is: the keeper says so once it has forked it; nothing where it died."""
        process, channel = self._gateway
        if process or channel < 0:
            return
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        said = os.read(self.channel, _PID) if poll.poll(_PATIENCE_MS) else b""
        self._gateway = int(said or 0), channel


def _keep(made: Channels, channel: int, gateway: Life | None) -> None:
    """Never returns."""
    try:
        leave_group()
        if gateway is not None:
            _fork(made, channel, gateway)
    except BaseException as error:
        report.tell_error(made.report[1], "keeper", error)
        os._exit(1)
    keeper.run_once_told(keeper.ends(made, -1), channel)


def _fork(made: Channels, channel: int, life: Life) -> None:
    """The gateway, whose parent is ours (clone(2)): the wrapper waits for it, and takes it along."""
    end = made.gateway[1]
    process = linux.clone(linux.CLONE_PARENT)
    if process == 0:
        close(channel, *(fd for fd in made.of_keeper() if fd != end))
        life(end)
        os._exit(1)
    os.close(end)
    os.write(channel, str(process).encode())
