"""A file of a stranger's, whose hash is known beforehand, fetched whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import tempfile
from collections.abc import Mapping
from ipaddress import ip_address
from typing import BinaryIO
from urllib.parse import urljoin

import h11

from sandbox.egress import addresses, upstream
from sandbox.egress.decide import Denied, Target
from sandbox.egress.dial import Dialer
from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.policy import hosts, remote
from sandbox.policy.model import HostRule
from sandbox.policy.remote import LOOPBACK, Url
from sandbox.records import dataclass

SECONDS = 300.0
_SILENCE = 30.0
_HEAD_MAX = 32 << 10
_CHUNK = 256 << 10
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset((301, 302, 303, 307, 308))

RULE = "what is fetched comes over TLS from a public address, and is the very file whose hash was given"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be fetched, and how it is known."""

    url: str
    sha256: str
    largest: int


def fetch(wish: Wish, folder: str, suffix: str, environ: Mapping[str, str]) -> str:
    """Where the file is, under its hash in `folder`; what is there already is not fetched again."""
    place = os.path.join(folder, wish.sha256 + suffix)
    if _is(place, wish.sha256):
        return place
    os.makedirs(folder, mode=0o700, exist_ok=True)
    fd, part = tempfile.mkstemp(dir=folder, prefix="part-")
    try:
        with os.fdopen(fd, "wb") as file:
            found = asyncio.run(_within(wish, file, environ))
        if found != wish.sha256:
            raise _refused(wish, f"it has the SHA-256 {found}, and not {wish.sha256}", "fetched-other")
        os.rename(part, place)
    except (OSError, h11.ProtocolError) as error:
        raise _refused(wish, _why(error)) from None
    finally:
        if os.path.exists(part):
            os.unlink(part)
    return place


def _is(path: str, sha256: str) -> bool:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


async def _within(wish: Wish, file: BinaryIO, environ: Mapping[str, str]) -> str:
    """The hash of what was written."""
    url, first = _url(wish, wish.url), _url(wish, wish.url)
    async with asyncio.timeout(SECONDS):
        for _ in range(_MOST_REDIRECTS + 1):
            if url.host in LOOPBACK and first.host not in LOOPBACK:
                raise _refused(wish, "it leads to this machine itself")
            reader, writer = await _connected(wish, url, environ)
            try:
                found, further = await _answer(wish, reader, writer, url, file)
            finally:
                writer.transport.abort()  # not waited for: a peer without a TLS goodbye would hold us up
            if further is None:
                return found
            url = _url(wish, urljoin(str(url), further))
    raise _refused(wish, f"it leads elsewhere more than {_MOST_REDIRECTS} times")


def _url(wish: Wish, text: str) -> Url:
    try:
        return remote.parse(text)
    except ValueError as error:
        raise _refused(wish, str(error)) from None


async def _connected(
    wish: Wish, url: Url, environ: Mapping[str, str]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    dialer, target = Dialer((), upstream.settings(environ)), _target(wish, url)
    way = await dialer.way(target)
    if isinstance(way, Denied):
        raise _refused(wish, way.reason)
    sock = await dialer.connect(target, way)
    tls = ssl.create_default_context() if url.tls else None
    return await asyncio.open_connection(
        sock=sock, ssl=tls, server_hostname=url.host if tls else None, limit=_CHUNK
    )


def _target(wish: Wish, url: Url) -> Target:
    rule = HostRule(url.host, url.port)
    if url.host in LOOPBACK:
        return Target("local", url.host, url.port, rule)
    if hosts.literal(url.host):
        # Asked here too: past a proxy nobody resolves, and so nobody checks, an address.
        kind = addresses.reachable(ip_address(url.host), private=False, listed=_nothing, own=_nothing)
        if kind is not None:
            raise _refused(wish, f"it is at a {kind} address")
    return Target("name", url.host, url.port, rule)


def _nothing(_: object) -> bool:
    return False


async def _answer(
    wish: Wish, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: Url, file: BinaryIO
) -> tuple[str, str | None]:
    """The hash of the body, or where it is instead."""
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_MAX)
    headers = [("Host", _authority(url)), ("User-Agent", "mcp-sandbox"), ("Accept-Encoding", "identity")]
    request = h11.Request(method="GET", target=url.path, headers=[*headers, ("Connection", "close")])
    writer.write((wire.send(request) or b"") + (wire.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    while not isinstance(event := await _event(reader, wire), h11.Response):
        if not isinstance(event, h11.InformationalResponse):
            raise ConnectionError("it closed the connection")
    fields = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
    if event.status_code in _REDIRECTS and fields.get("location"):
        return "", fields["location"]
    if event.status_code != 200 or fields.get("content-encoding", "identity").lower() != "identity":
        raise ConnectionError(f"it answers with status {event.status_code}")
    found, size = hashlib.sha256(), 0
    while isinstance(event := await _event(reader, wire), h11.Data):
        size += len(event.data)
        if size > wish.largest:
            raise ConnectionError(f"it is larger than {wish.largest >> 20} MiB")
        found.update(event.data)
        file.write(event.data)
    return found.hexdigest(), None


def _authority(url: Url) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if url.port == (443 if url.tls else 80) else f"{host}:{url.port}"


async def _event(reader: asyncio.StreamReader, wire: h11.Connection) -> object:
    while (event := wire.next_event()) is h11.NEED_DATA:
        async with asyncio.timeout(_SILENCE):
            wire.receive_data(await reader.read(_CHUNK))
    return event


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return str(getattr(error, "strerror", None) or error)


def _refused(wish: Wish, why: str, code: str = "not-fetched") -> SandboxError:
    try:
        shown = remote.parse(wish.url).origin
    except ValueError:
        shown = "the URL"
    plain = "".join(char if char.isprintable() else "?" for char in why[:300])
    return SandboxNotBuilt(code, f"the file at `{shown}` is not used: {plain}", rule=RULE)
