"""Proxies such as a company has: HTTP CONNECT and SOCKS5, which resolve names themselves and log each target.

They dial what the zone says and ask no name server: a name that is seen there was looked up by somebody else.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
from pathlib import Path
from typing import Any

from tests.egress import services

CONNECT, CONNECT_REFUSING, SOCKS, SOCKS_REFUSING = 3128, 3129, 1080, 1081
USER, PASSWORD = "clerk", "proxy-horse"
SOCKS_SUCCEEDED, SOCKS_NOT_ALLOWED = 0, 2  # RFC 1928, 6

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


class Proxies:
    """All four, in one loop; a line of the log is written before anything is dialled."""

    def __init__(self, log: Path) -> None:
        self._file = log.open("a", buffering=1)

    async def serve(self) -> None:
        """Returns when every port listens."""
        http, socks = (self.connect, CONNECT, CONNECT_REFUSING), (self.socks, SOCKS, SOCKS_REFUSING)
        for handle, *ports in (http, socks):
            for port in ports:
                await asyncio.start_server(handle, services.INTERNET, port)

    def _log(self, port: int, host: str, at: int, user: str | None) -> None:
        self._file.write(json.dumps({"proxy": port, "host": host, "port": at, "user": user}) + "\n")

    # --- HTTP -------------------------------------------------------------------------------------

    async def connect(self, reader: Reader, writer: Writer) -> None:
        """One `CONNECT host:port`, with the user and password that this proxy wants."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            method, target, _ = head.split("\r\n")[0].split(" ")
            host, _, at = target.rpartition(":")
            login, own = _basic(head), writer.get_extra_info("sockname")[1]
            self._log(own, host, int(at), login)
            if method != "CONNECT" or own == CONNECT_REFUSING or login != f"{USER}:{PASSWORD}":
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            await _carry(host, int(at), reader, writer, b"HTTP/1.1 200 Connection established\r\n\r\n")

    # --- SOCKS5 (RFC 1928, RFC 1929) --------------------------------------------------------------

    async def socks(self, reader: Reader, writer: Writer) -> None:
        """One request to connect, by name or by address."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            user = await _greeted(reader, writer)
            if user not in (None, f"{USER}:{PASSWORD}"):
                return
            _, command, _, kind = await reader.readexactly(4)
            host = await _address(reader, kind)
            (at,) = struct.unpack(">H", await reader.readexactly(2))
            own = writer.get_extra_info("sockname")[1]
            self._log(own, host, at, user)
            if command != 1 or own == SOCKS_REFUSING:
                writer.write(_reply(SOCKS_NOT_ALLOWED))
                return
            await _carry(host, at, reader, writer, _reply(SOCKS_SUCCEEDED))


def _basic(head: str) -> str | None:
    """User and password of the `Proxy-Authorization` field."""
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "proxy-authorization":
            return base64.b64decode(value.strip().removeprefix("Basic ")).decode()
    return None


async def _greeted(reader: Reader, writer: Writer) -> str | None:
    """User and password, for a client that offers them (method 2); whether they are right, it is told."""
    _, count = await reader.readexactly(2)
    if 2 not in await reader.readexactly(count):
        writer.write(b"\x05\x00")
        return None
    writer.write(b"\x05\x02")
    words = []
    await reader.readexactly(1)
    for _ in range(2):
        (length,) = await reader.readexactly(1)
        words.append((await reader.readexactly(length)).decode())
    login = ":".join(words)
    writer.write(b"\x01\x00" if login == f"{USER}:{PASSWORD}" else b"\x01\x01")
    return login


async def _address(reader: Reader, kind: int) -> str:
    if kind == 3:  # a name
        (length,) = await reader.readexactly(1)
        return (await reader.readexactly(length)).decode()
    family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
    return socket.inet_ntop(family, await reader.readexactly(length))


def _reply(code: int) -> bytes:
    return bytes([5, code, 0, 1]) + bytes(6)


async def _carry(host: str, port: int, reader: Reader, writer: Writer, welcome: bytes) -> None:
    """Both directions, until both have ended."""
    address = services.ZONE.get(host, (host,))[0]
    there_reader, there_writer = await asyncio.open_connection(address, port)
    writer.write(welcome)
    with contextlib.closing(there_writer):
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))


async def _pump(reader: Reader, writer: Writer) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def lines(log: Path) -> list[dict[str, Any]]:
    """What the proxies were asked for so far."""
    return [json.loads(line) for line in log.read_text().splitlines()]
