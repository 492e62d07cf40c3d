"""Queries and answers against dnspython, which reads and writes DNS in another way than we do."""

from __future__ import annotations

import random
import time

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.wire.dns import (
    AAAA,
    FORMERR,
    HTTPS,
    IN,
    NOTIMP,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    SVCB,
    TXT,
    A,
    Malformed,
    Query,
    TcpReader,
    address,
    failure,
    header_id,
    nodata,
    parse,
    refusal,
)


def asked(name: str = "api.example.com", kind: int = A, *, edns: bool = False, id: int = 7) -> bytes:
    query = dns.message.make_query(name, dns.rdatatype.RdataType(kind), use_edns=0 if edns else False, id=id)
    return query.to_wire()


def header(flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0)) -> bytes:
    return b"\0\7" + b"".join(number.to_bytes(2, "big") for number in (flags, *counts))


QUESTION = b"\3api\7example\3com\0" + b"\0\1\0\1"
OPT = b"\0" + b"\0\x29" + b"\x04\xd0" + bytes(4) + b"\0\0"
PLAIN = header() + QUESTION
WITH_OPT = header(counts=(1, 0, 0, 1)) + QUESTION + OPT
LONGEST = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"  # 255 octets


def option(size: int, data: bytes, *, within: int | None = None) -> bytes:
    body = b"\0\x0a" + size.to_bytes(2, "big") + data
    return OPT[:-2] + (len(body) if within is None else within).to_bytes(2, "big") + body


# --- queries --------------------------------------------------------------------------------------------

labels = st.binary(min_size=1, max_size=63)
names = st.lists(labels, max_size=8).filter(lambda found: sum(map(len, found)) + len(found) < 255)
kinds = st.sampled_from([A, AAAA, SVCB, HTTPS, TXT, 255])


@given(
    name=names,
    kind=kinds,
    id=st.integers(0, 0xFFFF),
    edns=st.booleans(),
    rd=st.booleans(),
    options=st.lists(st.binary(max_size=20), max_size=3),
)
def test_what_dnspython_asks_is_read(
    name: list[bytes], kind: int, id: int, *, edns: bool, rd: bool, options: list[bytes]
) -> None:
    message = dns.message.make_query(dns.name.Name([*name, b""]), dns.rdatatype.RdataType(kind), id=id)
    message.flags = dns.flags.RD if rd else 0
    if edns:
        message.use_edns(0, options=[dns.edns.GenericOption(65001, data) for data in options])
    packet = message.to_wire()
    query = parse(packet)
    assert (query.id, query.qtype, query.qclass, query.rd, query.edns) == (id, kind, IN, rd, edns)
    assert query.labels == tuple(name)
    assert query.question in packet
    assert header_id(packet) == id


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        pytest.param([b"api", b"example", b"com"], "api.example.com", id="a host"),
        pytest.param([b"API", b"eXample", b"COM"], "api.example.com", id="letters of both cases are one"),
        pytest.param(
            [b"_dmarc", b"xn--bcher-kva", b"a-1"], "_dmarc.xn--bcher-kva.a-1", id="all that names hold"
        ),
        pytest.param([], "", id="the root"),
        pytest.param([b"a" * 63], "a" * 63, id="the longest label"),
        pytest.param([b"api.example", b"com"], None, id="a dot inside a label is no dot between two"),
        pytest.param([b"api", b"exam\0ple", b"com"], None, id="a NUL"),
        pytest.param([b"api.example.com\0"], None, id="a NUL that ends a C string"),
        pytest.param(["bücher".encode(), b"example"], None, id="UTF-8"),
        pytest.param([b"a b"], None, id="a space"),
        pytest.param([b"*", b"example", b"com"], None, id="a wildcard"),
        pytest.param([b"a\n"], None, id="a line feed at the end"),
        pytest.param([b"\\046"], None, id="an escape of a presentation format"),
    ],
)
def test_the_name_is_a_host_name_or_none(labels: list[bytes], name: str | None) -> None:
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    query = parse(header() + wire + b"\0\1\0\1")
    assert query.name == name
    assert query.labels == tuple(labels)


