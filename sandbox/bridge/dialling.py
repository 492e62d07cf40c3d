"""How a connection to the server comes about: by address, by name or by a dialler, with TLS where asked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from sandbox.bridge.connection import Connection
from sandbox.bridge.run import Target
from sandbox.bridge.words import Dead, Failed

CONNECT_TIMEOUT = 15.0
_KEEP_ALIVE_IDLE, _KEEP_ALIVE_EVERY, _KEEP_ALIVE_TIMES = 60, 15, 4
_LOOPBACK = ("127.0.0.1", "::1")
_Found = TypeVar("_Found")


class Unreachable(Failed):
    """Nobody listens there, or nobody answers in time: this may pass."""


async def connect(target: Target) -> Connection:
    """A connection that is fit for a request; raises `Unreachable`, or `Dead` where waiting does not help."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            return await _connect(target)
    except TimeoutError:
        raise Unreachable(f"no connection to {place(target)} within {CONNECT_TIMEOUT:g} s") from None
    except ssl.SSLCertVerificationError as error:
        raise Dead(f"the certificate of {place(target)} is not trusted: {_why(error)}") from None
    except ssl.SSLError as error:
        raise Dead(f"no TLS with {place(target)}: {error.reason or 'the handshake failed'}") from None
    except socket.gaierror as error:
        raise Unreachable(f"the name of {place(target)} does not resolve: {error.strerror}") from None
    except OSError as error:
        raise Unreachable(f"no connection to {place(target)}: {error.strerror or error}") from None


def _why(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL's word, or that of who judged beside it."""
    return str(getattr(error, "verify_message", "") or error)


def place(target: Target) -> str:
    """The endpoint as a message may name it: without its headers, and without a query."""
    return f"`{origin(target)}{target.endpoint.path.partition('?')[0]}`"


def origin(target: Target) -> str:
    """Scheme, host and port."""
    return f"{'https' if target.endpoint.tls else 'http'}://{authority(target)}"


def authority(target: Target) -> str:
    """Host and port as the field `Host` has them."""
    endpoint = target.endpoint
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == (443 if endpoint.tls else 80) else f"{host}:{endpoint.port}"


async def _connect(target: Target) -> Connection:
    sock = await (in_thread(target.dial) if target.dial is not None else _by_address(target))
    try:
        sock.setblocking(False)
        _tune(sock)
        return await _wrapped(sock, target)
    except BaseException:
        sock.close()
        raise


async def _wrapped(sock: socket.socket, target: Target) -> Connection:
    loop = asyncio.get_running_loop()
    if not target.endpoint.tls:
        _, plain = await loop.create_connection(lambda: Connection(loop), sock=sock)
        return plain
    if target.tls is None:
        raise Dead(f"no trust was given for {place(target)}")
    _, connection = await loop.create_connection(
        lambda: Connection(loop), sock=sock, ssl=target.tls, server_hostname=target.endpoint.host
    )
    return connection


async def _by_address(target: Target) -> socket.socket:
    """Tries every address of the host in turn; the last one's failure is the reason."""
    failure: OSError | None = None
    for family, address in await _addresses(target):
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure or OSError("no address")


async def _addresses(target: Target) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    host, port = target.endpoint.host, target.endpoint.port
    if host in (*_LOOPBACK, "localhost"):
        # A server on the loopback of its own namespace may have chosen either.
        first = socket.AF_INET6 if host == "::1" else socket.AF_INET
        both = [(socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port))]
        return sorted(both, key=lambda one: one[0] != first)
    # As bytes, or Python loads its codec of international names from files that are not there any more.
    name = host.encode("ascii")
    found = await in_thread(lambda: socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
    return [(family, (str(address[0]), port)) for family, _, _, _, address in found]


def _tune(sock: socket.socket) -> None:
    """No request waits for company, and a server whose machine has gone is noticed in two minutes."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEP_ALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEP_ALIVE_EVERY)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEP_ALIVE_TIMES)


async def in_thread(call: Callable[[], _Found]) -> _Found:
    """What a call that blocks returns; one that never does holds up nobody's end, unlike in an executor."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Found] = loop.create_future()

    def work() -> None:
        try:
            found = call()
        except Exception as error:
            _tell(loop, future, partial(future.set_exception, error))
        else:
            _tell(loop, future, partial(future.set_result, found))

    threading.Thread(target=work, daemon=True).start()
    return await future


def _tell(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[_Found], settle: Callable[[], object]
) -> None:
    try:
        loop.call_soon_threadsafe(lambda: None if future.done() else settle())
    except RuntimeError:  # the loop has ended in the meantime
        return
