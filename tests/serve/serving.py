"""A front with sessions of the test's own behind it, and a client that sends the very bytes it is given."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.audit.sink import Sink
from sandbox.records import replace
from sandbox.serve import http
from sandbox.serve.address import Address, parse
from sandbox.serve.front import Front, Options
from sandbox.serve.limits import Limits
from sandbox.serve.words import Head, Principal, Refused, Reply, Request

TOKEN = "t" * 40
OTHER = "o" * 40
JSON = (("Content-Type", "application/json"),)
EVENTS = (("Content-Type", "text/event-stream"),)
FORM = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
Behaviour = Callable[[Request], Awaitable[Reply | Refused]]


async def echo(request: Request) -> Reply:
    """The sessions behind the front, as far as these tests need any."""
    return Reply(200, JSON, request.body or b"{}")


@dataclass
class Sessions:
    """An `Answerer` that remembers what it was asked."""

    behave: Behaviour = echo
    asked: list[Request] = field(default_factory=list)
    closed: int = 0

    async def answer(self, request: Request) -> Reply | Refused:
        self.asked.append(request)
        return await self.behave(request)

    async def close(self) -> None:
        self.closed += 1


class Ending:
    """Tokens that end."""

    def __init__(self, until: float) -> None:
        self._until = until

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def check(self, head: Head) -> Principal:
        return Principal("a", until=self._until)

    async def document(self, path: str) -> Reply | None:
        return Reply(200, JSON, b'{"told":"all"}') if path == "/.well-known/told" else None


@dataclass
class Served:
    """A front that takes connections in, in a thread of its own."""

    address: Address
    port: int
    sessions: Sessions
    log: Path
    front: Front
    loop: asyncio.AbstractEventLoop
    ended: threading.Event
    tls: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        if self.address.path:
            one = socket.socket(socket.AF_UNIX)
            one.settimeout(10)
            one.connect(self.address.path)
            return one
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.tls.wrap_socket(plain, server_hostname="localhost") if self.tls else plain

    def send(self, data: bytes) -> Answer:
        """What is answered to these bytes, on a connection of their own."""
        with self.connect() as one:
            with suppress(BrokenPipeError, ConnectionResetError):
                one.sendall(data)
            return answer(one)

    def post(
        self, body: bytes = b"{}", more: str = "", token: str | None = TOKEN, path: str = "/mcp"
    ) -> bytes:
        """A POST as a client of MCP sends it."""
        return self.head("POST", more + f"{FORM}Content-Length: {len(body)}\r\n", token, path) + body

    def head(self, method: str, more: str = "", token: str | None = TOKEN, path: str = "/mcp") -> bytes:
        said = "" if token is None else f"Authorization: Bearer {token}\r\n"
        host = "" if "Host:" in more else f"Host: localhost:{self.port}\r\n"
        return f"{method} {path} HTTP/1.1\r\n{host}{said}{more}\r\n".encode("latin-1")

    def wait_until_ended(self) -> None:
        """Until the front has ended by itself."""
        assert self.ended.wait(10)

    def events(self, kind: str = "http.refused") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [one for one in found if one["kind"] == kind]

    def refusals(self) -> list[str]:
        """The rules of all refusals that were logged one by one."""
        return [one["rule"].removeprefix("serve: ") for one in self.events() if one["rule"].count(" ") == 1]


@dataclass
class Answer:
    """A status of 0: the connection ended without a word."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["message"]).partition(":")[0]


def answer(one: socket.socket) -> Answer:
    """The next answer on a connection."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        if not (more := _received(one)):
            return Answer(0, {}, bytes(data))
        data += more
    raw, _, rest = bytes(data).partition(b"\r\n\r\n")
    first, *lines = raw.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", "-1"))
    while len(rest) < size and (more := _received(one)):
        rest += more
    return Answer(int(first.split()[1]), headers, rest)


def _received(one: socket.socket) -> bytes:
    try:
        return one.recv(1 << 16)
    except ConnectionResetError:
        return b""


@contextmanager
def served(
    where: Path,
    *,
    behave: Behaviour = echo,
    limits: Limits | None = None,
    listen: str = "127.0.0.1:0",
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    until: float | None = None,
    sessions: Callable[[], Any] | None = None,
    **more: Any,
) -> Iterator[Served]:
    """A front whose tokens are TOKEN (`a`) and OTHER (`b`); its log is in `where`."""
    if until is not None:
        more["oauth"] = lambda: Ending(until)
    file = where / "tokens"
    file.write_text(f"a {TOKEN}\nb {OTHER}\n")
    file.chmod(0o600)
    address = parse(listen)
    options = Options(
        routes={"": (), "github": ()},
        address=address,
        token_file="" if address.path else str(file),
        limits=limits or Limits(),
    )
    options = replace(options, **more)
    behind, log = sessions() if sessions else Sessions(behave), where / "front.jsonl"
    context, client = tls or (None, None)
    with http.bound(address) as sock, Sink("front", "serve", environ={}, path=str(log)) as sink:
        front = Front(options, sock, context, sink, os.environ)
        port = 0 if address.path else sock.getsockname()[1]
        with running(front, behind) as (loop, ended):
            yield Served(address, port, behind, log, front, loop, ended, client)


@contextmanager
def running(front: Front, sessions: Sessions) -> Iterator[tuple[asyncio.AbstractEventLoop, threading.Event]]:
    """The front's loop in a thread; signals are the process's and stay the test's."""
    ready, ended = threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    failed: list[BaseException] = []

    async def lead() -> None:
        loops.append(asyncio.get_running_loop())
        await front.run(lambda report: sessions, lambda told: ready.set(), handle_signals=False)

    def body() -> None:
        try:
            asyncio.run(lead())
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            ended.set()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    assert ready.wait(10)
    if failed:
        raise failed[0]
    try:
        yield loops[0], ended
    finally:
        with suppress(RuntimeError):  # it has ended by itself
            loops[0].call_soon_threadsafe(front.stop, "the test's end")
        thread.join(10)
        assert not thread.is_alive(), "the front does not end"
        if failed:
            raise failed[0]


async def forever(request: Request) -> Reply:
    """A stream on which something is said at once and nothing after that."""

    async def events() -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        await asyncio.Event().wait()

    return Reply(200, EVENTS, events())
