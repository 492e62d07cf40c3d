"""A server that says exactly the bytes that a test wants it to say, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
STREAM = "text/event-stream"
SERVER = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "serverInfo": {"name": "scripted", "version": "1"},
}


@dataclass
class Asked:
    """One request, as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def message(self) -> Json:
        return dict(json.loads(self.body)) if self.body else {}

    @property
    def is_call(self) -> bool:
        return self.method == "POST" and "id" in self.message and "method" in self.message


class Gone(Exception):
    """The client has closed the connection."""


@dataclass
class Talk:
    """One connection, from the server's side."""

    sock: socket.socket
    held: bytes = b""

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Gone from None

    def answer(self, status: int, body: bytes = b"", kind: str = "", *fields: str) -> None:
        """A whole answer with a length."""
        self.send(
            head(
                status, f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else []), *fields
            )
        )
        self.send(body)

    def json(self, message: Any, *fields: str, status: int = 200) -> None:
        self.answer(status, json.dumps(message).encode(), "application/json", *fields)

    def result(self, asked: Asked, result: Json, *fields: str) -> None:
        self.json({"jsonrpc": "2.0", "id": asked.message["id"], "result": result}, *fields)

    def stream(self, *fields: str) -> None:
        """The head of a stream that ends with the connection's chunks."""
        self.send(head(200, f"Content-Type: {STREAM}", "Transfer-Encoding: chunked", *fields))

    def event(self, message: Any = None, **named: str | int) -> None:
        """One event in one chunk."""
        lines = [f"{name}: {value}\n" for name, value in named.items()]
        data = message if isinstance(message, str) else "" if message is None else json.dumps(message)
        self.chunk("".join(lines).encode() + f"data: {data}\n\n".encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def last(self) -> None:
        self.send(b"0\r\n\r\n")

    def read(self) -> bytes:
        try:
            chunk = self.sock.recv(1 << 16)
        except OSError:
            chunk = b""
        if not chunk:
            raise Gone
        return chunk

    def until_closed(self) -> None:
        """Returns once the client has closed the connection."""
        with suppress(Gone):
            while True:
                self.read()

    def request(self, number: int) -> Asked:
        while b"\r\n\r\n" not in self.held:
            self.held += self.read()
            if self.held.startswith(b"\x16"):  # the client speaks TLS, and this server does not
                self.answer(400)
                raise Gone
        top, _, rest = self.held.partition(b"\r\n\r\n")
        line, *fields = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in fields)}
        size = int(headers.get("content-length", "0"))
        while len(rest) < size:
            rest += self.read()
        self.held = rest[size:]
        method, path, _ = line.split(" ")
        return Asked(method, path, headers, rest[:size], number)


def head(status: int, *fields: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} Said", *fields, "")).encode("latin-1")


Script = Callable[[Talk, Asked], None]


def honest(talk: Talk, asked: Asked) -> None:
    """What a server without a session answers where a script has no word of its own."""
    if asked.method == "GET":
        talk.answer(405)
    elif not asked.is_call:
        talk.answer(202)
    elif asked.message["method"] == "initialize":
        talk.result(asked, SERVER)
    else:
        talk.result(asked, {"content": [{"type": "text", "text": "honest"}]})


@dataclass
class Scripted:
    """Listens on the loopback; every connection is served by a thread of its own."""

    script: Script
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._open: list[socket.socket] = []
        self.heard = threading.Condition()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def of(self, method: str) -> list[Asked]:
        """The requests of one HTTP method, so far."""
        return [asked for asked in self.asked if asked.method == method]

    def calls(self, method: str) -> list[Asked]:
        """The messages of one MCP method, so far."""
        return [asked for asked in self.of("POST") if asked.message.get("method") == method]

    def wait(self, ready: Callable[[], bool], patience: float = 10.0) -> None:
        """Returns once the requests so far satisfy `ready`."""
        with self.heard:
            assert self.heard.wait_for(ready, patience), [(one.method, one.body) for one in self.asked]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            with self.tls.wrap_socket(sock, server_side=True) if self.tls else sock as wrapped:
                self._open.append(wrapped)
                talk = Talk(wrapped)
                while True:
                    asked = talk.request(number)
                    with self.heard:
                        self.asked.append(asked)
                        self.heard.notify_all()
                    self.script(talk, asked)
        except (Gone, OSError):
            return
        except BaseException as fault:
            self.faults.append(fault)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a connection of the server's does not end"
        assert not self.faults, self.faults


@contextmanager
def scripted(script: Script = honest, **options: Any) -> Iterator[Scripted]:
    server = Scripted(script, **options)
    try:
        yield server
    finally:
        server.close()
