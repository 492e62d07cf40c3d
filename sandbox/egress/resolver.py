"""Answers the server's lookups from the allowlist alone: nothing it asks is ever asked of anybody else.

An allowed name has one made-up address a family; HTTPS and SVCB records do not exist, so that no client
finds another host, port or protocol by them (RFC 9460); every other name does not exist (NXDOMAIN).
"""

from __future__ import annotations

import asyncio
import socket

from sandbox.egress import decide
from sandbox.egress.canary import LEAST, NameStream
from sandbox.egress.decide import Denied
from sandbox.egress.denials import Denials
from sandbox.egress.names import Names
from sandbox.egress.report import Reporter
from sandbox.policy.model import Network
from sandbox.wire import dns

TTL_S = 60
BURST = 32
"""Datagrams a turn of the loop: connections get their turn in between."""
MOST_WAITING = 1024
"""Answers that wait for their denial to be told; beyond that a query is dropped, and asked again."""
_TCP_READS, _TCP_PATIENCE_S = 64, 10.0
_ANCILLARY = 256
_IP_PKTINFO = 8
Ancillary = list[tuple[int, int, bytes]]
Reply = tuple[socket.socket, bytes, Ancillary, object]
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_SHOWN_MOST = 120
_LOOPBACK = {dns.A: b"\x7f\0\0\1", dns.AAAA: bytes(15) + b"\1"}


class Resolver:
    """One session's DNS."""

    def __init__(
        self, network: Network, names: Names, reporter: Reporter, canaries: NameStream | None, ipv6: bool
    ) -> None:  # fmt: skip
        self._rules = network.allow
        self._names = names
        self._reporter = reporter
        self._canaries = canaries
        self._ipv6 = ipv6
        self._waiting = 0
        self.denials = Denials("dns.deny", reporter)

    def answer(self, packet: bytes) -> tuple[bytes | None, Denied | None]:
        """What to say to one query, and what was denied with it."""
        try:
            query = dns.parse(packet)
        except dns.Malformed as why:
            return dns.refusal(packet, dns.FORMERR), _malformed(why)
        if query.name == "localhost":
            return _loopback(query), None
        denied = _strange(query) or decide.lookup(self._rules, query.name)
        if denied is not None:
            return dns.failure(query, dns.NXDOMAIN), denied
        return self._allowed(query)

    def _allowed(self, query: dns.Query) -> tuple[bytes, Denied | None]:
        name = query.name or ""
        if query.qtype not in (dns.A, dns.AAAA):
            if query.qtype in (dns.HTTPS, dns.SVCB):
                return dns.nodata(query), None
            why = f"record type {query.qtype} is not served: a name has addresses alone"
            return dns.nodata(query), Denied(name, 0, why, "DNS carries nothing")
        number = self._names.number(name)
        if number is None:
            return dns.failure(query, dns.SERVFAIL), Denied(
                name, 0, "too many names were looked up", "bounded"
            )
        if query.qtype == dns.A:
            return dns.address(query, [Names.four(number)], TTL_S), None
        return (dns.address(query, [Names.six(number)], TTL_S) if self._ipv6 else dns.nodata(query)), None

    # --- the edge -----------------------------------------------------------------------------------

    def on_datagrams(self, one: socket.socket) -> None:
        """Answers what waits at a UDP socket, from the address that was asked."""
        for _ in range(BURST):
            try:
                packet, ancillary, _, sender = one.recvmsg(4096, _ANCILLARY)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                continue  # an ICMP error of an earlier answer
            self._handle(one, packet, ancillary, sender)

    def _handle(self, one: socket.socket, packet: bytes, ancillary: Ancillary, to: object) -> None:
        said, telling = self._answered(packet)
        if said is None:
            return
        reply = (one, said, _from(ancillary), to)
        if telling is None:
            _send(*reply)
        elif self._waiting < MOST_WAITING:
            self._waiting += 1
            telling.add_done_callback(lambda told: self._told(told, reply))

    def _told(self, told: asyncio.Future[None], reply: Reply) -> None:
        self._waiting -= 1
        if not told.cancelled():
            _send(*reply)

    def _answered(self, packet: bytes) -> tuple[bytes | None, asyncio.Future[None] | None]:
        """What to say, and what to wait for before: whoever gets the answer finds the denial in the log."""
        if self._leaks(packet):
            return None, None  # the session ends: the name is nobody's to be told any more
        said, denied = self.answer(packet)
        return said, None if denied is None else self.denials.note(denied)

    def _leaks(self, packet: bytes) -> bool:
        """Whether a decoy is in the name that is looked up, which is told then."""
        if self._canaries is None:
            return False
        try:
            labels = dns.parse(packet).labels
        except dns.Malformed:
            return False
        seen = self._canaries.feed(labels)
        if seen is None:
            return False
        self._canaries = None  # the session ends for the first
        self._reporter.canary(seen.name, seen.encoding, _domain(labels), "a name that was looked up")
        return True

    async def serve_tcp(self, one: socket.socket) -> None:
        """Answers the queries of one connection (RFC 7766), while it reads the answers, and not for ever."""
        reader = dns.TcpReader()
        for _ in range(_TCP_READS):
            # Of reading and of answering: a client that reads nothing is left as one that says nothing.
            async with asyncio.timeout(_TCP_PATIENCE_S):
                data = await asyncio.get_running_loop().sock_recv(one, 4096)
                if not data or not await self._answer_stream(one, reader, data):
                    return

    async def _answer_stream(self, one: socket.socket, reader: dns.TcpReader, data: bytes) -> bool:
        """False where it cannot go on."""
        try:
            packets = reader.feed(data)
        except dns.Malformed as why:
            await self.denials.tell(_malformed(why))
            return False
        answers = b""
        for packet in packets:
            said, telling = self._answered(packet)
            if telling is not None:
                await asyncio.shield(telling)
            if said is not None:
                answers += len(said).to_bytes(2, "big") + said
        await asyncio.get_running_loop().sock_sendall(one, answers)
        return True


