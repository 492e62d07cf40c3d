"""DNS as a stub resolver speaks it: packets in, queries out, and the answers to them (RFC 1035, 6891, 7766).

Nothing here follows a pointer or a name. A query that has more to it than one question and one OPT record
is refused, because whatever else it carries would be for somebody that our answers never come from.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from sandbox.records import dataclass

A, TXT, AAAA, OPT, SVCB, HTTPS = 1, 16, 28, 41, 64, 65
IN = 1
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5

MOST_TCP = 4096
"""Bytes of one message over TCP; a question and an OPT record need a tenth of it."""

_HEADER = struct.Struct(">6H")
_PAIR = struct.Struct(">2H")
_RECORD = struct.Struct(">HHIH")  # after the owner's name: type, class, time to live, length
_QR, _OPCODE, _TC, _RD, _RA = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_MOST_NAME = 255
_MOST_LABEL = 63
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_TO_QUESTION = b"\xc0\x0c"  # the question's name stands right after the header
# 1232 bytes fit any path unfragmented (DNS flag day 2020); our answers are smaller than 512 anyway.
_OUR_OPT = b"\0" + _RECORD.pack(OPT, 1232, 0, 0)


class Malformed(ValueError):
    """Not one standard query, and why."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question; `name` is None where a label holds what no host name does: none may pass for two.

    `question` is the section as sent: resolvers compare the case of every letter with the answer's (0x20).
    """

    id: int
    name: str | None
    labels: tuple[bytes, ...]
    qtype: int
    qclass: int
    question: bytes
    rd: bool
    edns: bool


def parse(packet: bytes) -> Query:
    """The query that `packet` is, to its last byte; raises `Malformed` for everything else."""
    if len(packet) < _HEADER.size:
        raise Malformed(f"{len(packet)} bytes are shorter than a header")
    id, flags, *counts = _HEADER.unpack_from(packet)
    _check_header(flags, *counts)
    labels, at = _labels(packet)
    end = at + _PAIR.size
    if len(packet) < end:
        raise Malformed("the question is cut short")
    qtype, qclass = _PAIR.unpack_from(packet, at)
    edns = counts[3] == 1
    rest = packet[end:]
    if edns:
        rest = _after_opt(rest)
    if rest:
        raise Malformed(f"{len(rest)} bytes after its end")
    return Query(
        id, _name(labels), labels, qtype, qclass, packet[_HEADER.size : end], bool(flags & _RD), edns
    )


def header_id(packet: bytes) -> int | None:
    """The id of a packet that has at least a header."""
    return int.from_bytes(packet[:2], "big") if len(packet) >= _HEADER.size else None


def refusal(packet: bytes, rcode: int) -> bytes | None:
    """The answer, a header alone, to a query that cannot be read; None for what is an answer itself."""
    if len(packet) < _HEADER.size:
        return None
    id, flags = _PAIR.unpack_from(packet)
    if flags & _QR:
        return None  # two that answer each other's answers never stop
    return _HEADER.pack(id, _QR | flags & (_OPCODE | _RD) | _RA | rcode, 0, 0, 0, 0)


def address(query: Query, packed: Sequence[bytes], ttl: int) -> bytes:
    """The answer that the name has these packed addresses, of the family that was asked for."""
    records = (_TO_QUESTION + _RECORD.pack(query.qtype, query.qclass, ttl, len(one)) + one for one in packed)
    return _answer(query, 0, len(packed), b"".join(records))


def nodata(query: Query) -> bytes:
    """The answer that the name exists and has no record of that type (RFC 2308 2.2)."""
    return _answer(query, 0)


def failure(query: Query, rcode: int) -> bytes:
    """The answer that there is none, with NXDOMAIN, SERVFAIL or another code that says why."""
    return _answer(query, rcode)


def _answer(query: Query, rcode: int, count: int = 0, records: bytes = b"") -> bytes:
    # No SOA with a negative answer: it would say for how long to remember it (RFC 2308 5), and there is no
    # zone that it could name. Stub resolvers only read the code and the count of answers.
    flags = _QR | (_RD if query.rd else 0) | _RA | rcode
    header = _HEADER.pack(query.id, flags, 1, count, 0, int(query.edns))
    return header + query.question + records + (_OUR_OPT if query.edns else b"")


class TcpReader:
    """Cuts a TCP stream into messages (RFC 1035 4.2.2); holds at most the length and `most` bytes of one."""

    def __init__(self, most: int = MOST_TCP) -> None:
        self._most = most
        self._held = bytearray()

    @property
    def held(self) -> int:
        """The bytes of a message that is not whole yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are now whole; raises `Malformed` at a length that none can have."""
        self._held += data
        found: list[bytes] = []
        while len(self._held) >= 2:
            size = int.from_bytes(self._held[:2], "big")
            if not _HEADER.size <= size <= self._most:
                raise Malformed(f"a message of {size} bytes, not of {_HEADER.size} to {self._most}")
            if len(self._held) < 2 + size:
                break
            found.append(bytes(self._held[2 : 2 + size]))
            del self._held[: 2 + size]
        return found


# --- the parts of a query -------------------------------------------------------------------------------


def _check_header(flags: int, questions: int, answers: int, authorities: int, additional: int) -> None:
    if flags & _QR:
        raise Malformed("an answer, not a query")
    if flags & _OPCODE:
        raise Malformed(f"operation {(flags & _OPCODE) >> 11}, not a standard query")
    if flags & _TC:
        raise Malformed("marked as truncated")
    if questions != 1:
        raise Malformed(f"{questions} questions, not one")
    if answers or authorities:
        raise Malformed("records before the additional section of a query")
    if additional > 1:
        raise Malformed(f"{additional} additional records, where one OPT may be")


def _labels(packet: bytes) -> tuple[tuple[bytes, ...], int]:
    """The labels of the name that is asked for, and where it ends."""
    labels: list[bytes] = []
    at = _HEADER.size
    while at < len(packet):
        size = packet[at]
        if size > _MOST_LABEL:
            raise Malformed("a compression pointer in the question" if size >= 0xC0 else "a label of no kind")
        label = packet[at + 1 : at + 1 + size]
        at += 1 + size
        if at - _HEADER.size > _MOST_NAME:
            raise Malformed(f"a name of more than {_MOST_NAME} octets")
        if not size:
            return tuple(labels), at
        labels.append(label)
    raise Malformed("the name is cut short")


def _name(labels: tuple[bytes, ...]) -> str | None:
    if any(label.translate(None, _PLAIN) for label in labels):
        return None
    return b".".join(labels).decode("ascii").lower()


def _after_opt(rest: bytes) -> bytes:
    """What follows the one OPT record that `rest` has to begin with (RFC 6891 6.1.2)."""
    start = 1 + _RECORD.size
    if len(rest) < start:
        raise Malformed("the additional record is cut short")
    kind, _payload, extended, size = _RECORD.unpack_from(rest, 1)
    if rest[0] or kind != OPT:
        raise Malformed("an additional record that is not OPT")
    # The TTL's bytes are the extended code, the version and the flags.
    if extended >> 16 & 0xFF:
        raise Malformed(f"version {extended >> 16 & 0xFF} of EDNS, not 0")
    if len(rest) < start + size:
        raise Malformed("the OPT record is cut short")
    _check_options(rest[start : start + size])
    return rest[start + size :]


def _check_options(options: bytes) -> None:
    at = 0
    while at < len(options):
        if len(options) < at + _PAIR.size:
            raise Malformed("an EDNS option is cut short")
        at += _PAIR.size + _PAIR.unpack_from(options, at)[1]
    if at > len(options):
        raise Malformed("an EDNS option is longer than its record")
