"""One session's container at the engine: made, started, watched, removed. Every call has a time-out."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import socket
from threading import Event, Thread
from typing import Any

from sandbox import engine
from sandbox.backend.bridge_process import Streams
from sandbox.backend.docker import holder, pump, reap, stage, stats
from sandbox.backend.docker.bridge import Bridge
from sandbox.backend.docker.orders import Orders
from sandbox.backend.docker.pipes import Pipes
from sandbox.backend.docker.reserve import Reserve
from sandbox.backend.docker.sources import Sources
from sandbox.errors import SandboxNotBuilt

GONE_S = 3.0
"""An engine removes a container within a few tenths of a second."""
_KILLED = 128 + signal.SIGKILL
_ENDED_BY_ENGINE = (128 + signal.SIGTERM, _KILLED)
"""How a server ends when its engine is shut down."""
HELD = b"H"
"""The gateway's word that it holds the trap (`native.init.HELD`); a far one says its holder's id too."""
FAR_WORDS = 256
_STDERR = {"stderr": 1, "stream": 1}
_ALL = {"stdin": 1, "stdout": 1, **_STDERR}


class Container:
    """Owned by the keeper; `ended` is readable once the server is over, `status` or `lost` then says how."""

    def __init__(self, orders: Orders, environ: Mapping[str, str], api: engine.Api) -> None:
        self.step = "engine"
        self.id = ""
        self.status: int | None = None
        self.pid = 0
        """Its first process as this machine numbers it; 0 where it is another machine's."""
        self.oom = 0
        self.lost = ""
        """What the engine's end looked like, where that ended the session."""
        self.held_far = False
        self.ended, self._end = os.pipe()
        self._orders = orders
        self._environ = environ
        self._api = api
        self._held: holder.Held | None = None
        self._made = self._holder = ""
        """What the engine was asked to make: names, or ids as far as they are known."""
        self._init = -1
        self._reserve: Reserve | None = None
        self._stream: socket | None = None
        self._pipes: Pipes | None = None
        self._sources: Sources | None = None
        self._started = Event()
        self._bridge: Bridge | None = None

    def build(self, trap: int, wanted: Callable[[], bool]) -> None:
        """Everything but the start: network, files, container, its streams; less where `wanted` ends."""
        told = self._orders
        if self._api is None:
            self._api = engine.connect(self._environ)
        self.step = "files"
        stage.stage(told)
        self._pipes = Pipes(told.folder) if told.piped else None
        self._sources = Sources(told.body["HostConfig"].get("Mounts", ()), told.sources)
        self.step = "network"
        if told.holder:
            told.body["HostConfig"]["NetworkMode"] = f"container:{self._network(trap)}"
        if not wanted():
            return
        with engine.failures(told.engine):
            self.step = "container"
            self._made = told.name  # whether or not the engine's answer comes
            self.id = self._api.create_container_from_config(told.body, told.name)["Id"]
            self.step = "attach"
            self._stream = self._api.attach_socket(self.id, _STDERR if self._pipes else _ALL)._sock
            # The client's own time-out is for answers; a server may be silent for days.
            self._stream.settimeout(None)

    def _network(self, trap: int) -> str:
        """The id of the holder whose network the server joins."""
        told = self._orders
        if told.far:
            said = os.read(trap, FAR_WORDS)
            if said[:1] != HELD:
                what = "the egress gateway ended before it held the trap"
                raise SandboxNotBuilt("gateway-not-built", what, hint="mcp-sandbox doctor --refresh")
            self.held_far = True
            return said[1:].decode()
        self._holder = f"{told.name}-net"
        with engine.failures(told.engine):
            own = told.endpoint[1] if told.endpoint else 0
            self._held = holder.take(self._api, self._making(), self._holder, told.ports, trap, own)
        self._holder = self._held.container
        return self._holder

    def _making(self) -> holder.Making:
        told = self._orders
        labels = [(name, "holder" if name.endswith(".role") else value) for name, value in told.labels]
        ulimits = tuple((one["Name"], one["Hard"]) for one in told.body["HostConfig"]["Ulimits"])
        # Podman raises the two that a body does not name, to more than a caller may have.
        kept = tuple(one for one in ulimits if one[0] in ("nofile", "nproc")) if told.podman else ()
        return holder.Making(told.holder, told.spares, told.engine, tuple(told.limits), tuple(labels), kept)

    def bridge(self, stdin: int, stdout: int, notes: int) -> Bridge | None:
        """Forks the bridge of a server that speaks HTTP, which takes the first two; before any thread is."""
        if self._orders.endpoint is None:
            return None
        self.step = "bridge"
        assert self._held is not None  # noqa: S101 - refused in the plan where no holder of ours is
        streams = Streams(stdin, stdout, notes)
        self._bridge = Bridge(self._orders, self._held.connection, streams, self._environ)
        return self._bridge

    def start(self, stdin: int, stdout: int, stderr: int) -> pump.Output:
        """Starts the server and all that carries for it; the thread ends with the server's output."""
        self.step = "execute"
        with engine.failures(self._orders.engine):
            Thread(target=self._watch, name="events", daemon=True).start()
            self._api.start(self.id)
        self.pid = _pid(self._api, self.id)
        self._started.set()
        assert self._stream is not None  # noqa: S101 - `build` came before
        self._compare()
        if self._bridge is not None:
            return pump.listen(self._stream, stderr)
        return pump.start(self._stream, stdin, stdout, stderr, self._pipes)

    def _compare(self) -> None:
        """Holds, before the server can begin (its pipes hold it up), that it sees what was meant."""
        if self._pipes is not None and self._sources:
            self.step = "compare"
            with engine.failures(self._orders.engine):
                pid = self.pid or self._api.inspect_container(self.id)["State"]["Pid"]
            self._sources.compare(pid)

    def _watch(self) -> None:
        """Until the engine says that the server is over, or says nothing any more."""
        try:
            client = self._another()
            self._started.wait()
            self._init = _init(self.pid, self.id)
            while not self._told(client) and client.inspect_container(self.id)["State"]["Running"]:
                pass  # the stream broke, not the engine
        except engine.Failed as error:
            self._lose(error)
        os.write(self._end, b"e")

    def _told(self, client: engine.Api) -> bool:
        """Whether the engine told of the end before it stopped telling."""
        # Chosen by action below: in a filter Podman calls the end `died`, and it tells of no `oom`.
        wanted = {"container": [self.id]}
        # Since ever: whatever happened before this listens is told too.
        for event in client.events(since=1, filters=wanted, decode=True):
            if event.get("Action") == "oom":
                self.oom += 1
                return True  # the kernel ended one process; a breach ends the tree
            if event.get("Action") == "die":
                self.status = int(event["Actor"]["Attributes"]["exitCode"])
                self.oom += late_kills(client, self.id, event) if self.status == _KILLED else 0
                return True
        return False

    def _lose(self, error: BaseException) -> None:
        """Remembers how the engine failed, where that may be why the server is over."""
        if self.status in (None, *_ENDED_BY_ENGINE) and not isinstance(error, engine.NotFound):
            self.lost = self.lost or engine.failure(error, self._orders.engine).what

    def tell_stats(self, out: int) -> None:
        """What the engine counts, where the wrapper's machine cannot see the container's processes."""
        Thread(target=stats.follow, args=(self._another, self.id, out), name="stats", daemon=True).start()

    def terminate(self) -> None:
        """SIGTERM for the server."""
        with suppress(*engine.Failed):
            self._api.kill(self.id, "SIGTERM")

    def pause(self) -> bool:
        """Whether the engine stopped every process where it stands."""
        with suppress(*engine.Failed):
            self._api.pause(self.id)
            return True
        return False

    def unpause(self) -> bool:
        """Whether they go on."""
        with suppress(*engine.Failed):
            self._api.unpause(self.id)
            return True
        return False

    def keep_spare(self) -> None:
        """A holder for the next session, made beside this one's work; without one a start takes longer."""
        if self._orders.holder:
            self._reserve = Reserve(lambda: holder.spare(self._another(), self._making()))

    def _another(self) -> engine.Api:
        """A client for another thread."""
        return engine.connect(self._environ, version=self._api.api_version)

    def remove_server(self) -> bool:
        """Ends the server, at once and with all its processes; False where the engine did not do it."""
        if not self._made:
            return True
        self._api.timeout = GONE_S
        if reap.removed(self._api, self.id or self._made, time.monotonic() + GONE_S, self._lose):
            return True
        if self._init >= 0:
            with suppress(OSError):  # it is over, or it is not ours to end
                signal.pidfd_send_signal(self._init, signal.SIGKILL)
        return False

    def remove(self) -> bool:
        """Takes everything of the session from the engine and from the host; False where something stayed."""
        if self._bridge is not None:
            self._bridge.close()  # it holds the holder's connection too
        if self._held is not None:
            self._held.connection.close()
        gone = self.remove_server() and self._remove_holder()
        if self._reserve is not None:
            self._reserve.close()
        return stage.clear(self._orders.folder) and gone

    def _remove_holder(self) -> bool:
        if not self._holder:
            return True
        self._api.timeout = GONE_S
        return reap.removed(self._api, self._holder, time.monotonic() + GONE_S, self._lose)


