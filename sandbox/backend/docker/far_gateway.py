"""The egress gateway in a container, for an engine whose containers share no socket with this machine.

Two containers share a volume that has no name and goes with the last of them: the holder, which listens
there, and the gateway, which takes it. The gateway's code comes over its standard input, and so does the
channel of the wrapper's (`sandbox.gateway`), which `run` carries until either side ends. When this process
dies, the engine closes that input, the gateway ends, and with it the holder.
"""

from __future__ import annotations

import pickle
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from socket import socket
from typing import Any, Protocol

from sandbox.backend.docker import bundle, holder
from sandbox.backend.docker.closure import closure
from sandbox.backend.docker.far_words import Deframer, Order, frame, own_addresses
from sandbox.backend.docker.pump import STDOUT, Frames
from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass, replace

HELD = b"H"
MEMORY = 256 << 20
PROCESSES = 64
LAST_S = 2.0
"""What the gateway gets to say its last, once the wrapper has hung up."""
TABLES = ("/proc/net/fib_trie", "/proc/net/if_inet6")
_PIECE = 1 << 16
_TABLES_MOST = 1 << 22
_CARRIED = ("aiohappyeyeballs", "python_socks")
_PROGRAM, _SERVE = "sandbox.backend.docker.far_gateway_program", "sandbox.egress.process"
_LAST = f"from {_PROGRAM} import main\nfrom {_SERVE} import serve\nmain(serve)"
# Everything else comes over the standard input: a program of any size, then the frames.
_FIRST = "import sys;f=sys.stdin.buffer;exec(f.read(int.from_bytes(f.read(4),'big')))"
_ATTACH = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}


