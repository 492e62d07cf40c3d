"""One of several runs of a server, each a whole session in a process of its own."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from typing import NoReturn

from sandbox import linux
from sandbox.errors import SandboxError
from sandbox.event import Event
from sandbox.prepared import Prepared
from sandbox.relay.crashes import Outcome
from sandbox.relay.outlet import widen
from sandbox.session import SIGNALS, Session

Note = Callable[[str], None]
Refuse = Callable[[SandboxError], int]
READ = 1 << 16
UNKNOWN = "unknown"
"""Who ended a session that could not say so any more."""


class Attempt:
    """A session whose client is this process; it dies with it. Forked by a process of one thread."""

    def __init__(
        self, prepared: Prepared, note: Note, refuse: Refuse, after: Event | None, began: float
    ) -> None:
        """`after` and `began`: what came before it, and when the first one began."""
        ours, theirs = _channels()
        self.stdin, self.stdout, self.told = ours
        self.ending = False
        self._end = ("", UNKNOWN)
        parent = os.getpid()
        # A signal that comes before the child has its own handlers would be taken for ours.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._process = os.fork()
        if self._process == 0:
            _close(ours)
            _become(parent, theirs, before, lambda told: _session(prepared, note, refuse, after, began, told))
        self.pidfd = os.pidfd_open(self._process)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _close(theirs)
        for fd in ours:
            os.set_blocking(fd, False)

    @property
    def gone(self) -> bool:
        """Whether its process has ended."""
        return bool(select.select([self.pidfd], [], [], 0)[0])

    def signal(self, number: int) -> None:
        """Passes a signal on."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def write(self, data: bytes) -> int:
        """As much of `data` as it takes now; of one that reads nothing any more, all is lost."""
        try:
            return os.write(self.stdin, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def read(self) -> bytes:
        """What it says, or nothing for now."""
        with suppress(BlockingIOError):
            return os.read(self.stdout, READ)
        return b""

    def close_stdin(self) -> None:
        """The client's end of file."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def hear_of_end(self) -> None:
        """Reads from `told` what the session says of its end; from then on it takes no call any more."""
        with suppress(BlockingIOError):
            if words := os.read(self.told, READ):
                self.ending = True
                session, how = json.loads(words)
                self._end = session, how

    def outcome(self) -> Outcome:
        """How it ended, once it is gone; closes what it held."""
        status = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        self.hear_of_end()
        self.close_stdin()
        _close((self.stdout, self.told, self.pidfd))
        return Outcome(*self._end, status if status >= 0 else 128 - status)


def _channels() -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Both ends of its stdin, its stdout, and the pipe on which it tells how it ended."""
    stdin, stdout, told = os.pipe(), os.pipe(), os.pipe()
    for _, end in (stdin, stdout):
        widen(end)
    return (stdin[1], stdout[0], told[0]), (stdin[0], stdout[1], told[1])


def _close(descriptors: Iterable[int]) -> None:
    for fd in descriptors:
        os.close(fd)


def _become(
    parent: int, ends: tuple[int, int, int], mask: Iterable[int], run: Callable[[int], int]
) -> NoReturn:
    """In the child: a wrapper as if the client had started it, which ends when its parent does."""
    status = 1
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.set_wakeup_fd(-1)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if os.getppid() == parent:  # else it died before the signal of its death was asked for
            os.dup2(ends[0], 0)
            os.dup2(ends[1], 1)
            _close(ends[:2])
            status = run(ends[2])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _session(
    prepared: Prepared, note: Note, refuse: Refuse, after: Event | None, began: float, told: int
) -> int:
    """The whole session, and how it ended written to `told`; its errors are said as without a restart."""
    try:
        with ExitStack() as stack:
            session = Session(prepared, note, stack)
            session.after, session.began = after, began
            session.ending = lambda how: _tell(told, [session.id, how])
            return session.run()
    except SandboxError as error:
        return refuse(error)


def _tell(told: int, what: list[str]) -> None:
    os.write(told, json.dumps(what).encode())
