"""Starts a prepared server in its sandbox as a child process that we are the client of."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sandbox.errors import SandboxError
from sandbox.prepared import Prepared

_KILLED_S = 5.0


class Started:
    """The session's process, and the pipes to it."""

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self._status: int | None = None

    def end(self) -> int:
        """Closes the server's stdin, as clients end a session; the exit status, as `run` has it."""
        self._close(self.stdin)
        if self._status is None:
            # The session ends its server within two seconds of this, by its own deadlines.
            _, waited = os.waitpid(self.pid, 0)
            self._status = os.waitstatus_to_exitcode(waited)
        return self._status

    def close(self) -> None:
        """Ends what still runs."""
        if self._status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            self.end()
        self._close(self.stdin)
        self._close(self.stdout)

    def _close(self, end: int) -> None:
        if end == self.stdin:
            self.stdin = -1
        elif end == self.stdout:
            self.stdout = -1
        if end >= 0:
            os.close(end)


@contextmanager
def started(prepared: Prepared, note: Callable[[str], None]) -> Iterator[Started]:
    """The server while the block lasts; `note` is called in the other process."""
    server_in, ours_out = os.pipe()
    ours_in, server_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours_out)
        os.close(ours_in)
        os._exit(_session(prepared, note, server_in, server_out))
    os.close(server_in)
    os.close(server_out)
    running = Started(pid, ours_out, ours_in)
    try:
        yield running
    finally:
        running.close()


def _session(prepared: Prepared, note: Callable[[str], None], stdin: int, stdout: int) -> int:
    from sandbox.session import run

    try:
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.close(stdin)
        os.close(stdout)
        return run(prepared, note)
    except SandboxError as error:
        note(str(error))
        return error.exit_status
    except BaseException as error:
        # Nothing of this process may go on in the caller's code.
        note(f"error: internal\n  {type(error).__name__}: {error}")
        return 1
