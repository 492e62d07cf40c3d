"""The trap in a real namespace: every address is ours, and nothing else is anywhere."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from sandbox.plan import egress as plan
from sandbox.trap import MOST_PORTS, SOURCE_4, SOURCE_6, Trapped, receive
from sandbox.wire import packet
from tests.conftest import Prefix, Require
from tests.trapped import Inside, trapped, wait

REFUSED, NO_RIGHT, DENIED = -errno.ECONNREFUSED, -errno.EPERM, -errno.EACCES
THEM, THEM6 = "93.184.216.34", "2606:4700::1111"


class Trap:
    """Our side: the program inside, and the sockets that came out, each by its kind, port and family."""

    def __init__(self, inside: Inside, found: list[Trapped], held: ExitStack) -> None:
        self.do, self.begin, self.heard = inside.do, inside.begin, inside.heard
        self.sockets = {}
        for one in found:
            opened = held.enter_context(socket.socket(fileno=one.fd))
            family = {socket.AF_INET: 4, socket.AF_INET6: 6}.get(opened.family, 0)
            self.sockets[one.kind, one.port, family] = opened

    def seen(self) -> list[tuple[str, str, int]]:
        """What the observer saw since the last time; the kernel shows it before the program is answered."""
        found = []
        while True:
            try:
                raw = self.sockets["observer", 0, 0].recv(4096)
            except BlockingIOError:
                return found
            stray = packet.parse(raw)
            assert stray is not None
            found.append((stray.protocol, ip_address(stray.address).compressed, stray.port))

    def accept(self, port: int, family: int) -> tuple[str, int, bytes]:
        """The next connection there: where it wanted to go, and what it said; it is answered."""
        listener = self.sockets["tcp", port, family]
        wait(listener)
        with listener.accept()[0] as one:
            wait(one)
            said = one.recv(64)
            one.sendall(b"seen " + said)
            return *one.getsockname()[:2], said

    def answer(self, family: int) -> tuple[str, bytes]:
        """Answers one datagram to port 53 from where it went."""
        dns = self.sockets["udp", 53, family]
        wait(dns)
        said, ancillary, _, sender = dns.recvmsg(64, 256)
        ((level, kind, data),) = ancillary
        # in_pktinfo: interface, our address, their destination; in6_pktinfo: address, interface.
        asked, back = (
            (data[8:12], bytes(4) + data[8:12] + bytes(4))
            if family == 4
            else (data[:16], data[:16] + bytes(4))
        )
        dns.sendmsg([b"answer to " + said], [(level, kind, back)], 0, sender)
        return ip_address(asked).compressed, said


@pytest.fixture(params=[pytest.param("root", marks=pytest.mark.root), "user"])
def namespace(request: pytest.FixtureRequest, as_user: Prefix, require: Require) -> list[str]:
    """What makes a namespace to set a trap in: the root caller's own way, and that of everybody else."""
    if request.param == "root":
        return ["unshare", "--net", "--"]
    require("native")
    return as_user(["unshare", "--user", "--map-root-user", "--net", "--"])


@contextmanager
def _trap(namespace: list[str], ports: tuple[int, ...] = (443, 5432), before: str = "") -> Iterator[Trap]:
    with trapped(namespace, ports, before) as inside, ExitStack() as held:
        assert inside.said == {"is": "ready"}
        yield Trap(inside, receive(inside.channel.fileno()), held)


@pytest.fixture
def trap(namespace: list[str]) -> Iterator[Trap]:
    with _trap(namespace) as found:
        yield found


# --- TCP ------------------------------------------------------------------------------------------

DESTINATIONS = [
    (THEM, THEM),
    ("8.8.8.8", "8.8.8.8"),
    ("10.0.0.1", "10.0.0.1"),
    ("172.17.0.1", "172.17.0.1"),
    ("169.254.169.254", "169.254.169.254"),
    ("26.53.1.0", "26.53.1.0"),
    (SOURCE_4, SOURCE_4),
    ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.53", "127.0.0.53"),
    ("240.0.0.1", "240.0.0.1"),
    ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - the kernel takes it for loopback (ip(7))
    (f"::ffff:{THEM}", THEM),
    (THEM6, THEM6),
    ("fd00:ec2::254", "fd00:ec2::254"),
    ("3053:6278:0:1::100", "3053:6278:0:1::100"),
    (SOURCE_6, SOURCE_6),
    ("64:ff9b::7f00:1", "64:ff9b::7f00:1"),
    ("2002:7f00:1::", "2002:7f00:1::"),
    ("::1", "::1"),
    ("::", "::1"),
]