class Engine(holder.Engine, Protocol):
    """What of docker.APIClient is needed."""

    def attach_socket(self, container: str, params: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Far:
    """The session's name at the engine, the gateway's image (a whole Python), the holder's, the order."""

    name: str
    image: str
    making: holder.Making
    order: Order
    network: str = "bridge"
    ipv6: bool = True


def run(api: Engine, far: Far, trap: int, channel: int) -> None:
    """Returns when the wrapper has hung up `channel`; `HELD` and the holder's id are said on `trap`.

    Whatever the gateway says is sent on `channel` unread, one message each, and what comes there goes in.
    """
    with ExitStack() as undo, socket(fileno=trap) as told, socket(fileno=channel) as said:
        tables = undo.enter_context(_attached(api, f"{far.name}-addresses", _addresses_body(far)))
        gateway = undo.enter_context(_attached(api, f"{far.name}-gateway", gateway_body(far), start=True))
        held = undo.enter_context(_created(api, f"{far.name}-net", _holder_body(far, gateway.container)))
        api.start(held)
        api.start(tables.container)
        order = replace(far.order, own=own_addresses(_local_tables() + _all(tables.stream)))
        gateway.stream.sendall(frame(code().encode()) + frame(pickle.dumps(order, 4)))
        _Pump(gateway.stream, said, told, held).run()


def code() -> str:
    """The gateway's whole program."""
    return bundle.program(closure((_PROGRAM, _SERVE), _CARRIED), _LAST)


# --- containers ------------------------------------------------------------------------------------


def gateway_body(far: Far) -> dict[str, Any]:
    """The body of `POST /containers/create`: a way out, and rights that it gives up before it begins."""
    host = {**_host(), "NetworkMode": far.network, "PidsLimit": PROCESSES, "Memory": MEMORY}
    # NET_ADMIN over its own network: what the engine's machine has must not be reached from it.
    host |= {"CapAdd": ["NET_ADMIN", "SETUID"]}
    return {
        **_body(far, far.image, "gateway"),
        "Entrypoint": ["python3", "-I", "-S", "-c", _FIRST],
        "Volumes": {"/s": {}},
        **dict.fromkeys(("OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr"), True),
        "HostConfig": host,
    }


def _holder_body(far: Far, gateway: str) -> dict[str, Any]:
    return holder.body(far.making, {"VolumesFrom": [gateway]}, ipv6=far.ipv6)


def _addresses_body(far: Far) -> dict[str, Any]:
    """Says which addresses the engine's machine has, and ends; it runs no word of anybody's."""
    return {
        **_body(far, far.making.image, "addresses"),
        "Entrypoint": ["cat", *TABLES],
        "User": "65534:65534",
        "AttachStdout": True,
        "HostConfig": {**_host(), "NetworkMode": "host"},
    }


def _body(far: Far, image: str, role: str) -> dict[str, Any]:
    labels = {name: role if name.endswith(".role") else value for name, value in far.making.labels}
    return {
        "Image": image,
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Labels": labels,
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",
    }


def _host() -> dict[str, Any]:
    return {
        "AutoRemove": True,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "private",
        "LogConfig": {"Type": "none"},
    }


@dataclass(frozen=True, slots=True)
class _Attached:
    container: str
    stream: socket


@contextmanager
def _created(api: Engine, name: str, body: dict[str, Any]) -> Iterator[str]:
    container = str(api.create_container_from_config(body, name)["Id"])
    try:
        yield container
    finally:
        with suppress(OSError):  # the engine removes it by itself, too; its errors are OSErrors
            api.remove_container(container, v=True, force=True)


@contextmanager
def _attached(api: Engine, name: str, body: dict[str, Any], *, start: bool = False) -> Iterator[_Attached]:
    with _created(api, name, body) as container:
        # Before the start: nothing that it says is lost.
        found = api.attach_socket(container, _ATTACH)
        # The client's file object and the socket in it: the descriptor is closed with the second of them.
        with found, getattr(found, "_sock", found) as stream:
            if start:
                api.start(container)
            yield _Attached(container, stream)


def _all(stream: socket) -> str:
    """Everything until the end of the stream, which is bounded in size and by the engine's time-out."""
    frames, found = Frames(), bytearray()
    while len(found) < _TABLES_MOST and (data := stream.recv(_PIECE)):
        for kind, piece in frames.feed(data):
            found += piece if kind == STDOUT else b""
    if not found:
        raise _failed("the addresses of the engine's machine cannot be read")
    return found.decode(errors="replace")


def _local_tables() -> str:
    """The same tables of this machine, which is no way out either; nothing where it has none."""
    found = []
    for path in TABLES:
        with suppress(OSError), open(path) as file:
            found.append(file.read())
    return "".join(found)


def _failed(text: str) -> SandboxNotBuilt:
    what = f"the egress gateway's container failed: {text}"
    return SandboxNotBuilt("gateway-not-built", what, hint="mcp-sandbox doctor --refresh")


# --- the channel -----------------------------------------------------------------------------------


class _Pump:
    """Between the wrapper's channel, which keeps messages whole, and the attach stream, which does not."""

    def __init__(self, stream: socket, channel: socket, told: socket, container: str) -> None:
        self._stream, self._channel, self._told = stream, channel, told
        self._container = container
        self._frames, self._deframer = Frames(), Deframer()
        self._errors = b""
        self._held = False
        self._until: float | None = None

    def run(self) -> None:
        poll = select.poll()
        for one in (self._stream, self._channel):
            poll.register(one, select.POLLIN)
        while self._until is None or time.monotonic() < self._until:
            ready = {fd for fd, _ in poll.poll(None if self._until is None else 100)}
            if self._channel.fileno() in ready and not self._inward():
                poll.unregister(self._channel)
                self._until = time.monotonic() + LAST_S
            if self._stream.fileno() in ready and not self._outward():
                break
        if not self._held and self._until is None:
            raise _failed(self._errors.decode(errors="replace") or "it ended before it held the trap")

    def _inward(self) -> bool:
        try:
            body = self._channel.recv(_PIECE)
        except ConnectionError:
            body = b""
        self._stream.sendall(frame(body))
        return bool(body)

    def _outward(self) -> bool:
        """False at the end of the stream."""
        while data := self._stream.recv(_PIECE):
            for kind, piece in self._frames.feed(data):
                self._take(kind, piece)
            # What a TLS connection has read already is not seen by poll(2).
            if not getattr(self._stream, "pending", int)():
                return True
        return False

    def _take(self, kind: int, piece: bytes) -> None:
        if kind != STDOUT:
            self._errors = (self._errors + piece)[-400:]
            return
        for body in self._deframer.feed(piece):
            if body == HELD and not self._held:
                self._held = True
                self._told.send(HELD + self._container.encode())
            else:
                self._pass(body)

    def _pass(self, body: bytes) -> None:
        with suppress(BrokenPipeError):  # the wrapper reads no more
            self._channel.send(body)