def test_the_longest_name_is_read() -> None:
    assert len(LONGEST) == 255
    assert parse(header() + LONGEST + b"\0\1\0\1").name == ".".join(["a" * 63] * 3 + ["a" * 61])


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(PLAIN, id="no OPT"),
        pytest.param(WITH_OPT, id="an OPT without options"),
        pytest.param(header(counts=(1, 0, 0, 1)) + QUESTION + option(8, bytes(8)), id="a cookie"),
        pytest.param(header(counts=(1, 0, 0, 1)) + QUESTION + option(0, b""), id="an empty option"),
        pytest.param(
            WITH_OPT.replace(b"\x04\xd0" + bytes(4), b"\x04\xd0" + b"\0\0\x80\0"), id="DNSSEC wanted"
        ),
        pytest.param(header(0x0120) + QUESTION, id="authentic data wanted"),
        pytest.param(header(0x0000) + QUESTION, id="no recursion wanted"),
    ],
)
def test_what_stub_resolvers_send_is_read(packet: bytes) -> None:
    assert parse(packet).name == "api.example.com"


MALFORMED = [
    pytest.param(b"", "shorter", id="nothing"),
    pytest.param(PLAIN[:11], "shorter", id="half a header"),
    pytest.param(header(0x8100) + QUESTION, "an answer", id="an answer"),
    pytest.param(header(0x2900) + QUESTION, "operation 5", id="an update"),
    pytest.param(header(0x1000) + QUESTION, "operation 2", id="a status query"),
    pytest.param(header(0x0300) + QUESTION, "truncated", id="truncated"),
    pytest.param(header(counts=(0, 0, 0, 0)), "0 questions", id="no question"),
    pytest.param(header(counts=(2, 0, 0, 0)) + QUESTION * 2, "2 questions", id="two questions"),
    pytest.param(header(counts=(1, 1, 0, 0)) + QUESTION, "before the additional", id="an answer record"),
    pytest.param(header(counts=(1, 0, 1, 0)) + QUESTION, "before the additional", id="an authority record"),
    pytest.param(header(counts=(1, 0, 0, 2)) + QUESTION + OPT * 2, "2 additional", id="two OPT records"),
    pytest.param(header(), "cut short", id="a header alone"),
    pytest.param(header() + b"\3ap", "cut short", id="a cut label"),
    pytest.param(header() + b"\3api", "cut short", id="no root"),
    pytest.param(header() + b"\3api\0\0\1\0", "cut short", id="half a class"),
    pytest.param(header() + b"\xc0\x0c\0\1\0\1", "pointer", id="a pointer to itself"),
    pytest.param(header() + b"\3api\xc0\x0c\0\1\0\1", "pointer", id="a pointer after a label"),
    pytest.param(header() + b"\x41\1\0\0\1\0\1", "no kind", id="a label of the kind 01"),
    pytest.param(header() + b"\x80\1\0\0\1\0\1", "no kind", id="a label of the kind 10"),
    pytest.param(header() + b"\1a" + LONGEST + b"\0\1\0\1", "255", id="a name of 257 octets"),
    pytest.param(
        header() + LONGEST.replace(b"\x3d", b"\x3e\x61") + b"\0\1\0\1", "255", id="a name of 256 octets"
    ),
    pytest.param(PLAIN + b"\0", "1 bytes after", id="a byte more"),
    pytest.param(PLAIN + OPT, "11 bytes after", id="an OPT that is not counted"),
    pytest.param(WITH_OPT + b"exfil", "5 bytes after", id="bytes after the OPT"),
    pytest.param(header(counts=(1, 0, 0, 1)) + QUESTION, "cut short", id="an OPT that is not there"),
    pytest.param(WITH_OPT[:-1], "cut short", id="a cut OPT"),
    pytest.param(
        header(counts=(1, 0, 0, 1)) + QUESTION + b"\0\0\xfa\0\xff" + bytes(4) + b"\0\0",
        "not OPT",
        id="a signature (TSIG)",
    ),
    pytest.param(
        header(counts=(1, 0, 0, 1)) + QUESTION + b"\1a" + OPT, "not OPT", id="an OPT with an owner's name"
    ),
    pytest.param(
        header(counts=(1, 0, 0, 1)) + QUESTION + OPT.replace(bytes(4), b"\0\1\0\0"),
        "version 1",
        id="the next EDNS",
    ),
    pytest.param(
        header(counts=(1, 0, 0, 1)) + QUESTION + option(8, bytes(7)),
        "longer",
        id="an option beyond its record",
    ),
    pytest.param(
        header(counts=(1, 0, 0, 1)) + QUESTION + option(8, bytes(8), within=20),
        "cut short",
        id="an OPT beyond the packet",
    ),
    pytest.param(
        header(counts=(1, 0, 0, 1)) + QUESTION + option(8, bytes(8), within=3),
        "cut short",
        id="half an option",
    ),
]


