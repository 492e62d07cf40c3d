"""Addresses that no allowed name leads to, in every spelling, and names that lead where none may."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from tests.egress.battery import LOOKUPS, PATIENCE_S, V4, V6, Sides, fixtures, heard, new_word
from tests.egress.internet import Flow, Internet
from tests.egress.sniffer import ACK, SYN

pytestmark = pytest.mark.backends(docker="user", gvisor="user")

# Where a name must not lead, whatever allows it: how it is spelt in the table, the port of a listener there,
# and the kind that the log calls it. A name that is not of the zone is made when it is needed.
HOSTS_OWN, OUTSIDE = 18001, 4444
REBOUND: list[tuple[str, str, int, str]] = [
    ("rebind.test", "127.0.0.1", HOSTS_OWN, "loopback"),
    ("rebind6.test", "::1", HOSTS_OWN, "loopback"),
    ("own.test", "10.77.0.1", HOSTS_OWN, "own"),
    ("own6-made.test", "fd77::1", HOSTS_OWN, "own"),
    ("zero-made.test", "0.0.0.0", HOSTS_OWN, "reserved"),  # noqa: S104 - to connect to
    ("any6-made.test", "::", HOSTS_OWN, "embedding"),
    ("mapped.test", "::ffff:127.0.0.1", HOSTS_OWN, "embedding"),
    ("meta.test", "169.254.169.254", OUTSIDE, "metadata"),
    ("meta6-made.test", "fd00:ec2::254", OUTSIDE, "metadata"),
    ("azure-made.test", "168.63.129.16", OUTSIDE, "metadata"),
    ("alibaba-made.test", "100.100.100.200", OUTSIDE, "metadata"),
    ("private.test", "10.77.0.2", OUTSIDE, "private"),
    ("lan-made.test", "192.168.1.1", OUTSIDE, "private"),
    ("docker-made.test", "172.17.0.1", OUTSIDE, "private"),
    ("carrier-made.test", "100.64.0.9", OUTSIDE, "private"),
    ("private6-made.test", "fd12:3456::1", OUTSIDE, "private"),
    ("link-made.test", "169.254.1.1", OUTSIDE, "link-local"),
    ("site-made.test", "fec0::1", OUTSIDE, "reserved"),
    ("benchmark-made.test", "198.18.1.0", OUTSIDE, "reserved"),
    ("documents-made.test", "192.0.2.1", OUTSIDE, "reserved"),
    ("future-made.test", "240.0.0.9", OUTSIDE, "reserved"),
    ("nat64.test", "64:ff9b::7f00:1", OUTSIDE, "embedding"),
    ("nat64-local-made.test", "64:ff9b:1::a9fe:a9fe", OUTSIDE, "embedding"),
    ("sixtofour.test", "2002:7f00:1::", OUTSIDE, "embedding"),
    ("teredo-made.test", "2001::5ef5:79fd:380c:1d57", OUTSIDE, "embedding"),
    ("isatap-made.test", "2a00::5efe:7f00:1", OUTSIDE, "embedding"),
]
PARTED, FLIPPED = "parted-made.test", "flip-made.test"

standing, sides = fixtures(f"""
[network]
allow = ["allowed.test:443", "allowed.test:80", "198.51.100.7:9001", "localhost:18002",
         "{PARTED}:{HOSTS_OWN}", "{FLIPPED}:{HOSTS_OWN}", "{FLIPPED}:{OUTSIDE}",
         {", ".join(f'"{name}:{port}"' for name, _, port, _ in REBOUND)}]
