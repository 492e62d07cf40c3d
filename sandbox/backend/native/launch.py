"""The wrapper's side of a native sandbox: fork the keeper, hold its pipes."""

from __future__ import annotations

import os

from sandbox import linux
from sandbox.backend.native import seccomp, sensors
from sandbox.backend.native.orders import Orders
from sandbox.backend.pipes import channels, close
from sandbox.backend.running import Running, held
from sandbox.plan.spec import Spec


def start(spec: Spec, orders: Orders, trap: tuple[int, int] = (-1, -1)) -> Running:
    """Forks the keeper and returns at once, `ready` waits; call it before any thread exists.

    `trap` is a pair of connected sockets: the sandbox's end, which is closed here, and the gateway's.
    """
    from sandbox.backend.native import keeper

    made = channels(measured=True)
    process = os.fork()
    if process == 0:
        close(*made.of_wrapper(), *(fd for fd in trap[1:] if fd >= 0))
        keeper.run(spec, keeper.ends(made, trap[0]), orders)
    close(*made.of_keeper(), *(fd for fd in trap[:1] if fd >= 0))
    running = held(made, process)
    running.expected = sensors.expected(spec)
    return running


def orders(
    spec: Spec,
    session: str,
    env: tuple[tuple[str, str], ...],
    remove: tuple[str, ...] = (),
    *,
    listened: bool = False,
) -> Orders:
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
    return Orders(bpf, env, session, remove, _bridge_filter(spec))


def _bridge_filter(spec: Spec) -> bytes:
    if spec.endpoint is None:
        return b""
    from sandbox.backend.native import narrowed

    net = seccomp.load("net", linux.MACHINE)
    if not spec.endpoint.remote:
        return narrowed.only(net, narrowed.INSIDE, linux.MACHINE)
    # Where a server elsewhere is, the C library asks our name service, by the files of the view that say so.
    return narrowed.without(net, (*narrowed.PROGRAMS, *narrowed.SERVING), linux.MACHINE)
