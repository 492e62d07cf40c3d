"""Process 1 of the sandbox: builds it from inside, executes the server, reaps, and ends with it.

It stays the only process with a descriptor of ours and is not dumpable, so the server, although of
the same uid, can read neither its memory nor its /proc entry (ptrace(2), "ptrace access mode").
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from errno import EPIPE
from functools import partial

from sandbox import linux
from sandbox.backend import report
from sandbox.backend.native import bridging, cgroup, identity, rlimits, seccomp, sensors, view
from sandbox.backend.native.bridging import Carried
from sandbox.backend.native.reaper import Children, Reaper
from sandbox.backend.running import RELEASE
from sandbox.netlink import Netlink
from sandbox.plan.spec import Spec, own_port
from sandbox.records import dataclass, field, replace
from sandbox.trap import DNS, set_trap

NAMESPACES = (
    linux.CLONE_NEWUSER
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWCGROUP
)
HELD = b"H"
"""The gateway's word that it holds the trap."""
_NO_GATEWAY = "the egress gateway ended before it held the trap"
_CAUGHT = {signal.SIGKILL, signal.SIGSTOP}


@dataclass(frozen=True, slots=True)
class Ends:
    """The descriptors that the processes of one sandbox hold."""

    stdin: int
    stdout: int
    stderr: int
    report: int
    lifeline: int
    """Readable end: bytes are commands, end of file means that the wrapper is gone."""
    sensors: int
    """Where the descriptors go out by which the wrapper measures."""
    trap: int = -1
    """Where the trap's sockets go out to the gateway; -1 where none stands, and nothing is allowed."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What process 1 needs besides the spec: who it is, the trees taken as root, the filter, the go-ahead."""

    uid: int
    gid: int
    trees: view.Trees | None
    filter: bytes
    env: tuple[tuple[str, str], ...]
    go: int
    doors: tuple[int, ...] = ()
    """Into its cgroup, where it goes in by itself."""
    bridge: bytes = b""
    """The filter of the bridge, where there is one."""
    carried: Carried | None = None
    """What the bridge is given in whose place no server runs."""
    caller: Mapping[str, str] = field(default_factory=dict)
    """What the bridge forgets."""


def flags(spec: Spec) -> int:
    """The namespaces of the sandbox; the build sandbox alone keeps the host's network."""
    return NAMESPACES | (linux.CLONE_NEWNET if spec.network != "host" else 0)


def run(spec: Spec, ends: Ends, inside: Inside) -> None:
    """Never returns: ends with the server, or when the wrapper is gone."""
    step = "start"
    try:
        linux.set_name("mcp-init")
        linux.scrub_arguments("mcp-init")
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        step = "map ids"
        identity.map_ids(spec.identity, inside.uid, inside.gid)
        rlimits.share_watchers()
        step = "view"
        _build_view(spec, inside)
        step = "sensors"
        sensors.send_disks(ends.sensors, spec)
        step = "network"
        if spec.network != "host":
            _set_network(spec, ends.trap)
        linux.set_hostname(spec.identity.hostname)
        step = "privileges"
        _give_up_privileges()
        step = "cgroup"
        cgroup.enter(inside.doors)
        # Only now: opening the log takes longer than all of the above, and runs beside it.
        step = "go-ahead"
        if os.read(inside.go, 1) != b"1" or os.read(ends.lifeline, 1) != RELEASE:
            os._exit(0)
        step = "gateway"
        _await_gateway(ends.trap)
        step = "server"
        children = _start(spec, ends, inside)
        report.tell(ends.report, "ready")
        Reaper(children, ends.lifeline, ends.report).run()
    except BaseException as error:  # the sandbox must not outlive a failure of any kind
        report.tell_error(ends.report, step, error)
    finally:
        os._exit(1)


def _build_view(spec: Spec, inside: Inside) -> None:
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
    trees = view.gather(spec.view, {}) if inside.trees is None else inside.trees
    view.build(spec.view, trees)


def _set_network(spec: Spec, to: int) -> None:
    """The trap before the server's first instruction; without a gateway `lo` alone, where nothing listens."""
    if to >= 0:
        try:
            set_trap((rule.port for rule in spec.egress.allow), to, own_port(spec))
        except BrokenPipeError as error:
            raise ConnectionError(EPIPE, _NO_GATEWAY) from error
        return
    if spec.egress.allow:
        raise PermissionError(1, "hosts are allowed and no gateway stands")
    with Netlink() as netlink:
        netlink.loopback_up()


