"""What is neither TCP nor our DNS: datagrams, QUIC, echo requests, raw packets, frames, other transports."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.attacks.inside import World
from tests.egress.battery import Sides, fixtures, heard, new_word, payload
from tests.egress.internet import Flow, Internet

pytestmark = pytest.mark.backends(docker="user", gvisor="user")

standing, sides = fixtures("""
[network]
allow = ["allowed.test:443", "allowed.test:4444", "198.51.100.7:9001"]
""")

# A QUIC Initial packet's first bytes (RFC 9000, 17.2.2): long header, version 1, two connection ids.
QUIC = "c3000000010801020304050607080801020304050607080044b6"
NTP = "1b" + "00" * 39
MDNS = "000001000001000000000000"
TARGETS: list[Any] = [
    pytest.param("8.8.8.8", 443, QUIC, id="QUIC"),
    pytest.param("2001:4860:4860::8888", 443, QUIC, id="QUIC over IPv6"),
    pytest.param("93.184.216.34", 443, QUIC, id="QUIC to an allowed host's address"),
    pytest.param("198.51.100.7", 9001, "", id="a listed literal, which is for TCP"),
    pytest.param("45.33.5.1", 123, NTP, id="NTP"),
    pytest.param("45.33.5.2", 4444, "", id="another port"),
    pytest.param("45.33.5.3", 1, "", id="the lowest port"),
    pytest.param("45.33.5.4", 65535, "", id="the highest port"),
    pytest.param("45.33.5.5", 51820, "0100000000000000", id="WireGuard"),
    pytest.param("45.33.5.6", 69, "0001", id="TFTP"),
    pytest.param("45.33.5.7", 514, "3c31343e", id="syslog"),
    pytest.param("2a01:4f8::51", 4444, "", id="IPv6"),
    pytest.param("::ffff:45.33.5.8", 4444, "", id="mapped"),
    pytest.param("64:ff9b::2d21:509", 4444, "", id="NAT64"),
    pytest.param("10.77.0.2", 4444, "", id="the host's network"),
    pytest.param("169.254.169.254", 8888, "", id="a metadata service"),
    pytest.param("127.0.0.1", 18001, "", id="the host's loopback"),
    pytest.param("::1", 18001, "", id="the host's IPv6 loopback"),
    pytest.param("10.77.0.1", 18002, "", id="the host's own address"),
    pytest.param("fd77::1", 18002, "", id="the host's own IPv6 address"),
]


@pytest.mark.threat(
    "D3", backend="native", proves="0 bytes by UDP, to any address and port, QUIC and IPv6 included"
)
@pytest.mark.threat("K3", backend="native", proves="C2 over UDP fails")
@pytest.mark.parametrize(("address", "port", "head"), TARGETS)
def test_a_datagram(address: str, port: int, head: str, sides: Sides) -> None:
    word = new_word()
    asked = {"address": address, "port": port, "head": head, "word": word}
    sides.refused("datagrams.tell", **asked)
    sides.silent(word)
    shown = address.removeprefix("::ffff:")
    sides.denied("egress.deny", "no udp leaves the sandbox", host=shown, port=port, protocol="udp")
    sides.control(word, "datagrams.tell", **asked)


GROUPS: list[Any] = [
    pytest.param("224.0.0.251", 5353, {}, id="mDNS"),
    pytest.param("239.255.255.250", 1900, {}, id="SSDP"),
    pytest.param("224.0.0.1", 4444, {}, id="all hosts"),
    pytest.param("255.255.255.255", 4444, {"broadcast": True}, id="broadcast"),
    pytest.param("ff02::fb", 5353, {"interface": True}, id="IPv6 mDNS"),
    pytest.param("ff05::c", 1900, {"interface": True}, id="IPv6 SSDP"),
]


@pytest.mark.threat("D3", backend="native", proves="0 bytes by multicast and broadcast")
@pytest.mark.parametrize(("address", "port", "more"), GROUPS)
def test_a_datagram_to_many(address: str, port: int, more: dict[str, Any], sides: Sides) -> None:
    word = new_word()
    asked = {"address": address, "port": port, "word": word, "head": MDNS, **more}
    sides.attack("datagrams.tell", **asked)
    sides.silent(word)
    sides.denied("egress.deny", host=address, port=port, protocol="udp")
    sides.control(word, "datagrams.tell", **asked)


@pytest.mark.threat(
    "D3", backend="native", proves="a datagram with data to port 53 is read as a query, and ends there"
)
@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "45.33.5.53"])
def test_a_datagram_to_the_port_of_dns(address: str, sides: Sides) -> None:
    word = new_word()
    sides.attack("datagrams.tell", address=address, port=53, word=word)
    sides.silent(word)
    sides.control(word, "datagrams.tell", address=address, port=53, word=word)


# --- echo requests --------------------------------------------------------------------------------


@pytest.fixture
def pings(internet: Internet, world: World) -> None:
    """The test host lets everybody send echo requests by datagram, as most systems do (icmp(7))."""
    done = internet.run(["sh", "-c", "echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range"])
    assert done.returncode == 0, done.stderr


@pytest.mark.threat("D3", backend="native", proves="0 bytes by ICMP and ICMPv6, by datagram and raw")
@pytest.mark.threat("K3", backend="native", proves="C2 over ICMP fails")
@pytest.mark.parametrize("raw", [False, True], ids=["datagram", "raw"])
@pytest.mark.parametrize("address", ["8.8.4.4", "2001:4860:4860::8844", "10.77.0.1", "fd77::1"])
def test_an_echo_request(address: str, raw: bool, sides: Sides, internet: Internet, pings: None) -> None:
    word = new_word()
    asked = {"address": address, "word": word, "raw": raw}
    sides.refused("datagrams.ping", **asked)
    sides.silent(word)
    result = sides.outside.call("datagrams.ping", **asked)
    if result.get("failed") == "EPERM":
        pytest.skip("this caller cannot do it outside either: EPERM")
    # The host answers itself without a packet that leaves it.
    assert heard(internet, word) or word in result["got"]


# --- below and beside -----------------------------------------------------------------------------


@pytest.mark.threat("D3", backend="native", proves="0 bytes by raw sockets of any protocol, tunnels included")
@pytest.mark.parametrize("address", ["192.0.2.8", "2001:db8::8"])
@pytest.mark.parametrize("protocol", [253, 47, 4, 41, 50, 132], ids="253 GRE IPIP 6in4 ESP SCTP".split())
def test_a_raw_packet(address: str, protocol: int, sides: Sides) -> None:
    word = new_word()
    asked = {"address": address, "protocol": protocol, "word": word}
    sides.refused("datagrams.raw", **asked)
    sides.silent(word)
    if sides.world.caller != "root":
        pytest.skip("this caller cannot do it outside either: a raw socket is root's")
    sides.control(word, "datagrams.raw", **asked)


@pytest.mark.threat("D3", backend="native", proves="no frame is sent past the kernel's tables")
def test_a_frame(sides: Sides) -> None:
    word = new_word()
    sides.refused("datagrams.frame", word=word)
    sides.silent(word)
    if sides.world.caller != "root":
        pytest.skip("this caller cannot do it outside either: a packet socket is root's")
    sides.control(word, "datagrams.frame", word=word)


@pytest.mark.threat("D3", backend="native", proves="0 bytes over SCTP, DCCP and UDP-Lite")
@pytest.mark.parametrize("protocol", ["sctp", "sctp packets", "dccp", "udplite"])
@pytest.mark.parametrize("address", ["45.33.5.60", "2a01:4f8::60"])
def test_another_transport(address: str, protocol: str, sides: Sides, internet: Internet) -> None:
    word = new_word()
    asked = {"address": address, "port": 4444, "word": word, "protocol": protocol}
    sides.refused("datagrams.other", **asked)
    sides.silent(word)
    result = sides.outside.call("datagrams.other", **asked)
    left = internet.outside_packets()
    if not left and result.get("failed") in ("EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EPERM", "EACCES"):
        pytest.skip(f"this caller cannot do it outside either: {result['failed']}")
    # No such host answers: of a transport that connects first only that much is seen.
    assert left != [], result


@pytest.mark.threat(
    "D3", backend="native", proves="no family of sockets leads elsewhere: vsock, Bluetooth, CAN, XDP"
)
def test_families_of_sockets(sides: Sides) -> None:
    assert sides.attack("datagrams.families") == {"got": []}
    outside = sides.outside.call("datagrams.families")["got"]
    if not outside:
        pytest.skip("this kernel gives this caller no such socket")


# --- other services -------------------------------------------------------------------------------


@pytest.mark.threat("D3", backend="native", proves="DNS over TLS reaches no resolver")
@pytest.mark.parametrize("server", ["8.8.8.8", "1.1.1.1", "2001:4860:4860::8888"])
def test_dns_over_tls(server: str, sides: Sides, internet: Internet) -> None:
    asked = {"host": server, "port": 853, "sni": "dns.google", "word": new_word()}
    sides.refused("tls.tell", **asked)
    sides.silent(asked["word"])
    sides.denied("egress.deny", "nothing is allowed on this port", host=server, port=853)
    sides.outside.call("tls.tell", **asked)
    # Nobody serves it in the test's internet: the first packet is what there is to see.
    assert internet.outside_packets() != []
    assert internet.outside_packets(Flow("tcp", server, 853)) == []


@pytest.mark.threat(
    "D3", backend="native", proves="DNS over HTTPS reaches no resolver, by address, name or SNI"
)
@pytest.mark.parametrize(
    ("host", "sni", "reason"),
    [
        ("8.8.8.8", "dns.google", "no allowed name was looked up"),
        ("2001:4860:4860::8888", "dns.google", "no allowed name was looked up"),
        ("allowed.test", "dns.google", "SNI says `dns.google`"),
    ],
)
def test_dns_over_https(host: str, sni: str, reason: str, sides: Sides, internet: Internet) -> None:
    word = new_word()
    asked = {"host": host, "port": 443, "sni": sni, "word": f"dns-query?dns={word}"}
    sides.refused("tls.tell", **asked)
    assert not heard(internet, word)
    sent = [payload(one) for one in internet.packets() if Flow("tcp", dport=443).takes(one)]
    assert b"".join(sent) == b""
    sides.denied("egress.deny", reason, host=host, port=443)
    sides.control(word, "tls.tell", **asked)


@pytest.mark.threat("D3", backend="native", proves="a flood of datagrams is counted, and fills no log")
def test_a_flood_of_datagrams(sides: Sides, internet: Internet) -> None:
    before = sides.inside.log.stat().st_size
    word = new_word()
    got = sides.attack("datagrams.flood", address="45.33.6.1", count=20_000, word=word)["got"]
    assert got >= 20_000
    sides.silent(word)
    sides.denied("egress.deny", "no udp", host="45.33.6.1")
    grown = sides.inside.log.stat().st_size - before
    # 512 different ones are told one by one; the rest are sums.
    assert grown < 600 * 1024, grown
    assert os.path.getsize(sides.inside.log) < 1 << 20
    sides.control(word, "datagrams.flood", address="45.33.6.1", count=10, word=word)