""")

UNLISTED = 6667
NO_PORT, NO_NAME = "nothing is allowed on this port", "no allowed name was looked up"
EVERYWHERE = "every spelling of an address that is not listed is refused"


def number(address: str) -> int:
    """An IPv4 address as the one number it is."""
    return int.from_bytes(socket.inet_aton(address), "big")


# How an address of four decimals is spelt for inet_aton(3): the address's last number is the test's own.
SPELLINGS = {
    "as usual": "45.33.1.1",
    "one decimal number": str(number("45.33.1.2")),
    "hexadecimal": hex(number("45.33.1.3")),
    "octal": f"0{number('45.33.1.4'):o}",
    "octal parts": "055.041.01.05",
    "hexadecimal parts": "0x2d.0x21.0x1.0x6",
    "two parts": f"45.{number('0.33.1.7')}",
    "three parts": "45.33.264",
    "mixed": "0x2d.041.265",
    "leading zeros": "0055.0041.0001.0012",
}


@pytest.mark.threat("D3", backend="native", proves=f"{EVERYWHERE}: decimal, octal, hexadecimal, short")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_of_an_address(spelling: str, sides: Sides) -> None:
    text = SPELLINGS[spelling]
    plain = socket.inet_ntoa(socket.inet_aton(text))
    word = new_word()
    sides.refused("streams.spelt", text=text, port=9001, word=word)
    sides.silent(word)
    sides.denied("egress.deny", NO_NAME, host=plain, port=9001)
    _refused_on_every_port(sides, text, plain)


def _refused_on_every_port(sides: Sides, text: str, plain: str) -> None:
    """One without a listener of the trap's, and two with."""
    word = new_word()
    for port in (UNLISTED, 443, 80):
        request = f"GET /{word}-{port} HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"
        sides.refused("streams.tell", host=text, port=port, word=request)
        sides.denied("egress.deny", NO_PORT if port == UNLISTED else NO_NAME, host=plain, port=port)
    sides.silent(word)
    for port in (UNLISTED, 443, 80):
        request = f"GET /{word}-{port} HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"
        sides.control(f"{word}-{port}", "streams.tell", host=text, port=port, word=request)


DISGUISES = {
    "mapped": ("::ffff:45.33.2.1", "45.33.2.1"),
    "mapped, in hexadecimal": ("::ffff:2d21:202", "45.33.2.2"),
    "NAT64": ("64:ff9b::2d21:203", "64:ff9b::2d21:203"),
    "local NAT64": ("64:ff9b:1::2d21:204", "64:ff9b:1::2d21:204"),
    "6to4": ("2002:2d21:205::1", "2002:2d21:205::1"),
    "Teredo": ("2001:0:2d21:206::1", "2001:0:2d21:206::1"),
    "IPv6": ("2a01:4f8::7", "2a01:4f8::7"),
    "IPv6, written out": ("2a01:04f8:0000:0000:0000:0000:0000:0008", "2a01:4f8::8"),
    "IPv6 with a dotted end": ("2a01:4f8::0.0.0.9", "2a01:4f8::9"),
}


@pytest.mark.threat("D3", backend="native", proves=f"{EVERYWHERE}: mapped, NAT64, 6to4, Teredo, IPv6")
@pytest.mark.parametrize("disguise", DISGUISES)
def test_ipv6_disguises_of_an_address(disguise: str, sides: Sides) -> None:
    _refused_on_every_port(sides, *DISGUISES[disguise])


@pytest.mark.threat("D3", backend="native", proves="an allowed host's own address is as refused as any other")
@pytest.mark.parametrize("address", [V4, V6])
def test_the_real_address_of_an_allowed_host(address: str, sides: Sides) -> None:
    word = new_word()
    asked = {"host": address, "port": 443, "sni": "allowed.test", "word": word}
    sides.refused("tls.tell", **asked)
    sides.silent(word)
    sides.denied("egress.deny", NO_NAME, host=address, port=443)
    sides.control(word, "tls.tell", **asked)


@pytest.mark.threat("D3", backend="native", proves="of an allowed host only the listed ports are reached")
@pytest.mark.parametrize(
    ("host", "port"),
    [
        *(("allowed.test", port) for port in (22, 25, 9001, 8888, 4444)),
        *(("198.51.100.7", port) for port in (22, 80, 443, 8888, 4444)),
    ],
)
def test_an_unlisted_port(host: str, port: int, sides: Sides) -> None:
    word = new_word()
    sides.refused("streams.tell", host=host, port=port, word=word)
    sides.silent(word)
    sides.denied("egress.deny", host=host, port=port)
    sides.control(word, "streams.tell", host=host, port=port, word=word)