@pytest.mark.threat("D3", proves="every address on an allowed port is the gateway's own listener")
def test_a_connection_anywhere_lands_here_and_says_where_it_wanted_to_go(trap: Trap) -> None:
    for asked, expected in DESTINATIONS:
        for port in (443, 5432, 53):
            trap.begin("tcp", asked, port, "hello")
            assert trap.accept(port, ip_address(expected).version) == (expected, port, b"hello")
            assert trap.heard() == {"is": "seen hello"}
    assert trap.seen() == []


@pytest.mark.threat("D3", proves="no other port of any address answers, and each attempt is seen")
@pytest.mark.threat("K3", proves="a reverse shell or a beacon to a port that nothing allows is refused")
def test_every_other_port_is_refused_at_once_and_seen(trap: Trap) -> None:
    for asked, expected in DESTINATIONS:
        for port in (22, 4444, 65535):
            assert trap.do("tcp", asked, port) == REFUSED
            assert trap.seen() == [("tcp", expected, port)]


def test_without_ports_there_is_dns_alone(namespace: list[str]) -> None:
    with _trap(namespace, ()) as trap:
        assert {key[:2] for key in trap.sockets} == {("tcp", 53), ("udp", 53), ("observer", 0)}
        assert trap.do("tcp", THEM, 443) == REFUSED
        assert trap.do("tcp", THEM6, 443) == REFUSED
        assert trap.seen() == [("tcp", THEM, 443), ("tcp", THEM6, 443)]


def test_a_connection_waits_for_a_gateway_that_still_starts(trap: Trap) -> None:
    for address in (THEM, THEM6):
        assert trap.do("tcp", address, 443) == "connected"
        listener = trap.sockets["tcp", 443, ip_address(address).version]
        with listener.accept()[0] as one:
            assert one.getsockname()[0] == address
            assert one.recv(16) == b""


@pytest.mark.threat("D3", proves="without the gateway's sockets nothing is reachable")
def test_when_the_gateway_is_gone_nothing_answers(trap: Trap) -> None:
    for one in trap.sockets.values():
        one.close()
    for address in (THEM, THEM6, "127.0.0.1"):
        assert trap.do("tcp", address, 443) == REFUSED
        assert trap.do("udp", address, 53) == REFUSED


# --- UDP and DNS ----------------------------------------------------------------------------------


@pytest.mark.threat("D3", proves="UDP, QUIC among it, goes nowhere and is seen")
def test_udp_is_refused_and_seen(trap: Trap) -> None:
    for address in (THEM, THEM6, "127.0.0.1", "::1", "169.254.169.254", "240.0.0.1"):
        for port, size in ((443, 1), (443, 20_000), (123, 8)):
            assert trap.do("udp", address, port, "x" * size) == REFUSED
            assert trap.seen() == [("udp", address, port)]


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("224.0.0.251", id="multicast"),
        pytest.param("239.255.255.250", id="multicast, administrative"),
        pytest.param("255.255.255.255", id="broadcast"),
        pytest.param("ff02::fb", id="IPv6 multicast"),
        pytest.param("ff0e::1", id="IPv6 multicast, global"),
    ],
)
def test_what_gets_no_answer_is_seen_all_the_same(trap: Trap, address: str) -> None:
    assert trap.do("udp", address, 5353, "x", False) == []
    assert trap.seen() == [("udp", address, 5353)]


RESOLVERS = (
    "8.8.8.8",
    "127.0.0.53",
    "127.0.0.1",
    "10.0.0.1",
    SOURCE_4,
    "2001:4860:4860::8888",
    "::1",
    SOURCE_6,
)


@pytest.mark.threat("D3", proves="whatever resolver is asked, the gateway is, and answers in its name")
def test_a_query_to_any_resolver_is_answered_from_there(trap: Trap) -> None:
    for address in RESOLVERS:
        trap.begin("udp", address, 53, "query")
        assert trap.answer(ip_address(address).version) == (address, b"query")
        assert trap.heard() == {"is": ["answer to query", address]}
    assert trap.seen() == []


# --- what the program has ----------------------------------------------------------------------------