def _malformed(why: dns.Malformed) -> Denied:
    return Denied("(malformed)", 0, f"not a query: {why}", "strict DNS")


def _harmless(labels: tuple[bytes, ...]) -> str:
    """Labels as text in which nothing but letters, digits, `-` and `_` stands for itself."""
    shown = (chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in b".".join(labels))
    return "".join(shown)[:_SHOWN_MOST]


def _domain(labels: tuple[bytes, ...]) -> str:
    """The end of a name that holds a decoy: whole labels, too few characters for any of the decoy's."""
    kept: tuple[bytes, ...] = ()
    for label in reversed(labels):
        if sum(map(len, kept)) + len(label) >= LEAST:
            break
        kept = (label, *kept)
    return f"*.{_harmless(kept)}" if kept else "*"


def _strange(query: dns.Query) -> Denied | None:
    """Why nobody's name is asked for at all."""
    if query.qclass != dns.IN:
        return Denied(_harmless(query.labels) or ".", 0, f"class {query.qclass} is not the internet's")
    if query.name is None:
        return Denied(_harmless(query.labels), 0, "not the spelling of a host")
    return None


def _loopback(query: dns.Query) -> bytes:
    """`localhost` is the sandbox's own loopback, as everywhere (RFC 6761 6.3)."""
    packed = _LOOPBACK.get(query.qtype)
    return dns.nodata(query) if packed is None else dns.address(query, [packed], TTL_S)


def _from(ancillary: Ancillary) -> Ancillary:
    """What makes an answer come from the address that was asked (ip(7), ipv6(7))."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            # struct in_pktinfo: interface, local address, destination; the second is what is sent from.
            return [(level, kind, bytes(4) + data[8:12] + bytes(4))]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            return [(level, kind, data[:16] + bytes(4))]
    return []


def _send(one: socket.socket, said: bytes, ancillary: Ancillary, to: object) -> None:
    try:
        one.sendmsg([said], ancillary, 0, to)  # type: ignore[arg-type]
    except OSError:
        return  # the server closed its socket, or its buffer is full: it asks again
