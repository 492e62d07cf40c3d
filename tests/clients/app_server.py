"""Codex's app server, which its editors speak to: what it answers a list of requests, in order."""

from __future__ import annotations

import json
import select
import subprocess
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 90.0
OPENING = {
    "clientInfo": {"name": "test", "title": "test", "version": "1"},
    "capabilities": {"experimentalApi": True},
}


class AppServer:
    """One run of it; a context manager."""

    def __init__(self, argv: list[str], cwd: Path, environ: dict[str, str]) -> None:
        self.child = subprocess.Popen(
            argv, cwd=cwd, env=environ,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            bufsize=0,  # what was read is in no buffer of ours: `select` sees all that waits
        )  # fmt: skip
        self.asked = 0

    def __enter__(self) -> AppServer:
        self.ask("initialize", OPENING)
        self._say({"method": "initialized"})
        return self

    def __exit__(self, *_: object) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        assert self.child.stdout is not None
        self.child.stdout.close()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """The result of one request; an error is the end of the test."""
        self.asked += 1
        self._say({"id": self.asked, "method": method, "params": params})
        deadline = time.monotonic() + PATIENCE_S
        while True:
            message = self._heard(deadline)
            if message.get("id") == self.asked and "method" not in message:
                assert "result" in message, message
                found: dict[str, Any] = message["result"]
                return found

    def _say(self, message: dict[str, Any]) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(message).encode() + b"\n")
        self.child.stdin.flush()

    def _heard(self, deadline: float) -> dict[str, Any]:
        out = self.child.stdout
        assert out is not None
        assert select.select([out], [], [], max(0.0, deadline - time.monotonic()))[0], "no answer"
        line = out.readline()
        assert line, "it ended"
        found: dict[str, Any] = json.loads(line)
        return found
