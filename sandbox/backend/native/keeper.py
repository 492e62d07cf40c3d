"""The keeper: a child of the wrapper, outside the sandbox, that ends it and cleans up after it.

It leaves the wrapper's process group (clients signal the whole group) and waits for three things: the
end of process 1, the end of the wrapper, or the end of the memory. Nothing of ours is left when it exits.
"""

from __future__ import annotations

import _pickle as pickle
import os
import select
import signal
from collections.abc import Callable

from sandbox import linux
from sandbox.backend import early, report
from sandbox.backend.aside import leave_group
from sandbox.backend.native import bridging, identity, init, view
from sandbox.backend.native.cgroup import Cgroup
from sandbox.backend.native.orders import Orders
from sandbox.backend.pipes import Channels
from sandbox.plan.spec import Spec
from sandbox.records import replace

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from typing import NoReturn


def ends(made: Channels, trap: int) -> init.Ends:
    """The keeper's ends of its pipes, and the sandbox's of the trap."""
    pipes = made.stdin[0], made.stdout[1], made.stderr[1], made.report[1], made.lifeline[0], made.sensors[1]
    return init.Ends(*pipes, trap)


def run(spec: Spec, ends: init.Ends, orders: Orders) -> None:
    """Never returns: exits 0 when everything is gone, 1 when something could not be removed."""

    def told() -> tuple[Spec, init.Ends, Orders]:
        leave_group()
        return spec, ends, orders

    _keep(ends.report, told)


def run_once_told(ends: init.Ends, channel: int) -> None:
    """The same with spec, trap and orders that come over the channel (`orders.spelt`); 0 where none come."""

    def told() -> tuple[Spec, init.Ends, Orders]:
        received = early.receive(channel)
        if received is None:
            os._exit(0)
        spec, orders = pickle.loads(received[0])
        received[0][:] = bytes(len(received[0]))
        return spec, replace(ends, trap=received[1]), orders

    _keep(ends.report, told)


def _keep(to: int, told: Callable[[], tuple[Spec, init.Ends, Orders]]) -> NoReturn:
    status = 1
    try:
        spec, ends, orders = told()
        cgroup = Cgroup(spec.limits, orders.session)
        try:
            _run(spec, ends, orders, cgroup)
        finally:
            status = 0 if _clean(cgroup, orders) else 1
    except BaseException as error:
        report.tell_error(to, "keeper", error)
    finally:
        os._exit(status)


def _clean(cgroup: Cgroup, orders: Orders) -> bool:
    removed = cgroup.remove()
    for path in orders.remove:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
    return removed


def _run(spec: Spec, ends: init.Ends, orders: Orders, cgroup: Cgroup) -> None:
    cgroup.create()
    pid, go, stager = _stage(spec, ends, orders, cgroup)
    if pid:
        try:
            _guard(pid, go, ends, cgroup, stager)
        finally:
            _end(pid, cgroup)


def _guard(pid: int, go: int, ends: init.Ends, cgroup: Cgroup, stager: int) -> None:
    process = os.pidfd_open(pid)
    oom = cgroup.oom_event()
    cgroup.attach(pid)
    report.tell(ends.report, "pid", pid)
    os.write(go, b"1")
    os.close(go)
    os.waitpid(stager, 0)  # it takes a while to end, and nobody waits for that
    for fd in (ends.stdin, ends.stdout, ends.stderr, ends.sensors, *([ends.trap] if ends.trap >= 0 else [])):
        os.close(fd)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(ends.lifeline, 0)  # only the hang-up: its bytes are for process 1
    if oom is not None:
        # The kernel ends one process and would let the others go on: a breach ends the tree.
        poll.register(oom, select.POLLIN)
    ready = {fd for fd, _ in poll.poll()}
    os.close(process)
    if kills := max(cgroup.oom_kills(), int(oom in ready)):
        report.tell(ends.report, "oom", kills, cgroup.peak())


def _end(pid: int, cgroup: Cgroup) -> None:
    # Our own child, not yet reaped: the pid cannot be another's.
    os.kill(pid, signal.SIGKILL)
    cgroup.kill()
    os.waitpid(pid, 0)


def _stage(spec: Spec, ends: init.Ends, orders: Orders, cgroup: Cgroup) -> tuple[int, int, int]:
    """Process 1, started through a stager: its pid (0 where that failed), what lets it go on, the stager."""
    told, tell = os.pipe()
    wait, go = os.pipe()
    stager = os.fork()
    if stager == 0:
        os.close(go)
        _prepare(spec, ends, orders, cgroup, tell, wait)
    os.close(tell)
    os.close(wait)
    pid = int(os.read(told, 32) or b"0")
    os.close(told)
    return pid, go, stager


def _prepare(spec: Spec, ends: init.Ends, orders: Orders, cgroup: Cgroup, tell: int, wait: int) -> None:
    """The stager: takes what needs root, gives root up, makes process 1 a child of the keeper."""
    step = "bridge"
    try:
        if spec.endpoint is not None:
            _load_bridge()
            bridging.load()
        step = "cgroup"
        doors = cgroup.doors()
        step = "identity"
        keeper = os.getppid()
        uid, gid = identity.host_ids(spec.identity, keeper)
        trees: view.Trees | None = None
        if spec.identity.drop:
            step = "mounts"
            linux.unshare(linux.CLONE_NEWNS)
            linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
            trees = view.gather(spec.view, identity.idmaps(spec.view, uid, gid))
            step = "drop root"
            identity.drop_root(uid, gid)
        step = "namespaces"
        inside = init.Inside(
            uid, gid, trees, orders.filter, orders.env, wait, doors,
            orders.bridge, orders.carried, orders.caller,
        )  # fmt: skip
        pid = linux.clone(init.flags(spec) | linux.CLONE_PARENT)
        if pid == 0:
            os.close(tell)
            init.run(spec, ends, inside)
        os.write(tell, str(pid).encode())
        os._exit(0)
    except BaseException as error:
        report.tell_error(ends.report, step, error)
    finally:
        os._exit(1)


def _load_bridge() -> None:
    """While our own files can be read: by root before it gives itself up, and before the view changes."""
    from sandbox.backend import bridge_process, near  # noqa: F401 - for process 1
    from sandbox.bridge.run import load

    load()
