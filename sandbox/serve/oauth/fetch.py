"""One bounded document over verified TLS: no redirect, no cookie, nothing decompressed, nothing unending."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Thread
from typing import Any, Final

import h11
from aiohappyeyeballs import AddrInfoType, start_connection

from sandbox.egress import addresses, tunnel, upstream
from sandbox.serve.oauth.place import Place

DEADLINE_S: Final = 10.0
"""For all of it: name, connection, TLS and the last byte."""
LARGEST: Final = 256 << 10
_HEAD: Final = 16 << 10
_AT_ONCE: Final = 16 << 10
_INNER: Final = "it has no public address, and only the issuer's metadata names it"


class NoDocument(Exception):
    """The document was not to be had, and why."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """How documents of one issuer are fetched: by whose certificates and through which proxy of the host."""

    tls: ssl.SSLContext
    proxies: Mapping[str, str]

    async def get(self, place: Place, *, named: bool) -> bytes:
        """The document; `named`: the settings themselves name its server, which may then be a private one."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._get(place, named=named)
        except TimeoutError:
            raise NoDocument(f"`{place.url}`: no whole answer within {DEADLINE_S:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise NoDocument(
                f"`{place.url}`: its certificate does not hold: {error.verify_message}"
            ) from None
        except (OSError, h11.ProtocolError, NoDocument) as error:
            raise NoDocument(f"`{place.url}`: {_words(error)}") from None

    async def _get(self, place: Place, *, named: bool) -> bytes:
        if not named:
            _refuse_inner(place.host)
        proxy = upstream.proxy(self.proxies, place.host, place.port)
        if proxy is not None:
            sock = await tunnel.through(proxy, place.host, place.port)
        else:
            sock = await start_connection(await _resolved(place, named=named), happy_eyeballs_delay=0.25)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=self.tls, server_hostname=place.host, limit=_AT_ONCE
        )
        try:
            writer.write(_request(place))
            return await _document(reader)
        finally:
            # At once: a server that does not say goodbye is not waited for.
            writer.transport.abort()


def _refuse_inner(host: str) -> None:
    """What is private by its spelling alone; behind a proxy no more is known, since that looks names up."""
    try:
        is_public = addresses.kind(ip_address(host)) == "public"
    except ValueError:
        is_public = "." in host and not host.endswith((".localhost", ".local", ".internal"))
    if not is_public:
        raise NoDocument(_INNER)


async def _resolved(place: Place, *, named: bool) -> list[AddrInfoType]:
    """The addresses that may be asked: what only a document names lies in public."""
    found = await _looked_up(place.host, place.port)
    good = [one for one in found if named or addresses.kind(ip_address(one[4][0])) == "public"]
    if not good:
        raise NoDocument(_INNER)
    return good


async def _looked_up(host: str, port: int) -> list[AddrInfoType]:
    """The host's addresses; a lookup that hangs holds up neither its caller nor the process's end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[AddrInfoType]] = loop.create_future()

    def tell(found: list[AddrInfoType] | OSError) -> None:
        if not answer.done():
            answer.set_exception(found) if isinstance(found, OSError) else answer.set_result(found)

    def look() -> None:
        found: Any
        try:
            # As bytes: a str goes through the IDNA codec, which has errors of its own.
            found = socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM)
        except OSError as error:
            found = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, found)

    # Not the loop's own threads: those are waited for at its end, and a resolver takes its time.
    Thread(target=look, daemon=True).start()
    return await answer


def _request(place: Place) -> bytes:
    connection = h11.Connection(h11.CLIENT)
    default = place.port == 443
    host = f"[{place.host}]" if ":" in place.host else place.host
    headers = [
        ("Host", host if default else f"{host}:{place.port}"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "mcp-sandbox"),
        ("Connection", "close"),
    ]
    target = f"{place.path or '/'}{place.query}"
    request = h11.Request(method="GET", target=target, headers=headers)
    return (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")


async def _document(reader: asyncio.StreamReader) -> bytes:
    """The body of a plain 200, at most `LARGEST` bytes; anything else is no document."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "-")]))
    connection.send(h11.EndOfMessage())
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_AT_ONCE))
        elif isinstance(event, h11.Response):
            _check(event)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > LARGEST:
                raise NoDocument(f"more than {LARGEST} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.InformationalResponse):
            raise NoDocument("the connection ended before the answer")


def _check(response: h11.Response) -> None:
    if 300 <= response.status_code < 400:
        raise NoDocument(f"a redirect (status {response.status_code}), which is not followed")
    if response.status_code != 200:
        raise NoDocument(f"status {response.status_code}")
    if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in response.headers):
        raise NoDocument("an encoded body, which was not asked for")


def _words(error: Exception) -> str:
    """What went wrong, without anything that the other side wrote."""
    if isinstance(error, NoDocument):
        return str(error)
    if isinstance(error, h11.ProtocolError):
        return "its answer is not HTTP"
    if type(error) is ConnectionError:  # of the host's proxy, with what that said
        return "".join(filter(str.isprintable, error.strerror or "the host's proxy failed"))
    if isinstance(error, ssl.SSLError | socket.gaierror) or not isinstance(error, OSError):
        return str(getattr(error, "strerror", None) or type(error).__name__)
    # asyncio's own words hold the address and not the reason.
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
