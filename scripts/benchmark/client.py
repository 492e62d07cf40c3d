"""The measuring end: one child that speaks MCP over pipes, timed call by call."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

ANSWER_S = 60.0
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "bench", "version": "1"},
}


class Failed(Exception):
    """A server that did not answer as it should: the run has nothing to measure."""


class Client:
    """One server, bare or wrapped, in a session of its own so that all of it can be ended."""

    def __init__(
        self, argv: Sequence[str], environ: Mapping[str, str], cwd: str, ended_s: float = 0.3
    ) -> None:
        self.argv = argv
        self._ended_s = ended_s
        self._last = 0
        self._buffer = b""
        began = time.perf_counter()
        self.child = subprocess.Popen(  # noqa: S603 - the measured command
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(environ), cwd=cwd, start_new_session=True,
        )  # fmt: skip
        assert self.child.stdin is not None  # noqa: S101 - PIPE above
        assert self.child.stdout is not None  # noqa: S101 - PIPE above
        self._in, self._out = self.child.stdin.fileno(), self.child.stdout.fileno()
        os.set_blocking(self._in, False)
        try:
            self.ask("initialize", HELLO)
            self.start_s = time.perf_counter() - began
            self._write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        except BaseException:
            self.end()
            raise

    @property
    def root(self) -> int:
        """The process that was started; all others of this way are below it."""
        return self.child.pid

    def list_tools(self) -> None:
        """Reads the tools, as every client does before it calls one."""
        self.ask("tools/list", {})

    def call(self, tool: str, arguments: Mapping[str, object]) -> float:
        """Seconds that one tools/call takes, from the first byte written to the last byte read."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def burst(self, tool: str, arguments: Mapping[str, object], count: int, width: int) -> float:
        """Seconds that so many calls take, of which `width` are open at once."""
        params = {"name": tool, "arguments": arguments}
        frames = [
            {"jsonrpc": "2.0", "id": self._last + at + 1, "method": "tools/call", "params": params}
            for at in range(count)
        ]
        self._last += count
        datas = [json.dumps(frame).encode() + b"\n" for frame in frames]
        began = time.perf_counter()
        self._write(b"".join(datas[:width]))
        for at in range(count):
            message = json.loads(self._line())
            if "result" not in message or message["result"].get("isError"):
                raise Failed(f"{self.argv}: {str(message)[:300]}")
            if at + width < count:
                self._write(datas[at + width])
        return time.perf_counter() - began

    def found(self, tool: str, **arguments: object) -> list[float]:
        """What a tool that measures something itself has found."""
        result = self._answer("tools/call", {"name": tool, "arguments": arguments})[1]
        found: list[float] = result["structuredContent"]["found"]
        return found

    def ask(self, method: str, params: Mapping[str, object]) -> float:
        """Seconds until the result; an error, or a tool that failed, ends the run."""
        return self._answer(method, params)[0]

    def _answer(self, method: str, params: Mapping[str, object]) -> tuple[float, dict[str, Any]]:
        self._last += 1
        frame = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        data = json.dumps(frame).encode() + b"\n"
        began = time.perf_counter()
        self._write(data)
        while True:
            line = self._line()
            took = time.perf_counter() - began
            message = json.loads(line)
            if message.get("id") == self._last and "method" not in message:
                break
        if "result" not in message or message["result"].get("isError"):
            raise Failed(f"{self.argv}: {line[:300]!r}")
        return took, message["result"]

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._in, view) :]
            except BlockingIOError:
                select.select([], [self._in], [], ANSWER_S)

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if not select.select([self._out], [], [], ANSWER_S)[0]:
                raise Failed(f"{self.argv}: no answer within {ANSWER_S:.0f} s")
            parts = [self._buffer]
            while True:
                data = os.read(self._out, 1 << 20)
                if not data:
                    raise Failed(f"{self.argv}: the server ended with {self.child.wait()}")
                parts.append(data)
                if b"\n" in data:
                    break
            self._buffer = b"".join(parts)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def end(self) -> None:
        """Ends it as clients do: end of file first, and after `ended_s` seconds its whole process group."""
        assert self.child.stdin is not None  # noqa: S101 - PIPE above
        assert self.child.stdout is not None  # noqa: S101 - PIPE above
        self.child.stdin.close()
        try:
            self.child.wait(self._ended_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        self.child.stdout.close()
