"""A small MCP client: starts `mcp-sandbox run …` as any client would, and speaks the protocol by hand."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sandbox.demo import folder
from sandbox.demo.servers import Server
from sandbox.errors import SandboxError
from sandbox.records import dataclass

ANSWER_S = 30.0
END_S = 5.0
REVISION = "2025-11-25"


class DemoFailed(SandboxError):
    """The server did not do what a server does."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class Session:
    """What a client learned from one session."""

    name: str
    version: str
    tools: tuple[str, ...]
    answer: str
    worked: bool
    start_s: float
    call_s: float
    status: int


def own_program() -> list[str]:
    """How to start ourselves: the installed command, else this interpreter with our entry point."""
    installed = os.path.join(os.path.dirname(sys.executable), "mcp-sandbox")
    if os.access(installed, os.X_OK):
        return [installed]
    return [sys.executable, "-c", "import sys; from sandbox.cli.main import main; sys.exit(main())"]


_PROFILE = """schema = 1
extends = "base"
[tools]
pin = "off"  # a demonstration is no server whose tools anybody remembers
"""


@contextlib.contextmanager
def _profile() -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        path = os.path.join(folder.made(stack, "mcp-sandbox-demo-"), "demo.toml")
        with open(path, "w") as file:
            file.write(_PROFILE)
        yield path


def _argv(profile: str, server: Server, root: str, name: str) -> list[str]:
    options = ["--profile", profile, "--name", name, "--allow-read", root]
    return [*own_program(), "run", *options, "--", *server.command]


def talk(server: Server, root: str, name: str, environ: Mapping[str, str]) -> Session:
    """One whole session in the sandbox: initialize, tools/list, one call, end of file."""
    with _profile() as profile, _Wire(_argv(profile, server, root, name), root, environ) as wire:
        hello = wire.ask("initialize", {
            "protocolVersion": REVISION, "capabilities": {"roots": {}},
            "clientInfo": {"name": "mcp-sandbox-demo", "version": "1"},
        })  # fmt: skip
        start_s = time.monotonic() - wire.spawned
        wire.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        tools = wire.ask("tools/list", {}).get("tools", [])
        began = time.monotonic()
        result = wire.ask("tools/call", {"name": server.tool, "arguments": dict(server.arguments)})
        call_s = time.monotonic() - began
        status = wire.end()
    text = "\n".join(str(part.get("text", "")) for part in result.get("content", []))
    info = hello.get("serverInfo", {})
    return Session(
        str(info.get("name", "?")), str(info.get("version", "?")),
        tuple(str(tool.get("name")) for tool in tools), text,
        bool(tools) and not result.get("isError") and server.expect in text and status == 0,
        start_s, call_s, status,
    )  # fmt: skip


class _Wire:
    """The child and its pipes; the child is gone when the block ends, whatever happened."""

    def __init__(self, argv: list[str], root: str, environ: Mapping[str, str]) -> None:
        self._argv = argv
        self._root = root
        self._environ = environ
        self._buffer = b""
        self._pending: deque[dict[str, Any]] = deque()
        self._last = 0

    def __enter__(self) -> _Wire:
        self._errors = tempfile.TemporaryFile()
        self.spawned = time.monotonic()
        self._child = subprocess.Popen(  # noqa: S603 - our own program, no shell
            self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            cwd=self._root, env=dict(self._environ),
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        for end in (self._child.stdin, self._child.stdout, self._errors):
            with contextlib.suppress(OSError):
                end.close()  # type: ignore[union-attr]  # both are pipes

    def send(self, message: Mapping[str, Any]) -> None:
        """Writes one frame; a child that is gone is told as such."""
        assert self._child.stdin is not None  # noqa: S101 - PIPE above
        try:
            self._child.stdin.write(json.dumps(message).encode() + b"\n")
            self._child.stdin.flush()
        except OSError as error:
            raise self._failed("the server went away") from error

    def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one request; what the server asks meanwhile is answered."""
        self._last += 1
        self.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        for message in self._messages():
            if "method" in message and "id" in message:
                self._answer(message)
            elif message.get("id") == self._last and "method" not in message:
                if "error" in message:
                    raise self._failed(f"`{method}` was answered with {message['error'].get('message')!r}")
                result: dict[str, Any] = message["result"]
                return result
        raise self._failed(f"no answer to `{method}`")

    def _answer(self, request: Mapping[str, Any]) -> None:
        body: dict[str, Any] = {"error": {"code": -32601, "message": "method not found"}}
        if request["method"] == "ping":
            body = {"result": {}}
        elif request["method"] == "roots/list":
            body = {"result": {"roots": [{"uri": Path(self._root).as_uri(), "name": "demo"}]}}
        self.send({"jsonrpc": "2.0", "id": request["id"], **body})

    def _messages(self) -> Iterator[dict[str, Any]]:
        """Frames until the server ends or the time for one answer is over."""
        assert self._child.stdout is not None  # noqa: S101 - PIPE above
        out = self._child.stdout.fileno()
        deadline = time.monotonic() + ANSWER_S
        while True:
            while self._pending:
                yield self._pending.popleft()
            if not select.select([out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return
            chunk = os.read(out, 65536)
            if not chunk:
                return
            *lines, self._buffer = (self._buffer + chunk).split(b"\n")
            self._pending.extend(map(json.loads, lines))

    def end(self) -> int:
        """Closes stdin, as clients end a session, and waits for the exit status."""
        assert self._child.stdin is not None  # noqa: S101 - PIPE above
        self._child.stdin.close()
        try:
            return self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            return -1

    def _failed(self, what: str) -> DemoFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode("utf-8", "replace").strip()
        return DemoFailed("demo-failed", f"{what}\n{said}".strip(), hint="mcp-sandbox doctor")
