"""A client of the HTTP front, with the face of a `Member`; and the front that a crowd of them asks."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11

from crowding.member import ANSWER_S, HELLO, TEXT, Failed

READY_S = 60.0
TOKEN = "c" * 48
MANY = "4096"
PROFILE = """schema = 1
extends = "base"
[server]
command = [{command}]
[files]
read = ["{folder}"]
"""


class Front:
    """`mcp-sandbox serve` with a route for each command; it ends with the block."""

    def __init__(
        self, program: str, commands: Mapping[str, Sequence[str]], home: Path, environ: Mapping[str, str]
    ) -> None:
        tokens = home / "tokens"
        tokens.write_text(f"crowd {TOKEN}\n")
        tokens.chmod(0o600)
        profiles = []
        for name, command in commands.items():
            path = home / f"{name}.toml"
            words = ", ".join(f'"{word}"' for word in command)
            path.write_text(PROFILE.format(command=words, folder=Path(command[-1]).parent))
            profiles.append(f"{name}={path}")
        argv = [program, "serve", "--quiet", "--json", "--listen", "127.0.0.1:0", "--token-file", str(tokens)]
        # S603: our own program with words of ours.
        self._process = subprocess.Popen(  # noqa: S603
            [*argv, "--sessions", MANY, "--each", MANY, *profiles],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(environ), cwd=home, text=True,
        )  # fmt: skip
        self._urls: list[str] = []

    @property
    def pid(self) -> int:
        """The front's own process."""
        return self._process.pid

    def __enter__(self) -> Self:
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        if not select.select([self._process.stdout], [], [], READY_S)[0]:
            raise Failed("the front did not begin")
        self._urls = list(json.loads(self._process.stdout.readline())["urls"].values())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(60)

    def guest(self, number: int) -> Guest:
        """A client of one of the routes, by turns."""
        return Guest(self._urls[number % len(self._urls)])

    def wrappers(self) -> list[int]:
        """The processes that hold a sandbox each."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]


class Guest:
    """A session over one connection of its own; one call at a time."""

    def __init__(self, url: str) -> None:
        self._began = time.perf_counter()
        self.start_s = 0.0
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self._socket.fileno()
        self._parts, self._session = parts, ""
        self._http = h11.Connection(h11.CLIENT)
        self._body = b""
        self._last = 0
        self._sent = 0.0
        self._ask("initialize", HELLO)

    def greet(self) -> None:
        """Waits for the answer to `initialize`."""
        self._wait()
        self.start_s = time.perf_counter() - self._began
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._wait()

    def call(self) -> float:
        """Seconds of one call, waited for."""
        self.send()
        return self._wait()

    def send(self) -> None:
        """A call; its answer is heard by `hear`."""
        self._ask("tools/call", {"name": "echo", "arguments": {"message": TEXT}})

    def hear(self) -> float | None:
        """What the connection has; seconds since the call once its answer is whole and right."""
        data = self._socket.recv(1 << 16)
        if not data:
            raise Failed("the front hung up")
        self._http.receive_data(data)
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Response):
                self._headed(event)
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                took = time.perf_counter() - self._sent
                self._check()
                self._http.start_next_cycle()
                return took
        return None

    def _headed(self, response: h11.Response) -> None:
        if response.status_code not in (200, 202):
            raise Failed(f"status {response.status_code}")
        named = dict(response.headers)
        self._session = self._session or named.get(b"mcp-session-id", b"").decode()

    def _check(self) -> None:
        # Under load an answer may come as a stream of one event.
        said, self._body = self._body.rpartition(b"data: ")[2], b""
        if said and json.loads(said).get("id") != self._last:
            raise Failed(said[:200].decode(errors="replace"))

    def _ask(self, method: str, params: Mapping[str, object]) -> None:
        self._last += 1
        self._post({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})

    def _post(self, message: Mapping[str, object]) -> None:
        body = json.dumps(message).encode()
        headers = [
            ("Host", self._parts.netloc), ("Authorization", f"Bearer {TOKEN}"),
            ("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream"),
            ("Content-Length", str(len(body))),
        ]  # fmt: skip
        if self._session:
            headers.append(("Mcp-Session-Id", self._session))
        request = h11.Request(method="POST", target=self._parts.path, headers=headers)
        pieces = [
            self._http.send(request),
            self._http.send(h11.Data(body)),
            self._http.send(h11.EndOfMessage()),
        ]
        self._sent = time.perf_counter()
        os.write(self.fd, b"".join(piece or b"" for piece in pieces))

    def _wait(self) -> float:
        while select.select([self.fd], [], [], ANSWER_S)[0]:
            took = self.hear()
            if took is not None:
                return took
        raise Failed(f"no answer within {ANSWER_S:.0f} s")

    def end(self) -> int:
        """Hangs up; the session ends with the front."""
        self._socket.close()
        return 0
