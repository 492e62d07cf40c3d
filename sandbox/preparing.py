"""A child prepares, while this process loads what the session will need.

Half of a start is the plan and half is the import of what carries and inspects the messages; neither needs
the other, and most machines have a second core. The child says what a person is to hear, and then what was
prepared, with the locks that keep its packages there (SCM_RIGHTS, unix(7)), or why nothing will be. While we
build the sandbox it checks what is to be started, and its word is awaited before anything runs. It never
outlives this process: a pipe that nobody else holds closes with us, and the kernel then ends the child
(fcntl(2), `O_ASYNC`).
"""

from __future__ import annotations

import _pickle as pickle
import array
import fcntl
import os
import select
import sys
from _socket import (
    AF_UNIX,
    CMSG_LEN,
    MSG_CMSG_CLOEXEC,
    SCM_RIGHTS,
    SOCK_CLOEXEC,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
    socketpair,
)
from contextlib import ExitStack, contextmanager, suppress

from sandbox import importing, processors
from sandbox.errors import LIMITS, SandboxError, SandboxNotBuilt
from sandbox.records import replace

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    from sandbox.prepared import Prepared

    Progress = Callable[[str], None]
    Checks = list[Callable[[], None]]
    Make = Callable[[Progress, Checks], Any]
    """What it leaves to be checked goes into the list: each check raises why nothing may run."""
else:
    import _signal as signal  # the enums of `signal` take half a millisecond of a start

BOTH = ("json", "sandbox.plan.spec", "sandbox.plan.facts", "sandbox.prepared")
"""What the child needs as this process does…"""
FIRST = ("sandbox.linux", "sandbox.backend.native.keeper", "sandbox.gateway")
"""…what a keeper and a gateway need…"""
NEEDED = (
    *("sandbox.wire.structs", "sandbox.session", "sandbox.audit.clerk", "sandbox.evidence"),
    *("sandbox.metering", "sandbox.breaches", "sandbox.outbound", "sandbox.wire.jsonrpc"),
    *("sandbox.relay.limits", "sandbox.relay.stdio", "sandbox.status", "sandbox.watch", "sandbox.secrecy"),
    *("sandbox.inspect.secrets", "sandbox.inspect.protocol", "sandbox.inspect.schemas.legacy"),
    *("sandbox.pins", "sandbox.inspect.pins"),
    *("sandbox.pin_telling", "sandbox.inspect.poison", "sandbox.inspect.poison_texts"),
    *("sandbox.inspect.features", "sandbox.host.inside", "sandbox.relay.inspection", "sandbox.relay.asking"),
)
"""…and what else any session imports: the long ones before the child has anything to say, then inner modules
first, so that each takes a moment."""
_ASKED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
"""With what one asks a process to end."""
_SIZE = 4
_RIGHTS = SOL_SOCKET, SCM_RIGHTS
_MOST = 253
"""Descriptors of one message (SCM_MAX_FD)."""


class Child:
    """The process that has made something and goes on to check it."""

    def __init__(self, pid: int, told: socket, held: int) -> None:
        self.pid = pid
        self._told, self._held = told, held
        self._heard = self._waited = False

    def confirm(self) -> None:
        """Returns once all is checked; raises what the checks have found. Later calls do nothing."""
        if self._heard:
            return
        self._heard = True
        with self.ending():
            kind, *said = _hear(self._told)
            if kind == "refused":
                raise _refusal(*said)
        self._told.close()
        os.close(self._held)

    def wait(self) -> None:
        """Until it is gone and no zombie; `confirm` comes first."""
        self.confirm()
        if not self._waited:
            self._waited = True
            os.waitpid(self.pid, 0)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Whatever fails within is the end of it."""
        try:
            yield
        except BaseException as error:
            self._told.close()
            os.close(self._held)
            self._heard = self._waited = True
            _end(self.pid, error)
            raise


def beside(
    make: Make, progress: Progress, fork: Callable[[tuple[int, ...]], None] | None = None
) -> tuple[Any, Child]:
    """What a child makes, and the child, to be confirmed and waited for; call it before any thread exists.

    `fork` is called once a keeper's modules and a gateway's are there, with what they are to close.
    """
    for name in BOTH:
        importing.module(name)
    told, tell, lifeline, held, pid = _forked()
    if pid == 0:
        told.close()
        os.close(held)
        _child(make, tell, lifeline)
    tell.close()
    os.close(lifeline)
    child = Child(pid, told, held)
    with child.ending():
        for name in FIRST:
            importing.module(name)
        if fork is not None:
            fork((told.fileno(), held))
        made, locks = _outcome(told, progress)
        _take(told, locks)
    return made, child


def _forked() -> tuple[socket, socket, int, int, int]:
    """Both ends of the socket, the child's and our end of the lifeline, and what fork(2) said."""
    with ExitStack() as stack:
        try:
            told, tell = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
            stack.callback(told.close)
            stack.callback(tell.close)
            lifeline, held = os.pipe()
            stack.callback(os.close, lifeline)
            stack.callback(os.close, held)
            here = processors.current()
            child = os.fork()
        except OSError as error:
            what = f"the process that plans the session cannot be started: {error.strerror}"
            raise SandboxNotBuilt("not-prepared", what, hint=LIMITS) from error
        stack.pop_all()
    if child == 0:
        processors.leave(here)
    return told, tell, lifeline, held, child


