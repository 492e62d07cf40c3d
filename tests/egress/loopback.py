"""What the gateway's own tests stand on: servers of the host's loopback, and a world with a hostile program.

Nothing leaves the machine: only ports of this machine's own are allowed, and nobody connects to a name.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.inside import PYTHON, Attacker, World
from tests.backends import NATIVE
from tests.conftest import ROOT
from tests.e2e.remains import named, text

HOSTILE = Path(__file__).with_name("hostile.py")
MIB = 1 << 20
PATIENCE_S = 15.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Event = dict[str, Any]


class Place(World):
    """A caller's world whose server is the hostile program, and the log of what it did."""

    def _furnish(self) -> None:
        super()._furnish()
        shutil.copy(HOSTILE, self.program)
        self.own(self.program)

    def server(self) -> tuple[str, ...]:
        return (PYTHON, str(self.program / HOSTILE.name))

    def call(self, attacker: Attacker, name: str, /, seconds: float = PATIENCE_S, **asked: Any) -> Any:
        """What a tool got; it must not fail."""
        attacker.ask(name, **asked)
        message = attacker.message(seconds)
        assert "got" in message.get("result", {}), f"{name}{asked}: {message or attacker.finish()}"
        return message["result"]["got"]

    def profile(self, name: str, content: str) -> str:
        """The path of a profile that this caller trusts as its own."""
        return str(self.file(f"{name}.toml", self.home, f"schema = 1\n{content}"))

    def events(self, *kinds: str) -> list[Event]:
        """What is in the newest log, of these kinds."""
        logs = (self.home / ".local/state/mcp-sandbox/audit").glob("*.jsonl")
        newest = max(logs, key=lambda path: path.stat().st_mtime_ns)
        # The last line may be under way.
        whole = newest.read_text().rpartition("\n")[0].splitlines()
        return [event for event in map(json.loads, whole) if not kinds or event["kind"] in kinds]


@contextmanager
def place(caller: str, backend: str = NATIVE, images: str = "") -> Iterator[Place]:
    """A world of the caller's; skips where that caller cannot read this clone."""
    made = Place(caller, backend, images)
    try:
        probe = [*made.prefix(), sys.executable, "-c", "import sandbox.cli.main"]
        done = subprocess.run(probe, cwd="/", env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=30)
        if done.returncode != 0 and made.prefix():
            pytest.skip("this clone is root's alone: proved by the run as an ordinary user")
        yield made
    finally:
        made.remove()


def gateway(attacker: Attacker) -> int:
    """The gateway's pid."""
    return named("mcp-gateway", attacker.process.pid)


def resident(pid: int) -> int:
    """The memory that a process has now, in bytes."""
    line = next(line for line in text(f"/proc/{pid}/status").splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def denied(events: list[Event]) -> int:
    """How many attempts these denials stand for: each told by itself, and the sums."""
    sums = [event["detail"] for event in events if "repeated" in event["detail"]]
    counted: int = sum(one["repeated"] + one["further"] for one in sums)
    return len(events) - len(sums) + counted


def until(what: Callable[[], object], why: str, seconds: float = PATIENCE_S) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.005)


class Host:
    """Servers on the host's loopback, in a thread of their own; closed with everything they hold."""

    def __init__(self) -> None:
        self.received = bytearray()
        """All that came to a `sink`."""
        self.came = 0
        self.let_go = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Host:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    def serve(self, handler: Handler, address: str = "127.0.0.1", port: int = 0) -> int:
        """The port behind which `handler` serves each connection, to its end."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.came += 1
            try:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await handler(reader, writer)
            finally:
                writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

        async def start() -> int:
            server = await asyncio.start_server(serve, address, port, backlog=1024)
            self._servers.append(server)
            found: int = server.sockets[0].getsockname()[1]
            return found

        found: int = self._run(start())
        return found

    def release(self) -> None:
        """Lets those go who wait for it."""
        self._loop.call_soon_threadsafe(self.let_go.set)

    # --- handlers -----------------------------------------------------------------------------------

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Says what it hears."""
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()

    async def proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one CONNECT, whose head it keeps in `received`, and is the host itself: an echo."""
        self.received += await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await self.echo(reader, writer)

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes one request of SOCKS5 (RFC 1928, 1929), whose name it keeps in `received`; an echo too."""
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\5\2")
        await reader.readexactly((await reader.readexactly(2))[-1])  # the user's name
        await reader.readexactly((await reader.readexactly(1))[-1])  # the password
        writer.write(b"\1\0")
        size = (await reader.readexactly(5))[-1]
        self.received += (await reader.readexactly(size + 2))[:size]
        writer.write(b"\5\0\0\1" + bytes(6))
        await self.echo(reader, writer)

    async def sink(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes everything."""
        while data := await reader.read(1 << 16):
            self.received += data

    async def deaf(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reads nothing until it is let go."""
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self.let_go.wait()

    async def endless(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends for as long as somebody reads."""
        await reader.readline()
        while True:
            writer.write(b"d" * (1 << 16))
            await writer.drain()
