"""The measuring end over HTTP: requests on connections that stay, JSON or events, timed call by call."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from benchmark.client import ANSWER_S, HELLO, Failed

CHUNK = 1 << 18
ACCEPT = "Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"


class Connection:
    """One connection, on which one request at a time is answered."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = bytearray()
        self._body: bytearray = bytearray()
        self._left: int | None = None
        """Bytes of the body to come; None in a body of chunks, or before its head."""
        self.headers: dict[str, str] = {}
        self.status = 0
        self._in_head = True

    def send(self, data: bytes) -> None:
        """One whole request; the response to the one before has been read."""
        self._in_head, self._left, self._body = True, None, bytearray()
        self.socket.sendall(data)

    def receive(self) -> bool:
        """Reads what is there; True once the response is whole."""
        data = self.socket.recv(CHUNK)
        if not data:
            raise Failed("the connection ended in a response")
        self._held += data
        if self._in_head and not self._head():
            return False
        return self._counted() if self._left is not None else self._chunked()

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def _head(self) -> bool:
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._held[:end].decode("latin-1").split("\r\n")
        del self._held[: end + 4]
        self.status = int(first.split()[1])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            self._left = int(self.headers.get("content-length", 0))
        self._in_head = False
        return True

    def _counted(self) -> bool:
        self._body += self._held[: self._left]
        self._left = (self._left or 0) - len(self._held)
        self._held.clear()
        return self._left <= 0

    def _chunked(self) -> bool:
        while (end := self._held.find(b"\r\n")) >= 0:
            size = int(self._held[:end].split(b";")[0], 16)
            if len(self._held) < end + 4 + size:
                return False
            self._body += self._held[end + 2 : end + 2 + size]
            del self._held[: end + 4 + size]
            if size == 0:
                return True
        return False


class HttpClient:
    """One session with a server at a URL, on as many connections as calls are open."""

    def __init__(self, url: str, token: str = "", root: int = 0) -> None:
        self.root = root
        """The process that stands between, and all below it; 0 where none does."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._line = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{ACCEPT}"
        self._line += f"Authorization: Bearer {token}\r\n" if token else ""
        self._last = 0
        self._idle: list[Connection] = []
        hello = self._ask("initialize", HELLO)
        session = hello.headers.get("mcp-session-id")
        self._line += "MCP-Protocol-Version: 2025-11-25\r\n"
        self._line += f"Mcp-Session-Id: {session}\r\n" if session else ""
        self._whole(self._request({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    def list_tools(self) -> None:
        """Reads the tools, as every client does before it calls one."""
        self._ask("tools/list", {})

    def call(self, tool: str, arguments: Mapping[str, object]) -> float:
        """Seconds that one tools/call takes, from the first byte written to the last byte read."""
        data = self._numbered("tools/call", {"name": tool, "arguments": arguments})
        began = time.perf_counter()
        one = self._whole(data)
        took = time.perf_counter() - began
        self._check(one)
        return took

    def burst(self, tool: str, arguments: Mapping[str, object], count: int, width: int) -> float:
        """Seconds that so many calls take, of which `width` are open at once."""
        datas = [self._numbered("tools/call", {"name": tool, "arguments": arguments}) for _ in range(count)]
        ones = [self._connection() for _ in range(width)]
        with selectors.DefaultSelector() as ready:
            began = time.perf_counter()
            for one in ones:
                one.send(datas.pop())
                ready.register(one.socket, selectors.EVENT_READ, one)
            left = count
            while left:
                for key, _ in ready.select(ANSWER_S):
                    if key.data.receive():
                        self._check(key.data)
                        left -= 1
                        if datas:
                            key.data.send(datas.pop())
            took = time.perf_counter() - began
        self._idle += ones
        return took

    def end(self) -> None:
        """Closes every connection."""
        for one in self._idle:
            one.socket.close()

    def _ask(self, method: str, params: Mapping[str, object]) -> Connection:
        one = self._whole(self._numbered(method, params))
        self._check(one)
        return one

    def _numbered(self, method: str, params: Mapping[str, object]) -> bytes:
        self._last += 1
        return self._request({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})

    def _request(self, message: Mapping[str, object]) -> bytes:
        body = json.dumps(message).encode()
        return f"{self._line}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def _connection(self) -> Connection:
        return self._idle.pop() if self._idle else Connection(self._host, self._port)

    def _whole(self, data: bytes) -> Connection:
        one = self._connection()
        one.send(data)
        while not one.receive():
            pass
        self._idle.append(one)
        return one

    @staticmethod
    def _check(one: Connection) -> None:
        """An error, or no answer at all, ends the run."""
        body = one.body
        if one.headers.get("content-type", "").startswith("text/event-stream"):
            found = [line[5:] for line in body.split(b"\n") if line.startswith(b"data:") and len(line) > 7]
            body = found[-1] if found else b""
        try:
            message: Any = json.loads(body)
        except ValueError:
            message = {}
        if one.status != 200 or "result" not in message or message["result"].get("isError"):
            raise Failed(f"status {one.status}: {body[:300]!r}")
