"""One question to a stranger over HTTP, and an answer that is bounded in size and time.

Nothing is followed, kept, unpacked or asked twice. Where it may connect is what the egress gateway's rules
say (`egress.dial`): an address is checked after resolution and the connection stays with it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import Any

import h11

from sandbox.egress import addresses, upstream
from sandbox.egress.decide import Denied, Target
from sandbox.egress.dial import Dialer
from sandbox.login.address import Address, Reach
from sandbox.login.refused import LoginRefused, Unreachable, shown
from sandbox.policy import hosts
from sandbox.policy.model import HostRule
from sandbox.wire.strict import Refusal, read_object

SECONDS = 20.0
"""For one question, from the name's resolution to the answer's last byte."""
BODY_MAX = 256 << 10
HEAD_MAX = 32 << 10
_CHUNK = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: its status, its fields by lower-case name, and its body where one was wanted."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Every value of one field, in order."""
        return [value for one, value in self.headers if one == name]


@dataclass(frozen=True, slots=True)
class Asking:
    """How strangers are asked: where to, past which proxy, and whose certificates count."""

    reach: Reach
    environ: Mapping[str, str] = field(repr=False)
    ca: str = ""
    seconds: float = SECONDS

    def get(self, address: Address) -> Answer:
        """The document at an address."""
        return self._ask(address, h11.Request(method="GET", target=address.target, headers=_headers(address)))

    def post(
        self,
        address: Address,
        body: bytes,
        kind: str,
        extra: tuple[tuple[str, str], ...] = (),
        *,
        most: int = BODY_MAX,
    ) -> Answer:
        """What is answered to a body of the media type `kind`."""
        length = ("Content-Length", str(len(body)))
        headers = [*_headers(address), ("Content-Type", kind), length, *extra]
        return self._ask(
            address, h11.Request(method="POST", target=address.target, headers=headers), body, most
        )

    def _ask(self, address: Address, request: h11.Request, body: bytes = b"", most: int = BODY_MAX) -> Answer:
        try:
            return asyncio.run(self._within(address, request, body, most))
        except (OSError, h11.ProtocolError) as error:
            raise _unreachable(address, error) from error

    async def _within(self, address: Address, request: h11.Request, body: bytes, most: int) -> Answer:
        async with asyncio.timeout(self.seconds):
            reader, writer = await self._connected(address)
            try:
                return await _exchange(reader, writer, request, body, most)
            finally:
                # Not waited for: a peer that does not answer a TLS goodbye would hold us up.
                writer.transport.abort()

    async def _connected(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        target, tls = _target(address, self.reach), None if address.scheme == "http" else _tls(self.ca)
        dialer = Dialer((), upstream.settings(self.environ))
        way = await dialer.way(target)
        if isinstance(way, Denied):
            raise _forbidden(address, way.reason)
        sock = await dialer.connect(target, way)
        name = address.host if tls else None
        return await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name)


@cache  # one login asks ten times, and each time the system's trust would be read anew
def _tls(ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        if ca:
            context.load_verify_locations(ca)
    except OSError as error:
        why = shown(error.strerror or error)
        raise LoginRefused("login-ca", f"`{shown(ca)}` cannot be used: {why}") from error
    return context


def _headers(address: Address) -> list[tuple[str, str]]:
    return [
        ("Host", address.authority),
        ("User-Agent", "mcp-sandbox"),
        ("Accept", "application/json, text/event-stream"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
    ]


def _target(address: Address, reach: Reach) -> Target:
    """Where it leads by the gateway's rules; this machine itself only by its own names and where allowed."""
    host = address.host
    if reach.loopback and address.loopback:
        return Target("local", host, address.port, HostRule(host, address.port))
    try:
        host = hosts.canonical(host)
    except ValueError as error:
        raise _forbidden(address, str(error)) from error
    if hosts.literal(host):
        # Asked here too, since past a proxy nobody resolves, and so nobody checks, an address.
        kind = addresses.reachable(ip_address(host), private=reach.private, listed=_nothing, own=_nothing)
        if kind is not None:
            raise _forbidden(address, f"it is a {kind} address")
    return Target("name", host, address.port, HostRule(host, address.port, private=reach.private))


def _nothing(_: object) -> bool:
    return False


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: h11.Request, body: bytes, most: int
) -> Answer:
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX)
    parts = [
        wire.send(request),
        wire.send(h11.Data(data=body)) if body else b"",
        wire.send(h11.EndOfMessage()),
    ]
    writer.write(b"".join(part or b"" for part in parts))
    await writer.drain()
    head = await _head(reader, wire)
    headers = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers)
    return Answer(head.status_code, headers, await _body(reader, wire, headers, most) if most else b"")


async def _head(reader: asyncio.StreamReader, wire: h11.Connection) -> h11.Response:
    while True:
        event = await _event(reader, wire)
        if isinstance(event, h11.Response):
            return event
        if not isinstance(event, h11.InformationalResponse):
            raise ConnectionError("it closed the connection")


async def _body(
    reader: asyncio.StreamReader, wire: h11.Connection, headers: tuple[tuple[str, str], ...], most: int
) -> bytes:
    if any(name == "content-encoding" and value.lower() != "identity" for name, value in headers):
        raise ConnectionError("its answer is packed, which nobody asked for")
    body = bytearray()
    while isinstance(event := await _event(reader, wire), h11.Data):
        body += event.data
        if len(body) > most:
            raise ConnectionError(f"its answer is longer than {most} bytes")
    return bytes(body)


async def _event(reader: asyncio.StreamReader, wire: h11.Connection) -> object:
    while (event := wire.next_event()) is h11.NEED_DATA:
        wire.receive_data(await reader.read(_CHUNK))
    return event


# --- what an answer says -----------------------------------------------------------------------------


def document(answer: Answer) -> dict[str, Any] | None:
    """The one JSON object in a body, read strictly; None where it is something else."""
    with suppress(Refusal):
        return read_object(answer.body)
    return None


def _unreachable(address: Address, error: Exception) -> Unreachable:
    if isinstance(error, TimeoutError):
        why = "it took too long"
    elif isinstance(error, ssl.SSLCertVerificationError):
        why = f"its certificate is refused: {shown(error.verify_message)}"
    elif isinstance(error, h11.ProtocolError):
        why = f"it does not speak HTTP as one should: {shown(error)}"
    else:
        why = shown(error.strerror if isinstance(error, OSError) and error.strerror else error)
    return Unreachable("login-unreachable", f"`{address.origin}` gave no usable answer: {why}")


def _forbidden(address: Address, why: str) -> LoginRefused:
    return LoginRefused(
        "login-address",
        f"`{address.origin}` is not asked: {shown(why)}",
        rule="a login leads to public addresses alone, unless the person who starts it says otherwise",
        hint="`--allow-private` where it is meant to lie in your own network",
    )
