"""The smallest MCP server over streamable HTTP: the echo of `echo_server.py`, a thread for each connection.

`echo_http.py PORT` says its port in one line, once it listens on the loopback. It answers with JSON at once,
knows no sessions and has no stream of its own: what remains is the cost of the way.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
from typing import Any

TOOL = {
    "name": "echo",
    "description": "Says it again.",
    "inputSchema": {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]},
}
CHUNK = 1 << 18
EMPTY = b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n"


def result(message: dict[str, Any]) -> dict[str, Any]:
    """What a request is answered."""
    if message["method"] == "tools/call":
        return {"content": [{"type": "text", "text": message["params"]["arguments"]["message"]}]}
    if message["method"] == "tools/list":
        return {"tools": [TOOL]}
    info = {"name": "echo", "version": "1"}
    return {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}


def answer(method: bytes, body: bytes) -> bytes:
    """The whole response."""
    if method != b"POST":
        return EMPTY % (b"405 Method Not Allowed" if method == b"GET" else b"200 OK")
    message = json.loads(body)
    if "id" not in message:
        return EMPTY % b"202 Accepted"
    said = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result(message)}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(said) + said


def length(head: bytes) -> int:
    """The bytes of a request's body."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def serve(one: socket.socket) -> None:
    """Requests of one connection, until it ends."""
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    held = bytearray()
    with one:
        while True:
            while (end := held.find(b"\r\n\r\n")) < 0:
                data = one.recv(CHUNK)
                if not data:
                    return
                held += data
            size = end + 4 + length(bytes(held[:end]))
            while len(held) < size:
                held += one.recv(CHUNK)
            one.sendall(answer(held.partition(b" ")[0], bytes(held[end + 4 : size])))
            del held[:size]


def main(port: int) -> None:
    """Serves until it is ended."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


main(int(sys.argv[1]))