def test_its_own_talk_is_its_own(trap: Trap) -> None:
    for address in ("127.0.0.1", "::1", "8.8.8.8", SOURCE_4, SOURCE_6):
        assert trap.do("talk", address) == "hellohello"
    assert trap.seen() == []
    assert trap.do("listen", "127.0.0.1", 5432) == -errno.EADDRINUSE
    assert trap.do("listen", "8.8.8.8", 5432) == -errno.EADDRINUSE
    assert trap.do("listen", "127.0.0.1", 5433) == "listens"


@pytest.mark.threat(
    "D3", proves="the namespace has no interface but lo, and no right to make one or raw packets"
)
def test_there_is_nothing_to_send_by(trap: Trap) -> None:
    devices = trap.do("read", "/proc/net/dev").splitlines()[2:]
    assert [line.partition(":")[0].strip() for line in devices] == ["lo"]
    assert {line.split()[-1] for line in trap.do("read", "/proc/net/if_inet6").splitlines()} == {"lo"}
    assert trap.do("sockets") == []
    assert trap.do("route", "1.1.1.1") == NO_RIGHT
    for family, kind, protocol in (
        (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
        (socket.AF_PACKET, socket.SOCK_RAW, 0),
        (socket.AF_PACKET, socket.SOCK_DGRAM, 0),
    ):
        assert trap.do("open_socket", int(family), int(kind), protocol) == NO_RIGHT
    assert trap.do("open_socket", int(socket.AF_INET), int(socket.SOCK_DGRAM), socket.IPPROTO_ICMP) == DENIED


# --- what may go wrong --------------------------------------------------------------------------------


def test_without_ipv6_there_is_ipv4(namespace: list[str]) -> None:
    with _trap(namespace, before="no ipv6") as trap:
        assert {family for _, _, family in trap.sockets} == {0, 4}
        trap.begin("tcp", THEM, 443, "hello")
        assert trap.accept(443, 4) == (THEM, 443, b"hello")
        assert trap.heard() == {"is": "seen hello"}
        for address in (THEM6, "::1"):
            assert trap.do("tcp", address, 443) in (-errno.ENETUNREACH, -errno.EADDRNOTAVAIL)
        trap.begin("udp", "8.8.8.8", 53, "query")
        assert trap.answer(4) == ("8.8.8.8", b"query")
        assert trap.heard() == {"is": ["answer to query", "8.8.8.8"]}


def test_a_port_that_cannot_be_bound_is_an_error_and_nothing_comes_out(namespace: list[str]) -> None:
    with trapped(namespace, before="taken 443") as inside:
        assert inside.said["errno"] == errno.EADDRINUSE
        assert receive(inside.channel.fileno()) == []


def test_as_many_ports_as_a_message_holds(namespace: list[str]) -> None:
    assert plan.MOST_PORTS <= MOST_PORTS
    ports = tuple(range(2000, 2000 + MOST_PORTS))
    with _trap(namespace, ports) as trap:
        assert {port for kind, port, _ in trap.sockets if kind == "tcp"} == {53, *ports}
        trap.begin("tcp", THEM6, ports[-1], "hello")
        assert trap.accept(ports[-1], 6) == (THEM6, ports[-1], b"hello")
    with trapped(namespace, range(2000, 2130)) as inside:
        assert inside.said["errno"] == errno.EINVAL
        assert receive(inside.channel.fileno()) == []


# --- receive ------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def test_a_sandbox_that_ended_sent_nothing(pair: Pair) -> None:
    pair[1].close()
    assert receive(pair[0].fileno()) == []


@pytest.mark.parametrize(
    ("names", "count", "most"),
    [
        pytest.param(b"tcp:53 tcp:443", 1, 253, id="fewer than named"),
        pytest.param(b"tcp:53", 2, 253, id="more than named"),
        pytest.param(b"tcp:53 tcp:54 tcp:55", 3, 1, id="more than fit"),
        pytest.param(b"tcp:53", 0, 253, id="none"),
    ],
)
def test_an_incomplete_message_is_an_error_and_leaves_nothing_open(
    pair: Pair, names: bytes, count: int, most: int
) -> None:
    ours, theirs = pair
    sent = array.array("i", [ours.fileno()] * count)
    theirs.sendmsg([names], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)] if count else [])
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="incomplete"):
        receive(ours.fileno(), most)
    assert sorted(os.listdir("/proc/self/fd")) == before