def test_what_is_listed_is_reached(sides: Sides, internet: Internet) -> None:
    for host, port in (("198.51.100.7", 9001), ("::ffff:198.51.100.7", 9001), ("localhost", 18002)):
        word = new_word()
        # With the end of its line it is no request that only began.
        sides.attack("streams.tell", host=host, port=port, word=f"{word}\n")
        assert heard(internet, word)
    assert internet.outside_packets(Flow("tcp", "198.51.100.7", 9001)) == []


# --- where a name leads ---------------------------------------------------------------------------


@pytest.mark.threat(
    "D3", backend="native", proves="an allowed name that leads to the host or its network is refused"
)
@pytest.mark.threat(
    "H2", backend="native", proves="rebinding reaches no service of the host, no metadata service"
)
@pytest.mark.parametrize(
    ("name", "address", "port", "kind"), [pytest.param(*one, id=f"{one[0]}, {one[1]}") for one in REBOUND]
)
def test_rebinding(name: str, address: str, port: int, kind: str, sides: Sides, internet: Internet) -> None:
    if "-made" in name:
        internet.rename(name, address)
    word = new_word()
    sides.refused("streams.tell", host=name, port=port, word=word)
    sides.silent(word, LOOKUPS)
    sides.denied("egress.deny", f"({kind})", host=name, port=port)
    assert internet.names_asked() == [name] * len(internet.names_asked())
    sides.control(word, "streams.tell", host=name, port=port, word=word)


@pytest.mark.threat("D3", backend="native", proves="of several addresses only the public ones are tried")
def test_a_private_address_among_public_ones(sides: Sides, internet: Internet) -> None:
    internet.rename(PARTED, V4, "127.0.0.1")
    word = new_word()
    sides.refused("streams.tell_any", host=PARTED, port=HOSTS_OWN, word=word)
    sides.silent(word, LOOKUPS, Flow("tcp", V4, HOSTS_OWN))
    assert internet.host_connections() == []
    sides.control(word, "streams.tell_any", host=PARTED, port=HOSTS_OWN, word=word)
    assert internet.host_connections() != []


@pytest.mark.threat(
    "D3", backend="native", proves="an answer that changes between two connections is judged anew"
)
def test_an_answer_that_changes(sides: Sides, internet: Internet) -> None:
    internet.rename(FLIPPED, V4)
    word = new_word()
    sides.attack("streams.tell", host=FLIPPED, port=OUTSIDE, word=f"{word}\n")
    assert internet.heard() == f"{word}\n".encode()
    internet.rename(FLIPPED, "127.0.0.1")
    internet.begin()
    deadline = time.monotonic() + PATIENCE_S
    # The answer is remembered for some seconds: until then it is the old one, and never the new.
    while not _is_denied(sides, FLIPPED):
        assert time.monotonic() < deadline
        sides.refused("streams.tell", host=FLIPPED, port=HOSTS_OWN, word=new_word())
        assert internet.host_connections() == []
        time.sleep(0.1)
    assert internet.outside_packets(LOOKUPS, Flow("tcp", V4, HOSTS_OWN)) == []
    sides.control(word, "streams.tell", host=FLIPPED, port=HOSTS_OWN, word=word)
    assert internet.host_heard() == word.encode()


def _is_denied(sides: Sides, name: str) -> bool:
    rows = sides.inside.rows("egress.deny")
    return any(one["detail"].get("host") == name and "loopback" in one["detail"]["reason"] for one in rows)


@pytest.mark.threat("D3", backend="native", proves="an address made up for another session is nobody's")
def test_a_made_up_address_that_was_not_looked_up(sides: Sides) -> None:
    for address in ("26.53.250.1", "3053:6278:0:1::fa01", "198.18.0.1", "fd53:6278::1"):
        word = new_word()
        sides.refused("streams.tell", host=address, port=80, word=word)
        sides.silent(word)
        sides.denied("egress.deny", host=address, port=80)


# --- past the table -------------------------------------------------------------------------------


