"""Our DNS: answers from the allowlist alone, each refusal in the log before it is answered."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from ipaddress import ip_address
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest

from sandbox.egress import gateway, names, resolver
from sandbox.egress.names import Names
from sandbox.egress.report import Reporter
from sandbox.egress.resolver import Resolver
from sandbox.policy.hosts import parse
from sandbox.policy.model import Network
from sandbox.trap import DNS
from tests.egress.inprocess import Peer, run, serving, turns

RULES = Network(tuple(map(parse, ("good.example", "*.wild.example:8443", "10.0.0.5:443"))))
FIRST, FIRST6 = "26.53.1.0", "3053:6278:0:1::100"


def query(name: str, kind: str = "A", rdclass: str = "IN") -> bytes:
    return dns.message.make_query(name, kind, rdclass).to_wire()


def resolved(packet: bytes, *, ipv6: bool = True) -> tuple[dns.message.Message, str]:
    """The answer as a client reads it, and why something was denied."""
    asked = Resolver(RULES, Names(), cast(Reporter, None), None, ipv6)
    said, denied = asked.answer(packet)
    assert said is not None
    return dns.message.from_wire(said), denied.reason if denied else ""


def data(answer: dns.message.Message) -> list[str]:
    return [item.to_text() for record in answer.answer for item in record]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        pytest.param("good.example", "A", [FIRST], id="an allowed name"),
        pytest.param("good.example", "AAAA", [FIRST6], id="by IPv6"),
        pytest.param("GOOD.Example.", "A", [FIRST], id="in capitals"),
        pytest.param("a.b.wild.example", "A", [FIRST], id="below a wildcard"),
        pytest.param("good.example", "HTTPS", [], id="no record of services"),
        pytest.param("good.example", "SVCB", [], id="nor of another kind"),
        pytest.param("localhost", "A", ["127.0.0.1"], id="localhost"),
        pytest.param("LocalHost", "AAAA", ["::1"], id="localhost by IPv6"),
        pytest.param("localhost", "TXT", [], id="localhost has no text"),
    ],
)
def test_what_is_answered_without_a_denial(name: str, kind: str, expected: list[str]) -> None:
    packet = query(name, kind)
    answer, why = resolved(packet)
    assert (answer.rcode(), data(answer), why) == (dns.rcode.NOERROR, expected, "")
    assert dns.message.from_wire(packet).is_response(answer)
    assert answer.flags & dns.flags.RA
    assert {record.ttl for record in answer.answer} <= {resolver.TTL_S}


@pytest.mark.threat("D3", proves="a name that is not allowed does not exist, and no record carries anything")
@pytest.mark.parametrize(
    ("name", "kind", "rdclass", "rcode", "why"),
    [
        pytest.param("evil.example", "A", "IN", dns.rcode.NXDOMAIN, "not allowed", id="another name"),
        pytest.param("wild.example", "A", "IN", dns.rcode.NXDOMAIN, "not allowed", id="a wildcard's apex"),
        pytest.param("x.good.example", "A", "IN", dns.rcode.NXDOMAIN, "not allowed", id="below a name"),
        pytest.param("10.0.0.5", "A", "IN", dns.rcode.NXDOMAIN, "not allowed", id="a literal"),
        pytest.param("5.0.0.10.in-addr.arpa", "PTR", "IN", dns.rcode.NXDOMAIN, "not", id="a reverse lookup"),
        pytest.param(".", "NS", "IN", dns.rcode.NXDOMAIN, "not allowed", id="the root"),
        pytest.param("x.localhost", "A", "IN", dns.rcode.NXDOMAIN, "not allowed", id="below localhost"),
        pytest.param("good.example", "TXT", "IN", dns.rcode.NOERROR, "type 16", id="text"),
        pytest.param("good.example", "ANY", "IN", dns.rcode.NOERROR, "type 255", id="anything"),
        pytest.param("good.example", "NULL", "IN", dns.rcode.NOERROR, "type 10", id="nothing"),
        pytest.param("good.example", "A", "CH", dns.rcode.NXDOMAIN, "class 3", id="another class"),
        pytest.param("version.bind", "TXT", "CH", dns.rcode.NXDOMAIN, "class 3", id="who are you"),
        pytest.param(r"a\032b.good.example", "A", "IN", dns.rcode.NXDOMAIN, "spelling", id="a space"),
    ],
)
def test_what_is_denied(name: str, kind: str, rdclass: str, rcode: int, why: str) -> None:
    answer, reason = resolved(query(name, kind, rdclass))
    assert (answer.rcode(), data(answer)) == (rcode, [])
    assert why in reason


def test_a_denial_names_what_was_asked_for() -> None:
    asked = Resolver(RULES, Names(), cast(Reporter, None), None, ipv6=True)
    for name, rdclass in (("evil.example", "IN"), ("version.bind", "CH"), ("a_b.example", "IN")):
        _, denied = asked.answer(query(name, "A", rdclass))
        assert denied is not None
        assert denied.host == name


def test_without_ipv6_a_name_has_no_such_address() -> None:
    answer, why = resolved(query("good.example", "AAAA"), ipv6=False)
    assert (answer.rcode(), data(answer), why) == (dns.rcode.NOERROR, [], "")


def test_a_name_keeps_its_address_and_no_other_has_it() -> None:
    known = Names()
    asked = Resolver(RULES, known, cast(Reporter, None), None, ipv6=True)
    found: dict[str, str] = {}
    for name in ("a.wild.example", "b.wild.example", "good.example") * 2:
        said, _ = asked.answer(query(name))
        assert said is not None
        (address,) = data(dns.message.from_wire(said))
        assert found.setdefault(name, address) == address
        assert known.name(ip_address(address).packed) == name
    assert len(set(found.values())) == 3


@pytest.mark.threat("S3", proves="a server that looks up names without end is refused more")
def test_too_many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "MOST", 2)
    asked = Resolver(RULES, Names(), cast(Reporter, None), None, ipv6=True)
    answers = [asked.answer(query(f"{label}.wild.example")) for label in "abca"]
    codes = [dns.message.from_wire(said).rcode() for said, _ in answers if said]
    assert codes == [dns.rcode.NOERROR, dns.rcode.NOERROR, dns.rcode.SERVFAIL, dns.rcode.NOERROR]
    assert [denied.rule for _, denied in answers if denied] == ["bounded"]


# --- over the loop --------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup that went on to the host's resolver would fail the test."""

    def asked(*_: object, **more: object) -> None:
        raise AssertionError("somebody else was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)


async def said(asker: Peer) -> dns.message.Message:
    """The next answer."""
    return dns.message.from_wire(await asker._loop.sock_recv(asker.socket, 4096))


def test_an_allowed_name_is_answered_at_once() -> None:
    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            asker = running.asker()
            await asker.send(query("good.example"))
            assert data(await said(asker)) == [FIRST]
            assert running.wrapper.facts == []

    run(work)


@pytest.mark.threat("D3", proves="a denied lookup is in the log before it is answered")
def test_a_denial_is_answered_when_it_is_in_the_log() -> None:
    """Both queries of a resolver that asks for both families, though they are one denial."""

    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            asker = running.asker()
            for kind in ("A", "AAAA"):
                await asker.send(query("evil.example", kind))
            denied = await running.wrapper.fact("dns.deny")
            assert (denied["detail"]["host"], denied["grant"]) == ("evil.example", "evil.example")
            await turns()
            assert asker.now() is None
            running.wrapper.answer()
            for _ in range(2):
                assert (await said(asker)).rcode() == dns.rcode.NXDOMAIN
            await asker.send(query("evil.example"))
            assert (await said(asker)).rcode() == dns.rcode.NXDOMAIN, "and then at once"
            assert len(running.wrapper.kinds("dns.deny")) == 1

    run(work)


def test_a_lookup_does_not_wait_for_the_denial_of_another() -> None:
    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            asker = running.asker()
            await asker.send(query("evil.example"))
            await asker.send(query("good.example"))
            assert data(await said(asker)) == [FIRST]

    run(work)


@pytest.mark.threat("S3", proves="answers that wait for the log are bounded")
def test_answers_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MOST_WAITING", 3)

    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            asker = running.asker()
            for _ in range(10):
                await asker.send(query("evil.example"))
            await running.wrapper.fact("dns.deny")
            await turns()
            running.wrapper.answer()
            await turns()
            answers = [answer for _ in range(10) if (answer := asker.now())]
            assert len(answers) == 3
            await asker.send(query("evil.example"))
            assert (await said(asker)).rcode() == dns.rcode.NXDOMAIN

    run(work)


def test_what_was_not_told_by_the_end_is_not_answered() -> None:
    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            asker = running.asker()
            await asker.send(query("evil.example"))
            await running.wrapper.fact("dns.deny")
            await running.over()
            assert asker.now() is None

    run(work)


def test_an_asker_that_has_gone_is_nobodys_error() -> None:
    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            gone = running.asker()
            await gone.send(query("evil.example"))
            await running.wrapper.fact("dns.deny")
            gone.close()
            running.wrapper.answer()
            asker = running.asker()
            for _ in range(3):
                await asker.send(query("good.example"))
                assert data(await said(asker)) == [FIRST]

    run(work)


def test_an_answer_comes_from_the_address_that_was_asked() -> None:
    four = struct.pack("=i4s4s", 1, bytes([8, 8, 8, 8]), bytes([8, 8, 4, 4]))
    (level, kind, content), *rest = resolver._from([(socket.IPPROTO_IP, 8, four)])
    assert (level, kind, content) == (socket.IPPROTO_IP, 8, bytes(4) + bytes([8, 8, 4, 4]) + bytes(4))
    six = ip_address("2001:4860:4860::8888").packed + struct.pack("=I", 1)
    assert resolver._from([(41, socket.IPV6_PKTINFO, six)]) == [
        (41, socket.IPV6_PKTINFO, six[:16] + bytes(4))
    ]
    assert rest == resolver._from([(1, 2, b"x")]) == []


# --- over TCP -------------------------------------------------------------------------------------------


def framed(*packets: bytes) -> bytes:
    return b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)


