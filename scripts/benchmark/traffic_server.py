"""An MCP server that measures its own way to a target on loopback: as it is, or as the sandbox lets it.

`traffic_server.py RAW [TLS]`, the ports of `traffic_target.py`. It loads nothing that a start would pay for.
"""

from __future__ import annotations

import json
import sys
from typing import Any

OPENING = 64
CHUNK = 1 << 18
HELD: list[Any] = []


def opened(tls: bool, what: str, size: int = 0) -> Any:
    """A connection that has said what it wants and heard its opening again."""
    import socket

    one = socket.create_connection(("127.0.0.1", int(sys.argv[2 if tls else 1])))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        one = context().wrap_socket(one, server_hostname="localhost")
    one.sendall(f"\x02 {what} {size}".encode().ljust(OPENING))
    left = OPENING
    while left:
        got = len(one.recv(left))
        if not got:
            raise ConnectionError("closed before the answer")
        left -= got
    return one


def context() -> Any:
    """TLS as a client speaks it; whose certificate it is does not matter here."""
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def connect(count: int, tls: bool = False) -> list[float]:
    """Microseconds of each: connect, 64 bytes there and back, close."""
    from time import perf_counter

    found = []
    for _ in range(count):
        began = perf_counter()
        opened(tls, "echo").close()
        found.append((perf_counter() - began) * 1e6)
    return found


def hold(count: int) -> list[float]:
    """Opens connections and keeps them."""
    HELD.extend(opened(False, "hold") for _ in range(count))
    return []


def download(size: int, tls: bool = False) -> list[float]:
    """MB/s from the first byte asked for to the last one that came."""
    from time import perf_counter

    block, left = bytearray(CHUNK), size
    with opened(tls, "download", size) as one:
        began = perf_counter()
        while left:
            got = one.recv_into(block)
            if not got:
                raise ConnectionError("closed before the end")
            left -= got
        return [size / 1e6 / (perf_counter() - began)]


def upload(size: int, tls: bool = False) -> list[float]:
    """MB/s from the first byte sent to the word that the last one came."""
    from time import perf_counter

    block, left = memoryview(bytearray(CHUNK)), size
    with opened(tls, "upload", size) as one:
        began = perf_counter()
        while left:
            part = block[: min(left, CHUNK)]
            one.sendall(part)
            left -= len(part)
        if not one.recv(OPENING):
            raise ConnectionError("closed before the end")
        return [size / 1e6 / (perf_counter() - began)]


def look_up(count: int, name: str) -> list[float]:
    """Microseconds of each lookup."""
    import socket
    from time import perf_counter

    found = []
    for _ in range(count):
        began = perf_counter()
        socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
        found.append((perf_counter() - began) * 1e6)
    return found


TOOLS = {one.__name__: one for one in (connect, hold, download, upload, look_up)}

for line in sys.stdin.buffer:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "tools/call":
        call = message["params"]
        try:
            found = TOOLS[call["name"]](**call["arguments"])
            result: dict[str, Any] = {"content": [], "structuredContent": {"found": found}}
        except OSError as error:
            text = f"{type(error).__name__}: {error}"
            result = {"content": [{"type": "text", "text": text}], "isError": True}
    else:
        info = {"name": "traffic", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
    answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
    sys.stdout.buffer.write(answer.encode() + b"\n")
    sys.stdout.buffer.flush()
