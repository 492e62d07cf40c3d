"""The wrapper's hold on a sandbox that is being built or runs, whichever keeper realises it."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

from sandbox.backend import report
from sandbox.backend.base import Ended
from sandbox.backend.native import sensors
from sandbox.backend.pipes import Channels, close
from sandbox.errors import CommandNotExecutable, CommandNotFound, SandboxNotBuilt

RELEASE, TERMINATE, FREEZE, THAW = b"R", b"T", b"F", b"C"
"""The wrapper's commands: start the server (the first one), end it, stop every process, let them go on."""
ENOENT, EACCES, ENOEXEC = 2, 13, 8


class Running:
    """A sandbox that is being built or runs; closing the lifeline ends it, whole."""

    def __init__(
        self,
        stdio: tuple[int, int, int],
        process: int,
        lifeline: int,
        reader: report.Reader,
        channel: int = -1,
    ) -> None:
        self.stdin, self.stdout, self.stderr = stdio
        self.init_pid: int | None = None
        self.container = ""
        """The engine's id, where one realises it."""
        self.oom_kills = self.peak = 0
        """What the kernel ended for want of memory, and the most bytes that were in use where it says."""
        self.stats = ""
        """What an engine on another machine last told of the container, in JSON."""
        self.lost = ""
        """What became of the engine, where its end was the sandbox's."""
        self.not_executed: Exception | None = None
        """Where that was known only after the start."""
        self.cleaned = False
        """Whether the keeper said, by its status, that it left nothing."""
        self.sensors: dict[str, int] = {}
        """What `ready` received, by name (`disk:/tmp`, `syscalls`); closed, and empty, once it has ended."""
        self.expected: frozenset[str] = frozenset()
        """The sensors without which it does not start."""
        self._channel = channel
        self._process = process
        self._pidfd = os.pidfd_open(process)
        self._lifeline = lifeline
        self._report = reader
        self._ended: Ended | None = None
        self._gone = False
        self._executable = ""

    def release(self) -> None:
        """Lets the server start, as soon as the sandbox stands: what must come first is done."""
        self._command(RELEASE)

    def _command(self, command: bytes) -> None:
        # A sandbox that is gone already says so in its report.
        with suppress(BrokenPipeError):
            os.write(self._lifeline, command)

    def ready(self, executable: str) -> None:
        """Returns once the server has been executed; raises what stopped it, with nothing left behind."""
        self._executable = executable
        while (words := self._report.line()) is not None:
            if words[0] == "pid":
                self.init_pid = int(words[1])
            elif words[0] == "ready":
                self._receive_sensors(executable)
                return
            elif words[0] == "container":
                self.container = words[1]
            elif words[0] == "refused":
                self._refuse(" ".join(words[1:]))
            elif words[0] == "error":
                self._fail(words, executable)
        self._fail(["error", "start", "0", "the sandbox ended before the server was executed"], executable)

    def _receive_sensors(self, executable: str) -> None:
        if self._channel < 0:
            return
        try:
            self.sensors = sensors.receive(self._channel, self.expected)
        except OSError as error:
            self._fail(["error", "sensors", str(error.errno), str(error.args[-1])], executable)

    def _close_sensors(self) -> None:
        close(*self.sensors.values(), *([self._channel] if self._channel >= 0 else []))
        self.sensors, self._channel = {}, -1

    def _fail(self, words: list[str], executable: str) -> None:
        self.kill()
        self.wait()
        raise failure(words[1], int(words[2]), " ".join(words[3:]), executable)

    def _refuse(self, told: str) -> None:
        import json

        self.kill()
        self.wait()
        code, what, rule, hint = json.loads(told)
        raise SandboxNotBuilt(code, what, rule=rule, hint=hint)

    def take_stdin(self) -> int:
        """Gives the server's stdin away: only its new owner then keeps the server from its end of file."""
        taken, self.stdin = self.stdin, -1
        return taken

    def terminate(self) -> None:
        """SIGTERM for the server."""
        if self._lifeline >= 0:
            self._command(TERMINATE)

    def freeze(self, within: float) -> bool:
        """Stops every process of the sandbox; False: nobody said within so many seconds that they stand."""
        return self._answered(FREEZE, "frozen", within)

    def stop_again(self) -> None:
        """Stops whoever was woken meanwhile; what is said to it nobody waits for."""
        if self._lifeline >= 0:
            self._command(FREEZE)

    def thaw(self, within: float) -> bool:
        """Lets them go on; False: nobody said that they do."""
        return self._answered(THAW, "thawed", within)

    def _answered(self, command: bytes, word: str, within: float) -> bool:
        if self._lifeline < 0:
            return False
        self._command(command)
        until = time.monotonic() + within
        while self._report.ready(until - time.monotonic()):
            words = self._report.line()
            if words is None or words[0] in (word, "unable"):
                return words is not None and words[0] == word
            self._hear(words)
        return False

    def listen(self) -> str:
        """Hears what the keeper has said meanwhile; the newest `stats`."""
        while not self._gone and self._report.ready(0) and (words := self._report.line()) is not None:
            self._hear(words)
        return self.stats

    def kill(self) -> None:
        """Lets go of the lifeline: process 1 and the keeper end everything at once."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    @property
    def over(self) -> bool:
        """Whether the keeper has ended, and everything with it."""
        return self._gone

    def fileno(self) -> int:
        """The keeper's pidfd."""
        return self._pidfd

    def wait(self, timeout: float | None = None) -> Ended | None:
        """How the server ended, once the keeper has cleaned up; None after `timeout` seconds."""
        if not self._gone:
            readable, _, _ = select.select([self._pidfd], [], [], timeout)
            if not readable:
                return None
            self.cleaned = os.waitpid(self._process, 0)[1] == 0
            self._gone = True
            self._read_end()
            self.kill()
            os.close(self._pidfd)
            os.close(self._report.fd)
            self._close_sensors()
        return self._ended

    def _read_end(self) -> None:
        self._ended = self._ended or Ended(signal=9)  # process 1 that says nothing was killed
        while (words := self._report.line()) is not None:
            self._hear(words)

    def _hear(self, words: list[str]) -> None:
        if words[0] == "ended":
            number = int(words[2])
            self._ended = Ended(status=number) if words[1] == "status" else Ended(signal=number)
        elif words[0] == "oom":
            self.oom_kills, self.peak = int(words[1]), int([*words, "0"][2])
        elif words[0] == "stats":
            self.stats = words[1]
        elif words[0] == "lost":
            self.lost = " ".join(words[1:])
        elif words[0] == "error" and words[1] == "execute":
            self.not_executed = failure(words[1], int(words[2]), " ".join(words[3:]), self._executable)


def held(made: Channels, process: int) -> Running:
    """The wrapper's ends, around the keeper's process."""
    stdio = made.stdin[1], made.stdout[0], made.stderr[0]
    return Running(stdio, process, made.lifeline[1], report.Reader(made.report[0]), made.sensors[0])


def failure(step: str, code: int, text: str, executable: str) -> Exception:
    """The error a person sees for a step that failed."""
    if step == "execute" and code == ENOENT:
        what = f"`{executable}` or its interpreter does not exist inside the sandbox"
        return CommandNotFound("command-not-found", what, hint=f"mcp-sandbox plan -- {executable}")
    if step == "execute" and code == EACCES:
        what = f"`{executable}` may not be executed"
        return CommandNotExecutable("command-not-executable", what, hint=f"chmod +x {executable}")
    if step == "execute" and code == ENOEXEC:
        what = f"`{executable}` is neither a program of this machine nor a script with a `#!` line"
        return CommandNotExecutable("command-not-executable", what)
    return SandboxNotBuilt(
        "sandbox-not-built", f"step `{step}` failed, nothing ran\n{text}", hint="mcp-sandbox doctor --refresh"
    )