def _await_gateway(trap: int) -> None:
    """The gateway holds every socket; from here on its end is the sandbox's."""
    if trap < 0:
        return
    if os.read(trap, 1) != HELD:
        raise ConnectionError(EPIPE, _NO_GATEWAY)
    os.close(trap)


def _give_up_privileges() -> None:
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    # Giving up capabilities clears the parent-death signal (prctl(2)): ask for it again.
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _start(spec: Spec, ends: Ends, inside: Inside) -> Children:
    children, stdio = Children(0), (ends.stdin, ends.stdout, ends.stderr)
    if spec.endpoint is not None and not spec.endpoint.remote:
        children, stdio = _start_bridge(spec, ends, inside)
    failed, fail = os.pipe()
    server = os.fork()
    if server == 0:
        if inside.carried is not None:
            _carry(spec, ends, inside, inside.carried, fail)
        _execute(spec, ends, stdio, inside, fail)
    os.close(fail)
    for fd in {ends.stdin, ends.stdout, ends.stderr, ends.sensors, *stdio}:
        os.close(fd)
    message = os.read(failed, report.PIPE_BUF)
    os.close(failed)
    if message:
        os.write(ends.report, message)
        os._exit(1)
    linux.install_filter(seccomp.unlistened(inside.filter))
    return replace(children, server=server)


def _start_bridge(spec: Spec, ends: Ends, inside: Inside) -> tuple[Children, tuple[int, int, int]]:
    """The bridge has the client's messages; the server a stdin that says nothing, and stderr alone."""
    from sandbox.backend import bridge_process, near
    from sandbox.bridge.run import Target

    endpoint = spec.endpoint
    assert endpoint is not None  # noqa: S101 - asked for where there is one
    bridge = os.fork()
    if bridge == 0:
        tables = near.Tables({DNS, *(rule.port for rule in spec.egress.allow)})
        dial = partial(near.connect, endpoint.port, tables)
        target = Target(endpoint, dial=dial, message=spec.message)
        streams = bridge_process.Streams(ends.stdin, ends.stdout, ends.stderr)
        bridge_process.forget(inside.caller)
        bridge_process.carry(target, streams, inside.bridge, tuple(tables.descriptors))
    stdin, hold = os.pipe()
    return Children(0, bridge, hold), (stdin, ends.stderr, ends.stderr)


def _carry(spec: Spec, ends: Ends, inside: Inside, carried: Carried, fail: int) -> None:
    """The bridge where a server would be executed; that `fail` is closed says that it has begun."""
    from sandbox.backend import bridge_process

    try:
        os.setsid()
        rlimits.apply(spec.limits)
        target = bridging.target(spec, carried)
        streams = bridge_process.Streams(ends.stdin, ends.stdout, ends.stderr)
        bridge_process.forget(inside.caller)
        bridge_process.carry(target, streams, inside.bridge)
    except BaseException as error:
        report.tell_error(fail, "bridge", error)
    finally:
        os._exit(127)


def _execute(spec: Spec, ends: Ends, stdio: tuple[int, int, int], inside: Inside, fail: int) -> None:
    step = "server"
    try:
        os.setsid()
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        linux.close_on_exec_from(3)
        os.umask(0o022)
        step = "working directory"
        os.chdir(spec.cwd)
        step = "limits"
        rlimits.apply(spec.limits)
        _default_signals()
        step = "seccomp"
        _send_listener(ends.sensors, linux.install_filter_listening(inside.filter))
        step = "execute"
        if spec.observed:  # nobody listens yet who would let execve(2) go on
            linux.execute_at(seccomp.UNASKED, spec.argv[0], spec.argv, dict(inside.env))
        os.execve(spec.argv[0], spec.argv, dict(inside.env))  # noqa: S606 - no shell is the point
    except BaseException as error:
        report.tell_error(fail, step, error)
    finally:
        os._exit(127)


def _send_listener(to: int, listener: int) -> None:
    """Both descriptors end here, before the server begins: not even close-on-exec has to be relied on."""
    sensors.send(to, {sensors.SYSCALLS: listener})
    os.close(listener)
    os.close(to)


def _default_signals() -> None:
    # Python ignores SIGPIPE, the keeper ignores more; an ignored signal would stay ignored after execve.
    for number in signal.valid_signals() - _CAUGHT:
        if signal.getsignal(number) not in (None, signal.SIG_DFL):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
