"""One `mcp-sandbox run` over pipes: lines in, frames out, and an end that leaves nothing behind.

Whatever happens to us, the child's stdin ends with us, and it takes its sandbox along.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from sandbox.serve.heard import Heard, Lines, Strange
from sandbox.serve.words import Principal

UNWRITTEN, BACKLOG = 1 << 20, 4 << 20
"""Bytes that a child has not taken: from the first on nobody is told that they were sent, beyond the second
nothing more is taken for it."""
STDERR_LINE = 4096
EOF_S, TERM_S, KILL_S = 2.5, 3.0, 5.0
"""The child has two seconds for its own orderly end (docs/architecture.md); nobody waits for it for ever."""
UNREAD_S = 0.1
"""One that does not read will not see the end of its input either."""
PROGRAM = (sys.executable, "-P", "-c", "import sandbox.cli.main as m; raise SystemExit(m.main())")


class Listener(Protocol):
    """Who hears of a child."""

    def delivered(self, heard: Heard) -> None:
        """The child wrote a message."""

    def ended_with(self, why: str) -> None:
        """The child's output has ended, and nothing more will come."""


def arguments(route: Sequence[str], principal: Principal) -> list[str]:
    """How the sandbox of `principal` is started, narrowed to what its token is for."""
    narrowed = [f"--only-tools={glob}" for glob in principal.tools or ()]
    return ["run", *narrowed, *route]


class Child:
    """A started child; `say` is told each line of its stderr."""

    def __init__(self, listener: Listener, say: Callable[[str], None]) -> None:
        self._listener = listener
        self._say = say
        self._lines = Lines()
        self._process: subprocess.Popen[bytes] | None = None
        self._in: asyncio.WriteTransport | None = None
        self._out: asyncio.ReadTransport | None = None
        self._err: asyncio.ReadTransport | None = None
        self._early: list[bytes | bytearray] = []
        """What was sent while the pipes were made."""
        self._opening: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._gone = asyncio.Event()
        self._told = self._held = False

    @property
    def pid(self) -> int:
        """The child's pid; 0 before its start."""
        return self._process.pid if self._process else 0

    async def start(self, argv: Sequence[str]) -> None:
        """Start it; raises OSError where that cannot be done."""
        loop = asyncio.get_running_loop()
        # In a session of its own: what ends us from a terminal is ours to pass on.
        self._process = process = subprocess.Popen(  # noqa: ASYNC220, S603
            list(argv), bufsize=0, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        # Needs neither a thread for each child nor SIGCHLD.
        pidfd = os.pidfd_open(process.pid)
        loop.add_reader(pidfd, self._exited, pidfd)
        self._opening = asyncio.ensure_future(self._connect(process))
        await asyncio.shield(self._opening)

    async def _connect(self, process: subprocess.Popen[bytes]) -> None:
        loop = asyncio.get_running_loop()
        self._out, _ = await loop.connect_read_pipe(lambda: _Output(self._read, self._finish), process.stdout)
        self._err, _ = await loop.connect_read_pipe(lambda: _Lines(self._say), process.stderr)
        self._in, _ = await loop.connect_write_pipe(lambda: _Input(self._room), process.stdin)
        for line in self._early:
            self._in.write(line)
        self._early.clear()

    def send(self, line: bytes | bytearray) -> None:
        """Write one message, which ends in LF; a child that is gone takes it and says nothing."""
        if self._in is None:
            self._early.append(line)
        elif not self._in.is_closing():
            self._in.write(line)

    @property
    def is_full(self) -> bool:
        """Whether so much waits for a child that does not read that nothing may be added."""
        waiting = sum(map(len, self._early)) + (self._in.get_write_buffer_size() if self._in else 0)
        return waiting > BACKLOG

    async def drain(self) -> None:
        """Returns once the child has taken most of what was sent."""
        if not self._room.is_set():
            await self._room.wait()

    def hold(self) -> None:
        """Read nothing more for now."""
        if self._out is not None and not self._out.is_closing() and not self._held:
            self._held = True
            self._out.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        if self._out is not None and not self._out.is_closing() and self._held:
            self._held = False
            self._out.resume_reading()

    async def close(self) -> None:
        """End it, at first in the way that it expects; when this returns it is gone."""
        if self._process is None or self._opening is None:
            return
        await asyncio.wait([self._opening])
        self.go_on()
        patience = UNREAD_S if self._in is not None and self._in.get_write_buffer_size() else EOF_S
        if self._in is not None and not self._in.is_closing():
            # What was sent and is not taken would keep the pipe open, and nobody waits for its answer.
            (self._in.abort if self._in.get_write_buffer_size() else self._in.close)()
        for seconds, number in (
            (patience, signal.SIGTERM),
            (TERM_S, signal.SIGKILL),
            (KILL_S, signal.SIGKILL),
        ):
            if await self._is_gone(seconds):
                break
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
        for transport in (self._out, self._err):
            if transport is not None:
                transport.close()
        self._finish()

    async def _is_gone(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def _read(self, data: bytes) -> None:
        try:
            for heard in self._lines.feed(data):
                self._listener.delivered(heard)
        except Strange as strange:
            # The relay passes on nothing but messages: this is no child of ours any more.
            self._say(f"what it wrote is no message: {strange}")
            self._finish("its output could not be understood")

    def _finish(self, why: str = "") -> None:
        if self._told:
            return
        self._told = True
        if self._in is not None and not self._in.is_closing():
            self._in.abort()
        self._listener.ended_with(why or "the sandbox has ended")

    def _exited(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        if self._process is not None:
            self._process.wait()
        self._gone.set()


class _Input(asyncio.BaseProtocol):
    """Tells when the child takes what is written."""

    def __init__(self, room: asyncio.Event) -> None:
        self._room = room

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - for the type
        transport.set_write_buffer_limits(UNWRITTEN)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.set()


class _Output(asyncio.Protocol):
    """Hands on what arrives."""

    def __init__(self, read: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._read = read
        self._end = end

    def data_received(self, data: bytes) -> None:
        self._read(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()


class _Lines(asyncio.Protocol):
    """Says each line, a long one in pieces."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._held = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._held = (self._held + data).split(b"\n")
        for line in lines:
            self._tell(line)
        if len(self._held) > STDERR_LINE:
            self._tell(self._held)
            self._held = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._held:
            self._tell(self._held)

    def _tell(self, line: bytes) -> None:
        for at in range(0, len(line) or 1, STDERR_LINE):
            self._say(line[at : at + STDERR_LINE].decode(errors="replace"))