@pytest.mark.parametrize(("packet", "reason"), MALFORMED)
def test_all_else_is_malformed(packet: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        parse(packet)


# --- answers --------------------------------------------------------------------------------------------


def reference(answer: bytes, packet: bytes) -> dns.message.Message:
    """The answer as dnspython reads it, to the last byte, once it agrees that it answers `packet`."""
    found = dns.message.from_wire(answer)
    query = dns.message.from_wire(packet)
    assert query.is_response(found)
    assert found.flags & dns.flags.RA
    assert not found.flags & (dns.flags.AA | dns.flags.TC)
    assert bool(found.flags & dns.flags.RD) == bool(query.flags & dns.flags.RD)
    assert found.edns == query.edns
    assert found.edns < 0 or found.payload == 1232
    assert found.authority == []
    return found


@pytest.mark.parametrize("edns", [False, True], ids=["without EDNS", "with EDNS"])
@pytest.mark.parametrize(
    ("kind", "packed", "texts"),
    [
        pytest.param(A, [b"\xc6\x12\1\0"], ["198.18.1.0"], id="one IPv4 address"),
        pytest.param(A, [b"\xc6\x12\1\0", b"\xc6\x12\1\1"], ["198.18.1.0", "198.18.1.1"], id="two"),
        pytest.param(AAAA, [bytes(15) + b"\1"], ["::1"], id="an IPv6 address"),
        pytest.param(A, [], [], id="none"),
    ],
)
def test_an_address_is_given(kind: int, packed: list[bytes], texts: list[str], *, edns: bool) -> None:
    packet = asked(kind=kind, edns=edns)
    found = reference(address(parse(packet), packed, 60), packet)
    assert found.rcode() == dns.rcode.NOERROR
    records = [(str(one.name), one.ttl, item.address) for one in found.answer for item in one]
    assert sorted(records) == sorted(("api.example.com.", 60, text) for text in texts)


@pytest.mark.parametrize("rcode", [FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED])
@pytest.mark.parametrize("edns", [False, True], ids=["without EDNS", "with EDNS"])
def test_a_failure_says_which(rcode: int, *, edns: bool) -> None:
    packet = asked(edns=edns)
    found = reference(failure(parse(packet), rcode), packet)
    assert (found.rcode(), found.answer) == (rcode, [])


@pytest.mark.parametrize("name", [".", "api.example.com"])
def test_no_data_is_no_failure(name: str) -> None:
    packet = asked(name, HTTPS, edns=True)
    found = reference(nodata(parse(packet)), packet)
    assert (found.rcode(), found.answer) == (dns.rcode.NOERROR, [])


@given(name=names, edns=st.booleans())
def test_every_question_comes_back_as_it_was(name: list[bytes], *, edns: bool) -> None:
    # Letter for letter: resolvers that mix their case (0x20) drop an answer that does not.
    message = dns.message.make_query(dns.name.Name([*name, b""]), "AAAA", use_edns=0 if edns else False)
    packet = message.to_wire()
    query = parse(packet)
    for answer in (address(query, [bytes(16)], 1), nodata(query), failure(query, NXDOMAIN)):
        assert answer[12:].startswith(packet[12 : 12 + len(query.question)])
        assert len(answer) <= 512
        reference(answer, packet)


@pytest.mark.parametrize(
    ("packet", "answered"),
    [
        pytest.param(PLAIN + b"\0", True, id="a query with a byte too many"),
        pytest.param(header(0x2900), True, id="an update"),
        pytest.param(header(0x8100) + QUESTION, False, id="never an answer: two would talk for ever"),
        pytest.param(PLAIN[:11], False, id="never what has no header"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_what_cannot_be_read_is_refused_by_a_header_alone(packet: bytes, *, answered: bool) -> None:
    answer = refusal(packet, FORMERR)
    assert (answer is not None) is answered
    if answer is not None:
        found = dns.message.from_wire(answer)
        assert (found.id, found.rcode(), len(answer)) == (header_id(packet), dns.rcode.FORMERR, 12)
        assert found.flags & dns.flags.QR
        assert found.opcode() == dns.opcode.from_flags(int.from_bytes(packet[2:4], "big"))


def test_a_packet_without_a_header_has_no_id() -> None:
    assert header_id(PLAIN[:11]) is None


# --- TCP ------------------------------------------------------------------------------------------------


def framed(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


def test_messages_come_whole_however_they_are_split() -> None:
    data = framed(PLAIN, WITH_OPT, PLAIN)
    for at in range(len(data) + 1):
        reader = TcpReader()
        assert [*reader.feed(data[:at]), *reader.feed(data[at:])] == [PLAIN, WITH_OPT, PLAIN]
        assert reader.held == 0
    reader = TcpReader()
    assert [one for byte in data for one in reader.feed(bytes([byte]))] == [PLAIN, WITH_OPT, PLAIN]


def test_what_is_not_whole_is_held_and_bounded() -> None:
    reader = TcpReader(100)
    assert reader.feed(b"\0\x64" + bytes(99)) == []
    assert reader.held == 101
    assert reader.feed(b"\0\0") == [bytes(100)]
    assert reader.held == 1


@pytest.mark.parametrize("size", [0, 11, 101, 0xFFFF])
def test_a_length_that_no_message_has_is_malformed_at_once(size: int) -> None:
    with pytest.raises(Malformed, match=f"message of {size} bytes"):
        TcpReader(100).feed(size.to_bytes(2, "big"))


# --- fuzz -----------------------------------------------------------------------------------------------


def mutated(random_: random.Random, packet: bytes) -> bytes:
    data = bytearray(packet)
    for _ in range(random_.randint(1, 3)):
        at = random_.randrange(len(data))
        match random_.randrange(4):
            case 0:
                data[at] = random_.randrange(256)
            case 1:
                data[at] ^= 1 << random_.randrange(8)
            case 2:
                del data[at : at + random_.randint(1, 4)]
            case _:
                data[at:at] = random_.randbytes(random_.randint(1, 4))
        if not data:
            break
    return bytes(data)


def agrees(query: Query, packet: bytes) -> bool:
    """Whether dnspython reads the same question in a packet that we read."""
    try:
        found = dns.message.from_wire(packet)
    except dns.exception.FormError:
        return query.edns  # it also reads what is in the options, which is nobody's business here
    (question,) = found.question
    return (
        (found.id, found.edns >= 0) == (query.id, query.edns)
        and (question.rdtype, question.rdclass) == (query.qtype, query.qclass)
        and question.name.labels == (*query.labels, b"")
    )


def test_fuzz_nothing_but_malformed_is_raised_and_what_is_read_is_what_dnspython_reads() -> None:
    random_ = random.Random(20261122)  # noqa: S311 - a fixed seed is the point
    cookie = header(counts=(1, 0, 0, 1)) + QUESTION + option(8, bytes(8))
    began, read = time.monotonic(), 0
    for _ in range(10_000):
        packet = mutated(random_, random_.choice([PLAIN, WITH_OPT, cookie]))
        try:
            query = parse(packet)
        except Malformed:
            refusal(packet, FORMERR)
            continue
        read += 1
        assert agrees(query, packet), packet
        assert query.question == packet[12 : 12 + len(query.question)]
    assert read > 1000
    assert time.monotonic() - began < 60
