"""What the demo puts into the world to see what a probe reached: secrets, listeners, a process, files.

Nothing here believes a probe. Each canary says what happened to itself, from outside the sandbox.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.demo import folder
from sandbox.demo.servers import HELLO

VARIABLE = "MCP_SANDBOX_DEMO_TOKEN"
ENGINE_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
ENGINE_QUESTION = b"GET /version HTTP/1.0\r\nHost: engine\r\n\r\n"
SUN_PATH = 107  # unix(7), less the closing NUL
SIDES = ("outside", "inside")


def proof(nonce: str, data: bytes) -> str:
    """What only someone who has `data` can know."""
    return hashlib.sha256(nonce.encode() + data).hexdigest()


class Sink:
    """A listening socket of the demo's: what arrived at it, counted by us. Never on more than loopback."""

    def __init__(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._seen = b""

    @property
    def port(self) -> int:
        """The port that the kernel chose."""
        port: int = self._listener.getsockname()[1]
        return port

    def received(self, payload: bytes) -> int:
        """How many bytes of exactly this payload have arrived: all or, cut short, none."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._seen += self._next()
        return len(payload) if payload in self._seen else 0

    def _next(self) -> bytes:
        if self._listener.type == socket.SOCK_DGRAM:
            return self._listener.recv(65536)
        connection, _ = self._listener.accept()
        with connection:
            # The probe has ended: what it sent is here, and after it the end of the stream.
            connection.settimeout(2.0)
            data = b""
            with contextlib.suppress(OSError):
                while chunk := connection.recv(65536):
                    data += chunk
            return data


@dataclass(frozen=True, slots=True)
class Secret:
    """A file that the demo can read and a sandboxed server must not."""

    path: str
    name: str
    data: bytes | None
    """None where the user cannot read it either."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine's socket, or the demo's stand-in for one."""

    path: str
    name: str
    answer: bytes = b""
    sink: Sink | None = None


@dataclass
class World:
    """Every canary of one demo; all of it ends with `stack`."""

    environ: Mapping[str, str]
    stack: ExitStack
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    victims: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.granted = self._directory(tempfile.gettempdir(), "mcp-sandbox-demo-")
        self.private = self._directory(self.environ.get("HOME", ""), ".mcp-sandbox-demo-")
        Path(self.granted, HELLO).write_text(f"hello from outside the sandbox: {self.token}\n")
        for side in SIDES:
            Path(self.changed(side)).write_text("as it was\n")
            self.victims[side] = self._victim()
        self.tcp = self._sink(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
        self.udp = self._sink(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
        self.engine = self._engine()
        self.key = self._key()

    def _directory(self, place: str, prefix: str) -> str:
        try:
            path = folder.made(self.stack, prefix, place or None)
        except OSError:  # a home that does not exist or cannot be written
            path = folder.made(self.stack, prefix.lstrip("."))
        return os.path.realpath(path)

    def _victim(self) -> subprocess.Popen[bytes]:
        waits = "import sys; sys.stdin.read()"
        child = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            [sys.executable, "-I", "-S", "-c", waits, self.token],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.stack.callback(_end, child)
        return child

    def _sink(self, family: int, kind: int, address: tuple[str, int] | str) -> Sink:
        listener = self.stack.enter_context(socket.socket(family, kind))
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen(8)
        return Sink(listener)

    def _engine(self) -> Engine:
        for path in ENGINE_SOCKETS:
            answer = _ask_engine(path)
            # Twice the same, or it proves nothing when the probe comes back with it.
            if answer and answer == _ask_engine(path):
                return Engine(path, path, answer)
        path = f"{self.private}/docker.sock"
        if len(path.encode()) > SUN_PATH:
            path = f"{self._directory('/tmp', 'mcp-sandbox-demo-')}/docker.sock"  # noqa: S108 - mkdtemp, 0700
        sink = self._sink(socket.AF_UNIX, socket.SOCK_STREAM, path)
        return Engine(path, "stand-in", sink=sink)

    def _key(self) -> Secret:
        home = self.environ.get("HOME", "")
        for path in _keys(f"{home}/.ssh"):
            data = readable(path)
            if data:
                return Secret(path, f"~/.ssh/{os.path.basename(path)}", data)
        path = f"{self.private}/id_ed25519"
        data = f"-----BEGIN A CANARY, NOT A KEY-----\n{secrets.token_hex(32)}\n".encode()
        Path(path).write_bytes(data)
        return Secret(path, "~/.ssh (a canary)", data)

    def changed(self, side: str) -> str:
        """A file of the granted directory, one for each side to try to change."""
        return f"{self.granted}/{side}.txt"

    def alive(self, side: str) -> bool:
        """True while that side's victim lives."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # Signals are asynchronous: a victim that was hit is given a moment to be gone.
            self.victims[side].wait(0.2)
        return self.victims[side].returncode is None


def readable(path: str) -> bytes | None:
    """A file's bytes, None where the user cannot read it."""
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return None


def _keys(directory: str) -> list[str]:
    """Private keys first; any file will do, since only hashes of it are ever compared."""
    try:
        files = [entry.path for entry in os.scandir(directory) if entry.is_file()]
    except OSError:
        return []
    return sorted(files, key=lambda path: (not os.path.basename(path).startswith("id_"), "." in path, path))


def _ask_engine(path: str) -> bytes:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as out:
            out.settimeout(2.0)
            out.connect(path)
            out.sendall(ENGINE_QUESTION)
            data = b""
            while chunk := out.recv(65536):
                data += chunk
    except OSError:
        return b""
    return data.partition(b"\r\n\r\n")[2]


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    if child.stdin is not None:
        child.stdin.close()
