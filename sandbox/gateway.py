"""The gateway as a process: forked beside the sandbox's build, with two descriptors and no other."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
from _socket import AF_UNIX, MSG_DONTWAIT, SHUT_WR, SOCK_CLOEXEC, SOCK_SEQPACKET, socket, socketpair
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sandbox import linux
from sandbox.backend.native import identity, seccomp
from sandbox.backend.native.init import HELD
from sandbox.egress.charge import Charge
from sandbox.egress.process import serve

TIER = "net"
Far = Callable[[int, int, Charge, bytes], None]
"""Runs a gateway elsewhere: its end of the trap, its channel, what it is charged with, its filter."""
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FIRST = 3


class Gateway:
    """The wrapper's hold on the gateway: the channel it reports over, and its process."""

    def __init__(self) -> None:
        self.trap = _pair()
        """The sandbox's end, then the gateway's: for `launch.start`, which closes the first."""
        self.channel = -1
        self._process = 0

    def start(self, charge: Charge, far: Far | None = None) -> None:
        """Forks it, once the sandbox is being built; from the main thread, before any other exists.

        `far`: it runs in a container, and what is forked only carries its channel.
        """
        # Read here: the gateway may not be able to open our files any more when it needs it.
        bpf = seccomp.load(TIER, linux.MACHINE)
        ours, theirs = _pair()
        process = os.fork()
        if process == 0:
            _run(self.trap[1], theirs, charge, bpf, far)
        os.close(theirs)
        os.close(self.trap[1])
        self.channel, self._process = ours, process

    def ask(self, word: bytes) -> bool:
        """Says one word; False where the gateway is gone, or reads nothing any more."""
        try:
            with self._adopted() as one:
                return one.send(word, MSG_DONTWAIT) == len(word)
        except OSError:
            return False

    def fault(self) -> str:
        """What ended it, where it has said so before anybody listened; else nothing."""
        import json

        with suppress(OSError, ValueError), self._adopted() as one:
            while said := one.recv(1 << 16, MSG_DONTWAIT):
                found = json.loads(said)
                if "fault" in found:
                    return str(found["fault"])
        return ""

    def hang_up(self) -> None:
        """Says that nothing more will be answered; what the gateway still has to say can be read."""
        with suppress(OSError), self._adopted() as one:  # it may be gone already
            one.shutdown(SHUT_WR)

    @contextmanager
    def _adopted(self) -> Iterator[socket]:
        one = socket(fileno=self.channel)
        try:
            yield one
        finally:
            one.detach()

    def close(self) -> None:
        """Ends it, whatever it does."""
        if self._process:
            with suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            self._process = 0
        if self.channel >= 0:
            os.close(self.channel)
            self.channel = -1


def _pair() -> tuple[int, int]:
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC)
    return ours.detach(), theirs.detach()


def _run(trap: int, channel: int, charge: Charge, bpf: bytes, far: Far | None) -> None:
    """Never returns. A fault ends the process, and the wrapper then ends the session."""
    try:
        gc.enable()
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.set_name("mcp-gateway")
        _leave_group()
        trap, channel = _keep_only(trap, channel)
        if far is not None:
            far(trap, channel, charge, bpf)
            os._exit(0)
        serve(trap, channel, HELD, charge, lambda: _give_up_rights(bpf))
        os._exit(0)
    except BaseException as error:
        _tell_fault(channel, error)
    finally:
        os._exit(1)


def _leave_group() -> None:
    """Clients signal the wrapper's whole group; our end is the wrapper's, not the signal's."""
    os.setsid()
    os.chdir("/")
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)


def _keep_only(*kept: int) -> tuple[int, ...]:
    """Closes every descriptor but these, which get the lowest numbers: no pipe of the client's stays open."""
    placed = tuple(range(_FIRST, _FIRST + len(kept)))
    # First beyond all the numbers that are wanted, so that none is overwritten before it was moved.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST + len(kept)) for fd in kept]
    null = os.open(os.devnull, os.O_RDWR)
    for target in range(_FIRST):
        os.dup2(null, target)
    for fd, target in zip(high, placed, strict=True):
        os.dup2(fd, target, inheritable=False)
    linux.close_from(_FIRST + len(kept))
    return placed


def _give_up_rights(bpf: bytes) -> None:
    """A uid of its own for a root caller, no capability, no new privilege, the servers' own filter."""
    if os.geteuid() == 0:
        own = identity.FIRST_UID + os.getpid()
        identity.drop_root(own, own)
    linux.clear_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    # A change of uid clears it (prctl(2)).
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    linux.install_filter(bpf)


def _tell_fault(channel: int, error: BaseException) -> None:
    import json

    last = error
    while last.__cause__ is not None:
        last = last.__cause__
    text = f"{type(last).__name__}: {last}"[:400]
    with suppress(OSError):
        os.write(channel, json.dumps({"fault": text}).encode())
