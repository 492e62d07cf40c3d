"""A hostile MCP server that speaks HTTP: `python listening.py PORT [HOST [DEED]]`; each tool is one attack.

Deeds: `silent` never listens, `deaf` ignores SIGTERM.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def connect(host: str, port: int) -> str:
    """To somebody else's port."""
    with socket.create_connection((host, port), timeout=3):
        return "connected"


def fetch(host: str, port: int) -> str:
    """A first line from there: where a gateway stands between, a connection alone says nothing."""
    with socket.create_connection((host, port), timeout=3) as one:
        one.sendall(f"GET /mcp HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
        line = one.recv(64).split(b"\r\n")[0].decode(errors="replace")
        if not line:
            raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
        return line


def own_stdin() -> str:
    """What its stdin has: nothing, data or the end."""
    if not select.select([0], [], [], 0.2)[0]:
        return "nothing"
    return "data" if os.read(0, 1) else "the end"


def say(text: str) -> str:
    """To its own stdout, which is no message."""
    os.write(1, f"{text}\n".encode())
    return text


def named(comm: str) -> list[int]:
    """The processes that call themselves so."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/comm") as file:
            if file.read().strip() == comm:
                found.append(int(name))
    return found


def peek(pid: int) -> dict[str, str]:
    """Everything of a process that would show its memory, its descriptors or its environment."""
    found = {}
    for name in ("environ", "mem", "maps", "auxv"):
        found[name] = _outcome(lambda name=name: open(f"/proc/{pid}/{name}", "rb").close())
    for name in ("fd", "map_files"):
        found[name] = _outcome(lambda name=name: os.listdir(f"/proc/{pid}/{name}"))
    for name in ("cwd", "root", "exe"):
        found[name] = _outcome(lambda name=name: os.readlink(f"/proc/{pid}/{name}"))
    return found


def _outcome(act: Any) -> str:
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))
    return "got"


def kill(pid: int) -> str:
    """The bridge has the server's own uid: it may."""
    os.kill(pid, signal.SIGKILL)
    return "killed"


def big(size: int) -> str:
    """An answer of that many bytes."""
    return "x" * size


def leave(status: int) -> None:
    """Ends without an answer."""
    os._exit(status)


def hang() -> None:
    """Never answers."""
    time.sleep(3600)


TOOLS = {one.__name__: one for one in (connect, fetch, own_stdin, say, named, peek, kill, big, leave, hang)}


def called(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of one call, as a tool's text."""
    try:
        outcome = {"got": TOOLS[name](**arguments)}
    except OSError as error:
        outcome = {"failed": errno.errorcode.get(error.errno or 0, repr(error))}
    return {"content": [{"type": "text", "text": json.dumps(outcome)}]}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The result of one request."""
    if method == "initialize":
        revision = params["protocolVersion"]
        info = {"name": "listening", "version": "1"}
        return {"protocolVersion": revision, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        schema = {"type": "object"}
        return {"tools": [{"name": name, "description": name, "inputSchema": schema} for name in TOOLS]}
    return called(params["name"], params["arguments"]) if method == "tools/call" else {}


class Handler(BaseHTTPRequestHandler):
    """One message a request, answered as JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One message."""
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message or "method" not in message:
            self._reply(202, b"")
            return
        result = answer(message["method"], message.get("params", {}))
        reply = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        self._reply(200, json.dumps(reply).encode())

    def do_GET(self) -> None:
        """It has no stream, and no session to end."""
        self._reply(405, b"")

    do_DELETE = do_GET

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if body:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """On any address of either family; `::` takes both."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """Says nothing."""

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)


def main() -> None:
    """As the words say."""
    words = [*sys.argv[1:], "127.0.0.1", "", ""]
    port, host = int(words[0]), words[1]
    if "deaf" in words:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "silent" in words:
        hang()
    Server(host, port).serve_forever()


if __name__ == "__main__":
    main()
