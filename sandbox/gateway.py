"""The gateway as a process: with two descriptors and no other, and told what it is charged with."""

from __future__ import annotations

import _pickle as pickle
import array
import fcntl
import gc
import os
import signal
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, SCM_RIGHTS, SHUT_WR, SOL_SOCKET, socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sandbox import linux
from sandbox.backend.native import identity, seccomp
from sandbox.backend.native.init import HELD
from sandbox.backend.pipes import pair
from sandbox.egress.charge import Charge
from sandbox.egress.process import serve

TIER = "net"
Far = Callable[[int, int, Charge, bytes], None]
"""Runs a gateway elsewhere: its end of the trap, its channel, what it is charged with, its filter."""
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_FIRST = 3
_PIECE = 1 << 16


class Gateway:
    """The wrapper's hold on the gateway: the channel it reports over, and its process."""

    def __init__(self) -> None:
        self.trap = pair()
        """The sandbox's end, then the gateway's: for `launch.start`, which closes the first."""
        self.channel = -1
        self._process = 0

    def start(self, charge: Charge, far: Far | None = None, taken: tuple[int, int] | None = None) -> None:
        """Begins it, once the sandbox is being built; from the main thread, before any other exists.

        `taken`: a process that is there already, and its channel (`run_once_told`). `far`: it runs in a
        container, and what is forked only carries its channel.
        """
        # Read here: the gateway may not be able to open our files any more when it needs it.
        bpf = seccomp.load(TIER, linux.MACHINE)
        if taken is not None:
            self._process, self.channel = taken
            with suppress(ConnectionError), self._adopted() as one:  # it has ended, and the sandbox with it
                _tell(one, self.trap[1], pickle.dumps((charge, bpf)))
            os.close(self.trap[1])
            return
        ours, theirs = pair()
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


def run_once_told(channel: int) -> None:
    """The life of one that was forked before it was known what it is for; never returns."""
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        (channel,) = _keep_only(channel)
        trap, charge, bpf = _told(channel)
        _begin()
        _serve(trap, channel, charge, bpf)
    except BaseException as error:
        _tell_fault(channel, error)
    finally:
        os._exit(1)


def _tell(one: socket, trap: int, charge: bytes) -> None:
    """How long it is, with the end of the trap, and then the charge, in messages that any socket takes."""
    one.sendmsg([str(len(charge)).encode()], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [trap]))])
    for at in range(0, len(charge), _PIECE):
        one.send(charge[at : at + _PIECE])


def _told(channel: int) -> tuple[int, Charge, bytes]:
    one, rights, body = socket(fileno=channel), array.array("i"), bytearray()
    size, ancillary, _, _ = one.recvmsg(32, CMSG_LEN(rights.itemsize), MSG_CMSG_CLOEXEC)
    for _, _, data in ancillary:
        rights.frombytes(data)
    while size and len(body) < int(size) and (piece := one.recv(_PIECE)):
        body += piece
    one.detach()
    if not size or len(body) < int(size):
        os._exit(0)  # the wrapper has ended, or has no use for it
    (trap,) = rights
    charge, bpf = pickle.loads(body)
    return trap, charge, bpf


def _run(trap: int, channel: int, charge: Charge, bpf: bytes, far: Far | None) -> None:
    """Never returns. A fault ends the process, and the wrapper then ends the session."""
    try:
        _begin()
        trap, channel = _keep_only(trap, channel)
        if far is not None:
            far(trap, channel, charge, bpf)
            os._exit(0)
        _serve(trap, channel, charge, bpf)
    except BaseException as error:
        _tell_fault(channel, error)
    finally:
        os._exit(1)


def _begin() -> None:
    gc.enable()
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    linux.set_name("mcp-gateway")
    _leave_group()


def _serve(trap: int, channel: int, charge: Charge, bpf: bytes) -> None:
    serve(trap, channel, HELD, charge, lambda: _give_up_rights(bpf))
    os._exit(0)


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