@pytest.mark.threat(
    "D3", backend="native", proves="a literal is refused without any variable that names a proxy"
)
def test_without_an_environment(sides: Sides) -> None:
    word = new_word()
    asked = {"host": "45.33.3.1", "port": UNLISTED, "word": word, "bare": True}
    sides.refused("streams.tell", **asked)
    sides.silent(word)
    sides.denied("egress.deny", NO_PORT, host="45.33.3.1")
    sides.control(word, "streams.tell", **asked)


@pytest.mark.threat("D3", backend="native", proves="multipath TCP, which may change its address, is refused")
def test_multipath_tcp(sides: Sides) -> None:
    word = new_word()
    asked = {"host": "45.33.3.2", "port": UNLISTED, "word": word, "protocol": 262}
    if sides.outside.call("streams.tell", **asked).get("failed") in ("EPROTONOSUPPORT", "ENOPROTOOPT"):
        pytest.skip("this kernel has no multipath TCP")
    sides.internet.begin()
    sides.refused("streams.tell", **asked)
    sides.silent(word)
    sides.control(word, "streams.tell", **asked)


@pytest.mark.threat("D3", backend="native", proves="data in the first packet (TCP Fast Open) does not leave")
@pytest.mark.parametrize("option", [False, True], ids=["MSG_FASTOPEN", "TCP_FASTOPEN_CONNECT"])
@pytest.mark.parametrize("port", [UNLISTED, 9001], ids=["no listener", "a listener"])
@pytest.mark.parametrize("address", ["45.33.3.{}", "2a01:4f8::{}"])
def test_data_in_the_first_packet(
    address: str, port: int, option: bool, sides: Sides, internet: Internet
) -> None:
    word = new_word()
    address = address.format(33 + option)
    asked = {"address": address, "port": port, "word": word, "option": option}
    # 4: with data even for a host that never gave a cookie (ip-sysctl).
    internet.run(["sh", "-c", "echo 5 >/proc/sys/net/ipv4/tcp_fastopen"])
    sides.refused("streams.in_syn", **asked)
    sides.silent(word)
    sides.denied("egress.deny", host=address, port=port)
    internet.begin()
    sides.control(word, "streams.in_syn", **asked)
    opened = [one for one in internet.packets() if one.get("flags", 0) & (SYN | ACK) == SYN]
    assert [bytes.fromhex(one["payload"]) for one in opened] == [word.encode()]


BIND_TO_DEVICE, MARK, FREEBIND, TRANSPARENT, FREEBIND6 = 25, 36, 15, 19, 78
IP, IP6 = socket.IPPROTO_IP, socket.IPPROTO_IPV6
OPTIONS: list[Any] = [
    pytest.param("45.33.4.1", socket.SOL_SOCKET, BIND_TO_DEVICE, "host0", "", id="SO_BINDTODEVICE"),
    pytest.param("45.33.4.2", socket.SOL_SOCKET, MARK, 77, "", id="SO_MARK"),
    pytest.param("45.33.4.3", IP, TRANSPARENT, 1, "9.9.9.9", id="IP_TRANSPARENT"),
    pytest.param("45.33.4.4", IP, FREEBIND, 1, "9.9.9.9", id="IP_FREEBIND"),
    pytest.param("2a01:4f8::45", IP6, FREEBIND6, 1, "2a01::9", id="IPV6_FREEBIND"),
]


@pytest.mark.threat("D3", backend="native", proves="no option of a socket leads past the trap")
@pytest.mark.parametrize(("address", "level", "option", "value", "source"), OPTIONS)
def test_options_of_a_socket(
    address: str, level: int, option: int, value: str | int, source: str, sides: Sides, internet: Internet
) -> None:
    word = new_word()
    asked = {"address": address, "port": UNLISTED, "word": word, "level": level, "option": option}
    asked |= {"value": value, "source": source}
    sides.refused("streams.with_option", **asked)
    sides.silent(word)
    internet.begin()
    result = sides.outside.call("streams.with_option", **asked)
    left = [one for one in internet.packets() if Flow("tcp", address, UNLISTED).takes(one)]
    if not left and result.get("failed") in ("EPERM", "ENETUNREACH"):
        pytest.skip(f"this caller cannot do it outside either: {result['failed']}")
    # From a source that is not its own nothing comes back; its first packet left all the same.
    assert left != [], result
