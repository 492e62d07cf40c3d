"""One session's container at the engine: made, started, watched, removed. Every call has a time-out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from socket import socket
from threading import Thread

from sandbox import engine
from sandbox.backend.docker import holder, pump, stage
from sandbox.backend.docker.orders import Orders

GONE_S = 5.0
"""An engine removes a dead container within a few tenths of a second."""
_PAUSE_S = 0.01
_ATTACH = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}


class Container:
    """Owned by the keeper; `ended` is readable once the server is over, `status` then says how."""

    def __init__(self, orders: Orders, environ: Mapping[str, str], api: engine.Api) -> None:
        self.step = "engine"
        self.id = ""
        self.status: int | None = None
        self.oom = 0
        self.ended, self._end = os.pipe()
        self._orders = orders
        self._environ = environ
        self._api = api
        self._held: holder.Held | None = None
        self._spare: holder.Spare | None = None
        self._stream: socket | None = None

    def build(self, trap: int) -> None:
        """Everything but the start: network, files, container, its streams."""
        told = self._orders
        if self._api is None:
            self._api = engine.connect(self._environ)
        self.step = "files"
        stage.stage(told)
        with engine.failures(told.engine):
            self.step = "network"
            self._held = holder.take(self._api, self._making(), f"{told.name}-net", told.ports, trap)
            self.step = "container"
            told.body["HostConfig"]["NetworkMode"] = f"container:{self._held.container}"
            self.id = self._api.create_container_from_config(told.body, told.name)["Id"]
            self.step = "attach"
            self._stream = self._api.attach_socket(self.id, _ATTACH)._sock
            # The client's own time-out is for answers; a server may be silent for days.
            self._stream.settimeout(None)

    def _making(self) -> holder.Making:
        told = self._orders
        labels = [(name, "holder" if name.endswith(".role") else value) for name, value in told.labels]
        return holder.Making(told.holder, told.spares, told.engine, tuple(told.limits), tuple(labels))

    def start(self, stdin: int, stdout: int, stderr: int) -> Thread:
        """Starts the server and all that carries for it; the thread ends with the server's output."""
        self.step = "execute"
        with engine.failures(self._orders.engine):
            self._api.start(self.id)
        Thread(target=self._watch, name="events", daemon=True).start()
        assert self._stream is not None  # noqa: S101 - `build` came before
        return pump.start(self._stream, stdin, stdout, stderr)

    def _watch(self) -> None:
        """Until the engine says that the server is over, or says nothing any more."""
        with suppress(*engine.Failed):
            client = engine.connect(self._environ)
            wanted = {"container": [self.id], "event": ["oom", "die"]}
            # Since ever: whatever happened before this listens is told too.
            for event in client.events(since=1, filters=wanted, decode=True):
                if event.get("Action") == "oom":
                    self.oom += 1
                    break  # the kernel ended one process; a breach ends the tree
                if event.get("Action") == "die":
                    self.status = int(event["Actor"]["Attributes"]["exitCode"])
                    break
        os.write(self._end, b"e")

    def terminate(self) -> None:
        """SIGTERM for the server."""
        with suppress(*engine.Failed):
            self._api.kill(self.id, "SIGTERM")

    def keep_spare(self) -> None:
        """A holder for the next session, made beside this one's work; without one a start takes longer."""
        Thread(target=self._make_spare, name="spare", daemon=True).start()

    def _make_spare(self) -> None:
        with suppress(*engine.Failed, Exception):
            self._spare = holder.spare(engine.connect(self._environ), self._making())

    def remove(self) -> bool:
        """Takes everything of the session from the engine and from the host; False where something stayed."""
        if self._spare is not None:
            self._spare.close()
        if self._held is not None:
            self._held.connection.close()
        left = [one for one in (self.id, self._held.container if self._held else "") if one]
        gone = [self._removed(one) for one in left]
        return stage.clear(self._orders.folder) and all(gone)

    def _removed(self, container: str) -> bool:
        until = time.monotonic() + GONE_S
        while time.monotonic() < until:
            try:
                self._api.remove_container(container, force=True)
            except engine.NotFound:
                return True
            except engine.Conflict:
                time.sleep(_PAUSE_S)  # the engine is removing it already
            except engine.Failed:
                return False
        return False
