"""Through the host's own proxy: HTTP CONNECT (RFC 9110 9.3.6) or SOCKS, which resolves the name itself.

CONNECT is our own, because not a byte behind the proxy's answer may be read with it: a host that speaks first
may have its greeting there. SOCKS answers have a length, and are python-socks's.
"""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlsplit

from aiohappyeyeballs import start_connection

HEAD_MAX = 1 << 14
_END = b"\r\n\r\n"


async def through(url: str, host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket; ConnectionError with what the proxy said, but never the URL."""
    try:
        if url.startswith("http://"):
            return await _connect(urlsplit(url), f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        # A quarter of what the gateway would load, and few have such a proxy: `process` loads it for them.
        from python_socks.async_.asyncio import Proxy

        found: socket.socket = await Proxy.from_url(url, rdns=True).connect(host, port)
    except Exception as error:
        # The library's own errors are no OSErrors; what a proxy said may be long and hostile.
        why = f"the host's proxy: {type(error).__name__}: {str(error)[:200]}"
        raise ConnectionError(111, why) from error
    return found


async def _connect(url: SplitResult, place: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(url.hostname, url.port, type=socket.SOCK_STREAM)
    one = await start_connection(found, happy_eyeballs_delay=0.25)
    try:
        await loop.sock_sendall(one, _request(url, place))
        _check(await _head(loop, one))
    except BaseException:
        one.close()
        raise
    return one


def _request(url: SplitResult, place: str) -> bytes:
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if url.username is not None:
        login = f"{unquote(url.username)}:{unquote(url.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


async def _head(loop: asyncio.AbstractEventLoop, one: socket.socket) -> bytes:
    """The proxy's answer to its last byte; what is behind it stays in the socket."""
    head = b""
    while not head.endswith(_END):
        if len(head) > HEAD_MAX:
            raise ConnectionError(f"an answer of more than {HEAD_MAX} bytes")
        seen = await _peek(loop, one)
        if not seen:
            raise ConnectionError("it closed the connection")
        # The end may begin in what was taken already.
        overlap = head[-len(_END) + 1 :]
        end = (overlap + seen).find(_END)
        head += one.recv(len(seen) if end < 0 else end + len(_END) - len(overlap))
    return head


async def _peek(loop: asyncio.AbstractEventLoop, one: socket.socket) -> bytes:
    while True:
        try:
            return one.recv(HEAD_MAX, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            await _readable(loop, one)


async def _readable(loop: asyncio.AbstractEventLoop, one: socket.socket) -> None:
    ready = asyncio.Event()
    loop.add_reader(one, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(one)


def _check(head: bytes) -> None:
    line = head.partition(b"\r\n")[0].decode("ascii", "backslashreplace")
    version, _, status = line.partition(" ")
    if not version.startswith("HTTP/1.") or status.partition(" ")[0] != "200":
        raise ConnectionError(f"it answered `{line[:100]}`")