def late_kills(client: engine.Api, container: str, end: Mapping[str, Any]) -> int:
    """Kills by the memory limit that the engine may tell of after `end`, the `die` event they caused.

    Two threads of its shim tell the two. They have until the next full second, by the engine's own clock.
    """
    told = client.events(since=1, until=int(end["time"]) + 1, filters={"container": [container]}, decode=True)
    return sum(event.get("Action") == "oom" for event in told)


def _pid(client: engine.Api, container: str) -> int:
    """The container's first process; 0 where it is over already, or not on this machine.

    The engine's pid may mean another process here: one in whose cgroup's name the container stands is it.
    """
    with suppress(*engine.Failed, OSError, ValueError, KeyError):
        pid = int(client.inspect_container(container)["State"]["Pid"])
        return pid if _is_of(pid, container) else 0
    return 0


def _is_of(pid: int, container: str) -> bool:
    with open(f"/proc/{pid}/cgroup") as file:
        return container in file.read()


def _init(pid: int, container: str) -> int:
    """A pidfd of the first process, to end it should the engine go away; -1 where there is none."""
    with suppress(OSError):
        fd = os.pidfd_open(pid) if pid else -1
        if fd < 0 or _is_of(pid, container):
            return fd
        os.close(fd)  # it is over, and its number another's
    return -1