def confirm(prepared: Prepared) -> None:
    """What was prepared may run: until this returns nothing of it does."""
    if prepared.child is not None:
        prepared.child.confirm()


def wait_for(prepared: Prepared) -> Prepared:
    """The same, once it is confirmed and the process that has made it is gone."""
    if prepared.child is None:
        return prepared
    prepared.child.wait()
    return replace(prepared, child=None)


def _end(child: int, error: BaseException) -> None:
    """Its build, if there is one, ends with it; where it was asked to end, as `stop` does, so are we."""
    if not isinstance(error, _Silent):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and (number := os.WTERMSIG(status)) in _ASKED:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


class _Silent(SandboxNotBuilt):
    """The child has ended without a word."""

    def __init__(self) -> None:
        what = "the process that plans the session ended without a word"
        super().__init__("not-prepared", what, hint="mcp-sandbox plan -- COMMAND")


# --- the parent's side -----------------------------------------------------------------------------


def _outcome(told: socket, progress: Progress) -> tuple[Any, int]:
    """What was made, and how many locks come with it; every refusal as if it had been made here."""
    poll = select.poll()
    poll.register(told.fileno(), select.POLLIN)
    needed = iter(NEEDED)
    while True:
        if not poll.poll(0) and (name := next(needed, None)) is not None:
            importing.module(name)
            continue
        kind, *said = _hear(told)
        if kind == "said":
            progress(said[0])
        elif kind == "refused":
            raise _refusal(*said[:-1])
        else:
            return said[0], said[1]


def _hear(told: socket) -> Any:
    size = int.from_bytes(_read(told, _SIZE), "little")
    body = _read(told, size)
    try:
        return pickle.loads(body)
    finally:
        body[:] = bytes(size)  # what is freed would be seen in the memory of those whom we fork


def _read(told: socket, size: int) -> bytearray:
    body, at = bytearray(size), 0
    while at < size:
        count = told.recv_into(memoryview(body)[at:])
        if not count:
            raise _Silent
        at += count
    return body


def _take(told: socket, locks: int) -> None:
    """As many descriptors; they are never closed, as those of a lock taken here would not be."""
    while locks:
        one, told_of, _, _ = told.recvmsg(1, CMSG_LEN(4 * _MOST), MSG_CMSG_CLOEXEC)
        if not one:
            raise _Silent
        locks -= sum(len(held) // 4 for level, kind, held in told_of if (level, kind) == _RIGHTS)


def _refusal(kind: type[SandboxError], args: tuple[Any, ...], held: dict[str, Any]) -> SandboxError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(held)
    return error


# --- the child's side ------------------------------------------------------------------------------


def _child(make: Make, tell: socket, lifeline: int) -> NoReturn:
    status = 1
    try:
        _live_by(lifeline)
        ours = frozenset(_locks())
        checks: Checks = []
        said = _made(make, lambda text: _say(tell, "said", text), checks)
        taken = [fd for fd in _locks() if fd not in ours]
        with suppress(BrokenPipeError):  # if our parent is gone, nobody wants it any more
            _say(tell, *said, len(taken))
            _hand_over(tell, taken)
        word = _checked(checks) if said[0] == "made" else said
        with suppress(BrokenPipeError):
            _say(tell, *word)
        status = 0
    except BaseException as error:
        if sys.stderr is not None:
            import traceback

            traceback.print_exception(error)
    finally:
        os._exit(status)


def _made(make: Make, progress: Progress, checks: Checks) -> tuple[Any, ...]:
    try:
        return "made", make(progress, checks)
    except SandboxError as error:
        # What was changed explains more than what came of it.
        found = _checked(checks)
        return found if found[0] == "refused" else _refused(error)


def _checked(checks: Checks) -> tuple[Any, ...]:
    try:
        for check in checks:
            check()
    except SandboxError as error:
        return _refused(error)
    return ("checked",)


def _refused(error: SandboxError) -> tuple[Any, ...]:
    return "refused", type(error), error.args, error.__dict__


def _say(tell: socket, *said: Any) -> None:
    body = pickle.dumps(said)
    tell.sendall(len(body).to_bytes(_SIZE, "little") + body)


def _hand_over(tell: socket, locks: list[int]) -> None:
    """What is sent is held by the socket until it is received: this process may end."""
    for at in range(0, len(locks), _MOST):
        tell.sendmsg([b"\0"], [(*_RIGHTS, array.array("i", locks[at : at + _MOST]))])


def _locks() -> list[int]:
    """Those of the store, where anything had to do with it."""
    store = sys.modules.get("sandbox.supply.store")
    return [] if store is None else list(store.locks)


def _live_by(lifeline: int) -> None:
    """Ends this process as soon as nobody holds the other end; a terminal's signals are the parent's."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGIO, signal.SIG_DFL)  # its default is the end
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGIO,))
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        os._exit(1)  # it was closed before we asked
