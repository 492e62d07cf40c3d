"""The docker keeper: a child of the wrapper that owns everything of one session at the engine.

It loads the SDK while the wrapper still plans, then does what its orders say, and ends with the server, with
the wrapper (whose death closes the lifeline) or with the engine. When it exits 0, nothing is left.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EPIPE

from sandbox.backend import report
from sandbox.backend.aside import leave_group
from sandbox.backend.docker import orders as orders_of
from sandbox.backend.pipes import Channels
from sandbox.backend.running import RELEASE
from sandbox.records import dataclass

HELD = b"H"
"""The gateway's word that it holds the trap (`native.init.HELD`); a far one has said it already."""
LAST_OUTPUT_S = 1.0
LAST_OUTPUT_ASKED_S = 0.2
"""A client that asked for the end may read nothing any more, and its two seconds are nearly over."""
TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.backend.docker.container import Container


@dataclass(frozen=True, slots=True)
class Ends:
    """The keeper's ends of the pipes to the wrapper, and the channel over which its orders come."""

    stdin: int
    stdout: int
    stderr: int
    report: int
    lifeline: int
    orders: int

    @classmethod
    def of(cls, made: Channels, orders: int) -> Ends:
        """Those of fresh pipes."""
        ends = made.stdin[0], made.stdout[1], made.stderr[1], made.report[1], made.lifeline[0]
        return cls(*ends, orders)


def run(ends: Ends, environ: Mapping[str, str]) -> None:
    """Never returns: exits 0 when everything is gone, 1 when something could not be removed."""
    status = 1
    try:
        leave_group()
        status = 0 if _serve(ends, environ) else 1
    except BaseException as error:
        report.tell_error(ends.report, "keeper", error)
    finally:
        os._exit(status)


def _serve(ends: Ends, environ: Mapping[str, str]) -> bool:
    """Whether nothing is left."""
    # With the SDK, whose import is why this process begins before there is anything to do.
    from sandbox.backend.docker.container import Container
    from sandbox.errors import SandboxError

    api = _early(environ)
    received = orders_of.receive(ends.orders)
    if received is None:
        return True
    told, trap = received
    if not _locked(told.remove[-1:]):  # the lease is the last of them
        return True  # whoever reaped the lease takes it that nothing is made any more
    container = Container(told, environ, api)
    try:
        _live(container, ends, trap)
    except SandboxError as error:
        report.tell_refusal(ends.report, error)
    except BaseException as error:
        report.tell_error(ends.report, container.step, error)
    gone = container.remove()
    if container.lost:
        report.tell(ends.report, "lost", container.lost)
    return gone and _removed(told.remove)


def _locked(paths: Sequence[str]) -> bool:
    """Takes the leases for as long as this process lives; False where one is gone, as its wrapper is."""
    for path in paths:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        fcntl.flock(fd, fcntl.LOCK_SH)
        if not os.fstat(fd).st_nlink:
            return False
    return True


def _early(environ: Mapping[str, str]) -> object:
    """A client before there are orders; one that cannot be had is an error once somebody wants it."""
    from sandbox import engine
    from sandbox.errors import SandboxError

    try:
        return engine.connect(environ)
    except SandboxError:
        return None


def _live(container: Container, ends: Ends, trap: int) -> None:
    """From nothing to the server's end; returns when the wrapper wants no more of it, or it is over."""
    from sandbox.backend.docker.attend import Attendance

    container.build(trap, lambda: _wanted(ends.lifeline))
    container.step = "go-ahead"
    if os.read(ends.lifeline, 1) != RELEASE:
        return
    container.step = "gateway"
    if not container.held_far and os.read(trap, 1) != HELD:
        raise ConnectionError(EPIPE, "the egress gateway ended before it held the trap")
    os.close(trap)
    bridge = container.bridge(ends.stdin, ends.stdout, ends.stderr)
    out = container.start(ends.stdin, ends.stdout, ends.stderr)
    report.tell(ends.report, "container", container.id)
    if container.pid:
        report.tell(ends.report, "pid", container.pid)
    report.tell(ends.report, "ready")
    if not container.pid:
        container.tell_stats(ends.report)
    attendance = Attendance(container, bridge, ends.lifeline, ends.report)
    attendance.run()
    if not attendance.over:
        container.remove_server()
    out.join(LAST_OUTPUT_ASKED_S if attendance.asked else LAST_OUTPUT_S)
    if container.oom:
        report.tell(ends.report, "oom", container.oom)
    if out.not_executed:
        report.tell(ends.report, "error", "execute", *out.not_executed)
    elif (status := attendance.status) is not None:
        report.tell(ends.report, "ended", *(("status", status) if status >= 0 else ("signal", -status)))


def _wanted(lifeline: int) -> bool:
    """Whether the wrapper still holds its end."""
    poll = select.poll()
    poll.register(lifeline, 0)
    return not poll.poll(0)


def _removed(paths: Sequence[str]) -> bool:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)
    return True
