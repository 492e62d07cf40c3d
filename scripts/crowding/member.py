"""One sandbox of a crowd, as its client sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

ANSWER_S = 60.0
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "crowd", "version": "1"},
}
TEXT = "x" * 100
"""With the frame around it a call of some 200 bytes."""


class Failed(Exception):
    """An answer that is none."""


class Member:
    """A server behind `mcp-sandbox run`; one call at a time."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._began = time.perf_counter()
        self.start_s = 0.0
        # S603: our own program with words of ours.
        self._child = subprocess.Popen(  # noqa: S603
            list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(environ), cwd="/",
        )  # fmt: skip
        assert self._child.stdin is not None  # noqa: S101 - PIPE above
        assert self._child.stdout is not None  # noqa: S101 - PIPE above
        self._in, self.fd = self._child.stdin.fileno(), self._child.stdout.fileno()
        self._buffer = b""
        self._last = 0
        self._sent = 0.0
        self._ask("initialize", HELLO)

    @property
    def pid(self) -> int:
        """The wrapper's."""
        return self._child.pid

    def greet(self) -> None:
        """Waits for the answer to `initialize`."""
        self._wait()
        self.start_s = time.perf_counter() - self._began
        os.write(self._in, b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')

    def call(self) -> float:
        """Seconds of one call, waited for."""
        self.send()
        return self._wait()

    def send(self) -> None:
        """A call; its answer is heard by `hear`."""
        self._ask("tools/call", {"name": "echo", "arguments": {"message": TEXT}})

    def hear(self) -> float | None:
        """What stdout has; seconds since the call once its answer is whole and right."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            raise Failed("the session ended")
        self._buffer += data
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            return None
        took, self._buffer = time.perf_counter() - self._sent, rest
        message = json.loads(line)
        if message.get("id") != self._last or "result" not in message:
            raise Failed(line[:200].decode(errors="replace"))
        return took

    def _ask(self, method: str, params: Mapping[str, object]) -> None:
        self._last += 1
        frame = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}
        data = json.dumps(frame).encode() + b"\n"
        self._sent = time.perf_counter()
        os.write(self._in, data)

    def _wait(self) -> float:
        while select.select([self.fd], [], [], ANSWER_S)[0]:
            took = self.hear()
            if took is not None:
                return took
        raise Failed(f"no answer within {ANSWER_S:.0f} s")

    def end(self) -> int:
        """Ends it as clients do; its exit status."""
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            return self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()
