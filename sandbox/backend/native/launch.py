"""The wrapper's side of a native sandbox: fork the keeper, hold its pipes."""

from __future__ import annotations

import os
from collections.abc import Iterable

from sandbox import linux
from sandbox.backend import early
from sandbox.backend.native import keeper, seccomp, sensors
from sandbox.backend.native.init import Ends
from sandbox.backend.running import Channels, Running, channels
from sandbox.plan.spec import Spec


class Early(early.Early):
    """A keeper that has what it needs in memory, and nothing of the wrapper's more."""

    def __init__(self, close: Iterable[int] = ()) -> None:
        """`close`: what of this process the keeper has no use for."""

        def keep(made: Channels, channel: int) -> None:
            for fd in close:
                os.close(fd)
            keeper.run_once_told(_ends(made, -1), channel)

        super().__init__(keep, measured=True)

    def start(self, spec: Spec, orders: keeper.Orders, trap: tuple[int, int]) -> Running:
        """As `start` below, without a fork."""
        running = self.told(keeper.spelt(spec, orders), trap[0])
        running.expected = sensors.expected(spec)
        return running


def start(spec: Spec, orders: keeper.Orders, trap: tuple[int, int] = (-1, -1)) -> Running:
    """Forks the keeper and returns at once, `ready` waits; call it before any thread exists.

    `trap` is a pair of connected sockets: the sandbox's end, which is closed here, and the gateway's.
    """
    made = channels(measured=True)
    process = os.fork()
    if process == 0:
        made.keeper_keeps()
        if trap[1] >= 0:
            os.close(trap[1])
        keeper.run(spec, _ends(made, trap[0]), orders)
    if trap[0] >= 0:
        os.close(trap[0])
    running = made.wrapper_keeps(process)
    running.expected = sensors.expected(spec)
    return running


def _ends(made: Channels, trap: int) -> Ends:
    ends = made.stdin[0], made.stdout[1], made.stderr[1], made.report[1], made.lifeline[0], made.sensors[1]
    return Ends(*ends, trap)


def orders(
    spec: Spec,
    session: str,
    env: tuple[tuple[str, str], ...],
    remove: tuple[str, ...] = (),
    *,
    listened: bool = False,
) -> keeper.Orders:
    """What the keeper needs, read while the host's file system is still in sight.

    `listened`: somebody answers what comes at the sensor `syscalls`; without that such a call would wait.
    """
    bpf = seccomp.load(spec.syscalls, linux.MACHINE, listened=listened)
    if spec.narrows:
        from sandbox.backend.native import narrowed  # for a few jobs of a build alone

        bpf = narrowed.narrowing(bpf, linux.MACHINE)
    if spec.observed and listened:
        from sandbox.backend.native.observing import observing  # parses the tables, for `learn` alone

        bpf = observing(bpf, spec.syscalls, linux.MACHINE)
    return keeper.Orders(bpf, env, session, remove, _bridge_filter(spec))


def _bridge_filter(spec: Spec) -> bytes:
    if spec.endpoint is None:
        return b""
    from sandbox.backend.native import narrowed

    net = seccomp.load("net", linux.MACHINE)
    if not spec.endpoint.remote:
        return narrowed.only(net, narrowed.INSIDE, linux.MACHINE)
    # Where a server elsewhere is, the C library asks our name service, by the files of the view that say so.
    return narrowed.without(net, (*narrowed.PROGRAMS, *narrowed.SERVING), linux.MACHINE)
