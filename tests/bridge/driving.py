"""A client's end of the bridge, which runs in a thread: as much of the relay as these tests need."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.bridge.run import Target, run
from sandbox.plan.spec import Endpoint

Json = dict[str, Any]
PATIENCE = 10.0
INITIALIZE: Json = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
INITIALIZED: Json = {"jsonrpc": "2.0", "method": "notifications/initialized"}
VERSION = "2026-07-28"


def at(port: int, path: str = "/mcp", **given: Any) -> Target:
    """A server on this machine's loopback."""
    options = {name: given.pop(name) for name in ("tls", "dial", "message", "login") if name in given}
    headers = tuple(given.pop("sent", ()))
    endpoint = Endpoint("127.0.0.1", port, path, tls="tls" in options, **{"ready": 10.0, **given})
    return Target(endpoint, headers, **options)


def call(id: int | str, method: str = "tools/call", **params: Any) -> Json:
    """A request of the revisions with a session."""
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def modern(id: int | str, method: str = "tools/call", **params: Any) -> Json:
    """A request of the stateless revision."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    }
    return call(id, method, **params, _meta={**meta, **params.pop("_meta", {})})


class Bridged:
    """The bridge as its client sees it."""

    def __init__(self, target: Target) -> None:
        client_in, self._stdin = os.pipe()
        self._stdout, client_out = os.pipe()
        self._notes, notes = os.pipe()
        self._ours = [client_in, client_out, notes]
        self._held = b""
        self.status: int | None = None
        self._thread = threading.Thread(target=self._run, args=(target, client_in, client_out, notes))
        self._thread.start()

    def _run(self, target: Target, *fds: int) -> None:
        try:
            self.status = run(target, *fds)
        finally:
            for fd in self._ours:
                os.close(fd)

    def send(self, *messages: Json) -> None:
        self.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._stdin, data) :]

    def line(self, patience: float = PATIENCE) -> bytes:
        """The next line that the bridge writes; nothing at the end of them."""
        deadline = time.monotonic() + patience
        while b"\n" not in self._held:
            ready, _, _ = select.select([self._stdout], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"no line within {patience} s; so far {self._held[:200]!r}"
            chunk = os.read(self._stdout, 1 << 16)
            if not chunk:
                assert not self._held, f"half a line at the end: {self._held[:200]!r}"
                return b""
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line

    def receive(self, patience: float = PATIENCE) -> Json:
        """The next message, which is one JSON object."""
        line = self.line(patience)
        assert line, "the bridge has ended"
        message: Json = json.loads(line)
        assert isinstance(message, dict)
        return message

    def until(self, id: int | str, patience: float = PATIENCE) -> Json:
        """The answer to `id`; what comes before it is in `passed`."""
        self.passed: list[Json] = []
        while True:
            message = self.receive(patience)
            if message.get("id") == id and "method" not in message:
                return message
            self.passed.append(message)

    def ask(self, message: Json, patience: float = PATIENCE) -> Json:
        self.send(message)
        return self.until(message["id"], patience)

    def open(self, **changes: Any) -> Json:
        """`initialize` and what follows it; the answer."""
        answer = self.ask({**INITIALIZE, "params": {**INITIALIZE["params"], **changes}})
        self.send(INITIALIZED)
        return answer

    def hang_up(self) -> None:
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    def end(self, patience: float = 5.0) -> int | None:
        """Closes the client's side; how the bridge ended."""
        self.hang_up()
        self.rest = list(self._rest())
        self._thread.join(patience)
        assert not self._thread.is_alive(), "the bridge does not end"
        return self.status

    def ended(self, patience: float = 5.0) -> int | None:
        """How the bridge ended by itself."""
        self._thread.join(patience)
        assert not self._thread.is_alive(), "the bridge does not end"
        self.rest = list(self._rest())
        return self.status

    def _rest(self) -> Iterator[Json]:
        while line := self.line():
            yield json.loads(line)

    def notes(self) -> str:
        """All that it told a person, once it has ended."""
        found = b""
        while chunk := os.read(self._notes, 1 << 16):
            found += chunk
        return found.decode()

    def close(self) -> None:
        self.hang_up()
        os.close(self._stdout)
        self._thread.join(10)
        os.close(self._notes)
        assert not self._thread.is_alive(), "the bridge does not end"


@contextmanager
def bridged(target: Target) -> Iterator[Bridged]:
    client = Bridged(target)
    try:
        yield client
    finally:
        client.close()


def texts(answer: Json) -> list[str]:
    """The texts of a tool's result."""
    content: Iterable[Json] = answer["result"]["content"]
    return [part["text"] for part in content if part["type"] == "text"]