async def message(asker: Peer) -> dns.message.Message:
    """The next answer of a stream."""
    size = int.from_bytes(await asker.read(2), "big")
    return dns.message.from_wire(await asker.read(size))


def test_a_stream_of_queries_is_answered_in_order() -> None:
    async def work() -> None:
        async with serving(RULES) as running:
            asker = await running.connect(DNS)
            queries = [query(name) for name in ("good.example", "evil.example", "a.wild.example")]
            for byte in framed(*queries):
                await asker.send(bytes([byte]))
                await turns(2)
            for asked in queries:
                assert dns.message.from_wire(asked).is_response(await message(asker))
            asker.shut()
            assert await asker.end() == "closed"

    run(work)


def test_a_denial_over_tcp_is_answered_when_it_is_in_the_log() -> None:
    async def work() -> None:
        async with serving(RULES) as running:
            running.wrapper.holds = True
            first, second = [await running.connect(DNS) for _ in range(2)]
            for asker in (first, second):
                await asker.send(framed(query("evil.example")))
            await running.wrapper.fact("dns.deny")
            await turns()
            assert (first.now(), second.now()) == (None, None)
            running.wrapper.answer()
            for asker in (first, second):
                assert (await message(asker)).rcode() == dns.rcode.NXDOMAIN

    run(work)


