"""`mcp-sandbox serve` as any caller starts it, and a plain client of it."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.wire.sse import Decoder, Event
from tests.e2e.caller import PROGRAM, Caller

READY_S, END_S = 60.0, 15.0
TOKENS = {name: f"{name}-{'t' * 40}" for name in ("alice", "bob")}
VERSION = "2025-11-25"
ACCEPT = "application/json, text/event-stream"


class Served:
    """A front that runs; `log` is its stderr."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log
        self._clients: list[Client] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self, who: str, session: str = "") -> Client:
        """A client that hangs up when the front ends; without a session until it begins one."""
        self._clients.append(Client(self.url, who, session))
        return self._clients[-1]

    def close(self) -> None:
        """No client is left."""
        for one in self._clients:
            one.close()

    def end(self) -> int:
        """Its status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)


@contextmanager
def served(caller: Caller, profile: str, *options: str) -> Iterator[Served]:
    """Serves the profile as `/it/mcp` to alice and bob."""
    place = caller.directory()
    path, tokens, log = place / "it.toml", place / "tokens", place / "log"
    path.write_text(profile)
    tokens.write_text("".join(f"{name} {token}\n" for name, token in TOKENS.items()))
    tokens.chmod(0o600)
    os.chown(tokens, caller.uid, caller.gid)
    where = [] if caller.backend == "native" else ["--backend", "docker"]
    argv = [PROGRAM, "serve", "--json", "--listen", "127.0.0.1:0", "--token-file", str(tokens), *where]
    with log.open("w") as errors, subprocess.Popen(
        caller.argv(*argv, *options, f"it={path}"),
        cwd=place, env=caller.environ, stdout=subprocess.PIPE, stderr=errors, text=True,
    ) as process:  # fmt: skip
        try:
            with closing(Served(process, _ready(process, log), log)) as one:
                yield one
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _ready(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], READY_S)
    line = process.stdout.readline() if readable else ""
    assert line, f"it did not begin: {log.read_text()}"
    url: str = json.loads(line)["urls"]["it"]
    return url


class Client:
    """One session of `who`, or none, over one connection."""

    def __init__(self, url: str, who: str, session: str = "") -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        self._token = TOKENS.get(who, who)
        self._count = 0
        self.session = session

    def send(self, method: str, body: object = None, **more: str) -> tuple[int, bytes]:
        """The status and body of one HTTP request."""
        answer = self._open(method, body, more)
        self.session = self.session or answer.headers.get("Mcp-Session-Id", "")
        said = answer.read()
        is_stream = answer.headers.get("Content-Type", "") == "text/event-stream"
        return answer.status, _last(said) if is_stream else said

    def _open(self, method: str, body: object, more: dict[str, str]) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": ACCEPT, **more}
        if self.session:
            headers |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": VERSION}
        headers |= {"Content-Type": "application/json"} if method == "POST" else {}
        data = None if body is None else json.dumps(body)
        self._connection.request(method, self._path, data, headers)
        return self._connection.getresponse()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one MCP request."""
        self._count += 1
        body = {"jsonrpc": "2.0", "id": self._count, "method": method, "params": params}
        status, said = self.send("POST", body)
        assert status == 200, (status, said)
        answer: dict[str, Any] = json.loads(said)
        assert "result" in answer, answer
        found: dict[str, Any] = answer["result"]
        return found

    def broken_off(self, body: object) -> Event:
        """The first event of a stream that the client then loses."""
        decoder = Decoder(1 << 24)
        answer = self._open("POST", body, {})
        while not (found := decoder.feed(answer.read1(1))):
            pass
        self._connection.close()
        return found[0]

    def stream(self, headers: dict[str, str]) -> list[Event]:
        """All of the stream that a GET opens, to its end."""
        return Decoder(1 << 24).feed(self._open("GET", None, headers).read())

    def begin(self) -> Client:
        """Opens the session."""
        info = {"name": "plain", "version": "1"}
        self.ask("initialize", protocolVersion=VERSION, capabilities={}, clientInfo=info)
        assert self.send("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"})[0] == 202
        return self

    def call(self, tool: str, **arguments: Any) -> Any:
        """What a tool says, which is JSON."""
        result = self.ask("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return json.loads(result["content"][0]["text"])

    def close(self) -> None:
        """Hangs up, and ends nothing."""
        self._connection.close()


def _last(said: bytes) -> bytes:
    return Decoder(1 << 24).feed(said)[-1].data
