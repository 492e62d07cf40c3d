"""A relay between a client and a server that the test plays, over real pipes."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from sandbox.event import Event
from sandbox.excess import Excess
from sandbox.policy.model import Policy
from sandbox.relay.inspection import Inspection
from sandbox.relay.limits import Limits
from sandbox.relay.refusals import held
from sandbox.relay.stdio import Relay
from sandbox.wire.jsonrpc import Frame

PATIENCE = 10.0


class Pipe:
    """One os.pipe; each end is closed once."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self._open = {self.read_end, self.write_end}
        self._left = b""

    def close(self, end: int) -> None:
        if end in self._open:
            self._open.discard(end)
            os.close(end)

    def forget(self, end: int) -> None:
        """Somebody else closes `end`."""
        self._open.discard(end)

    def close_all(self) -> None:
        for end in list(self._open):
            self.close(end)

    def say(self, *lines: object) -> None:
        for line in lines:
            data = line if isinstance(line, bytes) else json.dumps(line, separators=(",", ":")).encode()
            left = memoryview(data + b"\n")
            while left:
                left = left[os.write(self.write_end, left) :]

    def line(self) -> bytes:
        """The next line; empty at the end."""
        while b"\n" not in self._left:
            if not (chunk := os.read(self.read_end, 1 << 16)):
                return b""
            self._left += chunk
        line, self._left = self._left.split(b"\n", 1)
        return line

    def hear(self) -> dict[str, Any]:
        value = json.loads(self.line())
        assert isinstance(value, dict)
        return value


class World:
    """A relay between the test's client and the test's server."""

    def __init__(
        self,
        emit: Callable[[Event], None] | None = None,
        cap: int = 1 << 16,
        stop: Callable[[Frame], str | None] | None = None,
        policy: Policy | None = None,
        inspection: Inspection | None = None,
    ) -> None:
        self.client_to_relay, self.relay_to_client = Pipe(), Pipe()
        self.relay_to_server, self.server_to_relay = Pipe(), Pipe()
        self.events: list[Event] = []
        self.noise: list[bytes] = []
        self.changes = threading.Semaphore(0)
        self.relay = Relay(
            client_in=self.client_to_relay.read_end,
            client_out=self.relay_to_client.write_end,
            server_in=self.relay_to_server.write_end,
            server_out=self.server_to_relay.read_end,
            emit=emit or self.events.append,
            noise=self.noise.append,
            changed=self.changes.release,
            cap=cap,
            stop=stop,
            limits=Limits(policy, self.changes.release, self._held) if policy else None,
            inspection=inspection,
        )
        self.relay_to_server.forget(self.relay_to_server.write_end)
        self.relay.start()

    def _held(self, excess: Excess) -> None:
        self.events.append(held(excess))

    def client(self, *lines: object) -> None:
        self.client_to_relay.say(*lines)

    def server(self, *lines: object) -> None:
        self.server_to_relay.say(*lines)

    def end_client(self) -> None:
        self.client_to_relay.close(self.client_to_relay.write_end)

    def end_server(self) -> None:
        self.server_to_relay.close(self.server_to_relay.write_end)
        self.relay_to_server.close(self.relay_to_server.read_end)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.002)

    def dropped(self) -> list[str]:
        return [event.rule for event in self.events if event.kind == "relay.dropped"]

    def asked(self, *requests: object) -> None:
        """The client asks, and the server has heard all of it."""
        self.client(*requests)
        for _ in requests:
            assert self.relay_to_server.line()

    def open_ids(self) -> list[object]:
        return [call.id for call in self.relay.pending_calls()]

    def close(self) -> None:
        self.end_client()
        self.end_server()
        # Drain: the relay may still be writing to a client that no longer cares.
        self.relay_to_client.close(self.relay_to_client.read_end)
        assert self.relay.client_eof.wait(PATIENCE)
        assert self.relay.server_eof.wait(PATIENCE)
        for pipe in (self.client_to_relay, self.relay_to_client, self.relay_to_server, self.server_to_relay):
            pipe.close_all()


def request(id: object, method: str = "tools/list", **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def result(id: object, **value: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: object, message: str = "failed", **more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": message, **more}}


def notification(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


INITIALIZE = request(0, "initialize", protocolVersion="2025-11-25")
MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def legacy(world: World) -> None:
    world.client(INITIALIZE)
    assert world.relay_to_server.hear()["method"] == "initialize"
    world.server(result(0))
    assert world.relay_to_client.hear()["id"] == 0