@pytest.mark.parametrize(
    "says", [b"", b"\0", framed(query("good.example"))[:-1]], ids=["nothing", "a byte", "less"]
)
def test_a_stream_that_says_too_little_is_ended(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_TCP_PATIENCE_S", 0.03)

    async def work() -> None:
        async with serving(RULES) as running:
            asker = await running.connect(DNS)
            await asker.send(says)
            assert await asker.end() == "closed"

    run(work)


@pytest.mark.threat("S3", proves="who asks and reads no answer is left after a while")
def test_a_stream_that_reads_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_TCP_PATIENCE_S", 0.1)
    monkeypatch.setattr(resolver, "_TCP_READS", 1 << 20)

    async def work() -> None:
        async with serving(RULES) as running:
            asker = await running.connect(DNS)
            await asker.send(framed(query("good.example")))
            await message(asker)
            many = left = framed(query("good.example")) * 100
            while running.gateway._asking:
                with suppress(ConnectionError):
                    left = asker.push(left) or many
                await asyncio.sleep(0)
            assert not running.task.done()

    run(work)


def test_one_stream_has_a_bounded_number_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_TCP_READS", 3)

    async def work() -> None:
        async with serving(RULES) as running:
            asker = await running.connect(DNS)
            for _ in range(3):
                await asker.send(framed(query("good.example")))
                await message(asker)
            assert await asker.end() == "closed"

    run(work)


@pytest.mark.threat("S3", proves="connections to our DNS are bounded, and what is refused is told")
def test_too_many_askers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "MOST_ASKERS", 2)

    async def work() -> None:
        async with serving(RULES) as running:
            askers = [await running.connect(DNS) for _ in range(2)]
            for asker in askers:
                await asker.send(framed(query("good.example")))
                await message(asker)
            refused = await running.connect(DNS)
            assert await refused.end() == "reset"
            (denied,) = running.wrapper.kinds("egress.deny")
            assert denied["detail"]["reason"] == "more than 2 connections at one time"
            askers[0].shut()
            assert await askers[0].end() == "closed"
            again = await running.connect(DNS)
            await again.send(framed(query("good.example")))
            assert data(await message(again)) == [FIRST]

    run(work)


# --- decoys ---------------------------------------------------------------------------------------------

DECOY = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.threat("D3", proves="a decoy in a name ends the session, and is not answered")
@pytest.mark.parametrize("over_tcp", [False, True], ids=["UDP", "TCP"])
@pytest.mark.parametrize(
    "labels",
    [
        pytest.param([DECOY.lower()], id="whole"),
        pytest.param([DECOY[:10].lower(), DECOY[10:].lower()], id="in two labels"),
    ],
)
def test_a_decoy_in_a_name(labels: list[str], over_tcp: bool) -> None:
    async def work() -> None:
        async with serving(RULES, charge={"canaries": (("aws", DECOY),)}) as running:
            packet = query(".".join([*labels, "evil.example"]))
            asker = await running.connect(DNS) if over_tcp else running.asker()
            await asker.send(framed(packet) if over_tcp else packet)
            seen = await running.wrapper.fact("canary.seen")
            assert (seen["breach"], seen["detail"]["canary"]) == ("isolation.decoys", "aws")
            await turns()
            assert asker.now() is None

    run(work)
