"""The internet's web server: says `hello HOST` to every request, and writes down what it was asked.

`/big/N` sends N MiB. A WebSocket is accepted and echoes. Plain on 80 and 8080, TLS on 443 and 8443.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

PLAIN, SECURE = (80, 8080), (443, 8443)
BARRIER = 10  # a datagram here is written to the log as it is
KEPT = 4096  # a body is logged this far
MIB = 1 << 20
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Headers = dict[str, str]


class Log:
    """JSON lines, each written before the answer that it is about."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def write(self, **line: Any) -> None:
        self._file.write(json.dumps(line) + "\n")


class Barrier(asyncio.DatagramProtocol):
    """What is sent here is logged behind all that this server read before."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def datagram_received(self, data: bytes, _: Any) -> None:
        self._log.write(mark=data.decode(errors="replace"))


class Server:
    """One for all ports; a connection is served until its client goes."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def serve(self, reader: Reader, writer: Writer) -> None:
        """Answers request after request; a client that breaks off is nobody's error."""
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError)
        with contextlib.suppress(*gone, ValueError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: Reader, writer: Writer) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, version = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect", "").lower() == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length, body = await _count(reader, headers)
        self._log.write(
            port=writer.get_extra_info("sockname")[1],
            peer=writer.get_extra_info("peername")[0],
            host=headers.get("host"),
            sni=getattr(writer.get_extra_info("ssl_object"), "asked_for", None),
            method=method,
            path=target,
            headers=headers,
            length=length,
            body=body.decode("latin-1"),
        )
        if headers.get("upgrade", "").lower() == "websocket":
            await _websocket(reader, writer, headers)
            return False
        await _answer(writer, method, target, headers.get("host", ""))
        return version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"


async def _count(reader: Reader, headers: Headers) -> tuple[int, bytes]:
    """How long the body is, and how it begins."""
    length, kept = 0, b""
    async for piece in _body(reader, headers):
        length += len(piece)
        kept += piece[: KEPT - len(kept)]
    return length, kept


async def _body(reader: Reader, headers: Headers) -> AsyncIterator[bytes]:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            yield (await reader.readexactly(size + 2))[:-2]
        while (await reader.readuntil(b"\r\n")) != b"\r\n":
            pass
        return
    left = int(headers.get("content-length", 0))
    while left:
        piece = await reader.read(min(left, MIB))
        if not piece:
            raise ConnectionError("the body ended early")
        left -= len(piece)
        yield piece


async def _answer(writer: Writer, method: str, target: str, host: str) -> None:
    size = target.removeprefix("/big/")
    pieces = [b"x" * MIB] * int(size) if size != target else [f"hello {host}\n".encode()]
    total = sum(map(len, pieces))
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {total}\r\n\r\n".encode())
    for piece in pieces if method != "HEAD" else ():
        writer.write(piece)
        await writer.drain()


async def _websocket(reader: Reader, writer: Writer, headers: Headers) -> None:
    """Sends every frame back, without its mask; frames up to 64 KiB."""
    key = hashlib.sha1(headers["sec-websocket-key"].encode() + WEBSOCKET, usedforsecurity=False).digest()
    accept = base64.b64encode(key).decode()
    upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    while True:
        kind, size = await reader.readexactly(2)
        extended = await reader.readexactly(2) if size & 127 == 126 else b""
        length = struct.unpack(">H", extended)[0] if extended else size & 127
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(await reader.readexactly(length)))
        writer.write(bytes([kind, size & 127]) + extended + data)
        if kind & 15 == 8:  # close
            return


def _tls(directory: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls" / "chain.pem")
    context.set_alpn_protocols(["http/1.1"])

    def note(connection: Any, name: str | None, _: ssl.SSLContext) -> None:
        connection.asked_for = name

    context.sni_callback = note
    return context


async def run(directory: Path, ready: Callable[[], None]) -> None:
    """Serves until the process ends; `ready` is called when every port listens."""
    log = Log(directory / "web.jsonl")
    server, tls = Server(log), _tls(directory)
    for family in ("0.0.0.0", "::"):  # noqa: S104 - in a namespace where every address is ours
        for port in PLAIN:
            await asyncio.start_server(server.serve, family, port)
        for port in SECURE:
            await asyncio.start_server(server.serve, family, port, ssl=tls)
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Barrier(log), ("0.0.0.0", BARRIER))  # noqa: S104
    ready()
    await asyncio.Event().wait()
