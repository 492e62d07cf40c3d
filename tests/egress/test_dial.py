"""Where a connection may be dialled: addresses judged after resolution, pinned, and the host's own proxy."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest

from sandbox.egress import dial
from sandbox.egress.decide import Denied, Target
from sandbox.egress.dial import Dialer, Way
from sandbox.policy.hosts import parse
from sandbox.policy.model import HostRule
from sandbox.records import replace

NAME = "good.example"
PUBLIC, PUBLIC6, OTHER = "93.184.216.34", "2606:2800:220:1::1", "93.184.216.35"
SECONDS = 10.0


def name_target(port: int = 443, *, private: bool = False) -> Target:
    return Target("name", NAME, port, replace(parse(f"{NAME}:{port}"), private=private))


class Answers:
    """The host's resolver, as this process would ask it; `asked` is what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked: list[str] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self._answer)

    async def _answer(self, host: bytes | str, port: Any, **more: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        self.asked.append(name)
        if _is_address(name):
            return [self._info(name, port)]
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [self._info(address, port) for address in self.addresses]

    @staticmethod
    def _info(address: str, port: int | None) -> tuple[Any, ...]:
        six = ":" in address
        where = (address, port or 0, 0, 0) if six else (address, port or 0)
        family = socket.AF_INET6 if six else socket.AF_INET
        return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Each test is one coroutine, and takes no longer than it may."""
    asyncio.run(asyncio.wait_for(work(), SECONDS))


# --- after resolution ---------------------------------------------------------------------------------


@pytest.mark.threat("D3", proves="a name that resolves to an address inside leads nowhere")
@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        pytest.param(["127.0.0.1"], "loopback", id="loopback"),
        pytest.param(["::1"], "loopback", id="loopback, IPv6"),
        pytest.param(["10.0.0.1"], "private", id="private"),
        pytest.param(["fd00::1"], "private", id="private, IPv6"),
        pytest.param(["169.254.1.1"], "link-local", id="link-local"),
        pytest.param(["fe80::1"], "link-local", id="link-local, IPv6"),
        pytest.param(["169.254.169.254"], "metadata", id="a cloud's metadata"),
        pytest.param(["fd00:ec2::254"], "metadata", id="a cloud's metadata, IPv6"),
        pytest.param(["0.0.0.0"], "reserved", id="this host"),  # noqa: S104
        pytest.param(["::ffff:127.0.0.1"], "embedding", id="loopback in disguise"),
        pytest.param(["64:ff9b::7f00:1"], "embedding", id="loopback behind NAT64"),
        pytest.param(["224.0.0.1"], "multicast", id="multicast"),
        pytest.param(["10.0.0.1", "127.0.0.1", "::1"], "private", id="several, none of them good"),
    ],
)
def test_addresses_of_the_inside_are_refused(
    answers: list[str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        Answers(monkeypatch, *answers)
        found = await Dialer([], {}).way(name_target())
        assert isinstance(found, Denied)
        assert f"{ip_address(answers[0])} ({kind})" in found.reason
        assert (found.host, found.port, found.rule) == (NAME, 443, "addresses after resolution")

    run(work)


def test_only_private_addresses_come_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        for answers, grant in ((["10.0.0.1"], "10.0.0.1:443"), (["10.0.0.1", "169.254.169.254"], "")):
            Answers(monkeypatch, *answers)
            found = await Dialer([], {}).way(name_target())
            assert isinstance(found, Denied)
            assert found.grant == grant
            assert ("`private` in [network]" in found.reason) is bool(grant)

    run(work)


@pytest.mark.threat("D3", proves="a name that resolves to this machine's own address leads nowhere")
def test_this_machines_own_addresses_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        Answers(monkeypatch, PUBLIC, OTHER)
        monkeypatch.setattr(dial, "_is_own", lambda address: str(address) == PUBLIC)
        way = await Dialer([], {}).way(name_target())
        assert isinstance(way, Way)
        assert way.addresses == [OTHER]

    run(work)


def test_an_address_is_this_machines_own_where_a_socket_can_be_bound_to_it() -> None:
    assert dial._is_own(ip_address("127.0.0.1"))
    assert not dial._is_own(ip_address("192.0.2.1"))
    assert not dial._is_own(ip_address("2001:db8::1"))


@pytest.mark.parametrize(
    ("answers", "rules", "private", "good"),
    [
        pytest.param([PUBLIC, PUBLIC6], [], False, [PUBLIC, PUBLIC6], id="public ones, in their order"),
        pytest.param([PUBLIC, PUBLIC], [], False, [PUBLIC], id="none twice"),
        pytest.param(["10.0.0.1", PUBLIC, "127.0.0.1"], [], False, [PUBLIC], id="the good ones of a mixture"),
        pytest.param(["10.0.0.1", "127.0.0.1"], [], True, ["10.0.0.1"], id="private ones, and nothing else"),
        pytest.param(["169.254.169.254", "fd00::1"], [], True, ["fd00::1"], id="private is not metadata"),
        pytest.param(["10.0.0.1"], ["10.0.0.1:443"], False, ["10.0.0.1"], id="a literal that is listed"),
        pytest.param(["10.0.0.1", PUBLIC], ["10.0.0.1:80"], False, [PUBLIC], id="listed at another port"),
        pytest.param(["::1"], ["[::1]:443"], False, ["::1"], id="a listed literal of IPv6"),
    ],
)
def test_which_addresses_are_tried(
    answers: list[str], rules: list[str], private: bool, good: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        Answers(monkeypatch, *answers)
        way = await Dialer([parse(one) for one in rules], {}).way(name_target(private=private))
        assert isinstance(way, Way)
        assert way.addresses == good
        assert {info[4][1] for info in way.found} == {443}

    run(work)


@pytest.mark.parametrize("answers", [pytest.param([], id="no such name")])
def test_a_name_without_an_address_is_no_denial(answers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        Answers(monkeypatch, *answers)
        with pytest.raises(OSError, match="Name or service"):
            await Dialer([], {}).way(name_target())

    run(work)


def test_a_name_is_asked_for_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        answers = Answers(monkeypatch, PUBLIC)
        await Dialer([], {}).way(name_target())
        assert answers.asked == [NAME]

    run(work)


@pytest.mark.threat("D3", proves="what a name resolves to later does not move a connection (rebinding)")
def test_the_answer_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with listening() as (port, _):
            answers = Answers(monkeypatch, "127.0.0.1", "169.254.169.254")
            dialer = Dialer([parse(f"127.0.0.1:{port}")], {})
            target = name_target(port)
            way = await dialer.way(target)
            assert isinstance(way, Way)
            answers.addresses = ["10.0.0.1"]
            with await dialer.connect(target, way) as one:
                assert one.getpeername() == ("127.0.0.1", port)
                assert one.getblocking() is False
            assert answers.asked == [NAME]

    run(work)


def test_an_answer_serves_for_a_moment_and_each_address_is_judged_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        answers = Answers(monkeypatch, PUBLIC)
        dialer = Dialer([], {})
        both = await asyncio.gather(dialer.way(name_target()), dialer.way(name_target(8443)))
        assert [way.addresses for way in both if isinstance(way, Way)] == [[PUBLIC]] * 2
        assert answers.asked == [NAME], "one question for what comes together"
        monkeypatch.setattr(dial, "_is_own", lambda _: True)
        assert isinstance(await dialer.way(name_target()), Denied)
        assert answers.asked == [NAME]

    run(work)


def test_an_answer_that_is_too_old_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(dial, "REMEMBER_S", -1.0)
        answers = Answers(monkeypatch, PUBLIC)
        dialer = Dialer([], {})
        await dialer.way(name_target())
        answers.addresses = ["127.0.0.1"]
        assert isinstance(await dialer.way(name_target()), Denied)
        assert answers.asked == [NAME] * 2

    run(work)


def test_a_connection_that_gave_up_leaves_the_answer_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        answered = asyncio.Event()
        answers = Answers(monkeypatch, PUBLIC)

        async def slow(*_: Any, **more: Any) -> Any:
            await answered.wait()
            return await answers._answer(NAME, None)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", slow)
        dialer = Dialer([], {})
        first = asyncio.create_task(dialer.way(name_target()))
        second = asyncio.create_task(dialer.way(name_target()))
        await asyncio.sleep(0)
        first.cancel()
        answered.set()
        way = await second
        assert isinstance(way, Way)
        assert way.addresses == [PUBLIC]
        assert first.cancelled()

    run(work)


# --- dialling -----------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None,
    address: str = "127.0.0.1",
) -> AsyncIterator[tuple[int, asyncio.Server]]:
    """A server of the loopback, with a handler that reads to the end."""

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await (serve or read)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(handle, address, 0)
    try:
        yield server.sockets[0].getsockname()[1], server
    finally:
        server.close()


def local(port: int, host: str = "127.0.0.1", rule: str = "localhost") -> Target:
    return Target("local", host, port, HostRule(rule, port))


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("::1", "::1")],
)
def test_localhost_is_either_family_whichever_was_asked(listens: str, asked: str) -> None:
    async def work() -> None:
        async with listening(address=listens) as (port, _):
            dialer, target = Dialer([], {}), local(port, asked)
            way = await dialer.way(target)
            assert isinstance(way, Way)
            assert way.addresses[0] == asked
            with await dialer.connect(target, way) as one:
                assert one.getpeername()[0] == listens
                assert one.getblocking() is False

    run(work)


def test_a_listed_loopback_address_is_that_one_alone() -> None:
    async def work() -> None:
        async with listening(address="::1") as (port, _):
            dialer, target = Dialer([], {}), local(port, rule="127.0.0.1")
            way = await dialer.way(target)
            assert isinstance(way, Way)
            assert way.addresses == ["127.0.0.1"]
            with pytest.raises(ConnectionRefusedError):
                await dialer.connect(target, way)

    run(work)


def test_localhost_where_nobody_listens_is_refused() -> None:
    async def work() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        dialer, target = Dialer([], {}), local(port)
        way = await dialer.way(target)
        assert isinstance(way, Way)
        with pytest.raises(ConnectionRefusedError):
            await dialer.connect(target, way)

    run(work)


def test_the_next_address_is_tried_where_one_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name that has two, listed as literals so that the loopback may stand for the internet."""

    async def work() -> None:
        async with listening() as (port, _):
            Answers(monkeypatch, "::1", "127.0.0.1")
            dialer = Dialer([parse(f"[::1]:{port}"), parse(f"127.0.0.1:{port}")], {})
            target = name_target(port)
            way = await dialer.way(target)
            assert isinstance(way, Way)
            assert way.addresses == ["::1", "127.0.0.1"]
            with await dialer.connect(target, way) as one:
                assert one.getpeername()[0] == "127.0.0.1"

    run(work)


def test_a_listed_literal_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        answers = Answers(monkeypatch, PUBLIC)
        way = await Dialer([], {}).way(Target("literal", "10.0.0.5", 443, parse("10.0.0.5")))
        assert way == Way(((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.0.0.5", 443)),))
        assert answers.asked == []

    run(work)


# --- the host's proxy ---------------------------------------------------------------------------------


@dataclass
class Proxy:
    """A proxy on the loopback that says what it was asked, and answers as the test wants."""

    reply: Sequence[bytes] = (b"HTTP/1.1 200 Connection established\r\n\r\n",)
    """Pieces, each sent once the one before has surely been read or lies in the other's buffer."""
    user: str = ""
    heard: list[str] = field(default_factory=list)
    stays: bool = True

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """CONNECT (RFC 9110 9.3.6)."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.split("\r\n")
        self.heard.append(line)
        given = dict(one.split(": ", 1) for one in fields if one)
        encoded = given.get("Proxy-Authorization", "").removeprefix("Basic ")
        self.user = base64.b64decode(encoded).decode()
        for piece in self.reply:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)
        if self.stays:
            await self._echo(reader, writer)

    async def socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """CONNECT to a name (RFC 1928, 1929)."""
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        if 2 in methods:
            writer.write(b"\5\2")
            (_, size) = await reader.readexactly(2)
            user = await reader.readexactly(size)
            (size,) = await reader.readexactly(1)
            self.user = f"{user.decode()}:{(await reader.readexactly(size)).decode()}"
            writer.write(b"\1\0")
        else:
            writer.write(b"\5\0")
        _, command, _, kind = await reader.readexactly(4)
        assert (command, kind) == (1, 3), "a name, to connect to"
        (size,) = await reader.readexactly(1)
        name = (await reader.readexactly(size)).decode()
        (port,) = struct.unpack(">H", await reader.readexactly(2))
        self.heard.append(f"{name}:{port}")
        writer.write(self.reply[0] if self.reply[0][:1] == b"\5" else b"\5\0\0\1" + bytes(6))
        await self._echo(reader, writer)

    async def socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """SOCKS 4a: a name behind an address that is none."""
        _, _, port, address = struct.unpack(">BBH4s", await reader.readexactly(8))
        assert address[:3] == b"\0\0\0" != address
        self.user = (await reader.readuntil(b"\0"))[:-1].decode()
        name = (await reader.readuntil(b"\0"))[:-1].decode()
        self.heard.append(f"{name}:{port}")
        writer.write(b"\0\x5a" + bytes(6))
        await self._echo(reader, writer)

    async def garbage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers whatever it was asked."""
        await reader.read(100)
        writer.write(self.reply[0])

    async def silent(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        """Never answers."""
        await reader.read()
        self.heard.append("")

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)


async def through(
    monkeypatch: pytest.MonkeyPatch, url: str, serve: Any, said: bytes = b"hello", **more: str
) -> bytes:
    """What came back on a connection through the proxy that `serve` is."""
    async with listening(serve, "::1" if "[::1]" in url else "127.0.0.1") as (port, _):
        answers = Answers(monkeypatch, "10.0.0.1")
        settings = {"https_proxy": url.format(port=port), **more}
        dialer = Dialer([], settings)
        way = await dialer.way(name_target())
        assert isinstance(way, Way)
        assert (way.proxy, way.found) == (settings["https_proxy"], ())
        one = await dialer.connect(name_target(), way)
        loop = asyncio.get_running_loop()
        with one:
            assert one.getblocking() is False
            await loop.sock_sendall(one, said)
            one.shutdown(socket.SHUT_WR)
            heard = b""
            while data := await loop.sock_recv(one, 1000):
                heard += data
        assert NAME not in answers.asked, "names are the proxy's to resolve"
        return heard


@pytest.mark.threat("D3", proves="behind a proxy a name is never resolved here")
@pytest.mark.parametrize(
    ("kind", "url", "user"),
    [
        pytest.param("http", "http://127.0.0.1:{port}", "", id="HTTP"),
        pytest.param("http", "http://clerk:s%20p@ss@127.0.0.1:{port}", "clerk:s p@ss", id="HTTP, user"),
        pytest.param("http", "http://[::1]:{port}", "", id="HTTP, IPv6"),
        pytest.param("socks5", "socks5://127.0.0.1:{port}", "", id="SOCKS5"),
        pytest.param("socks5", "socks5://clerk:s%20p@127.0.0.1:{port}", "clerk:s p", id="SOCKS5, user"),
        pytest.param("socks4", "socks4://127.0.0.1:{port}", "", id="SOCKS4a"),
    ],
)
def test_a_connection_through_a_proxy(
    kind: str, url: str, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        proxy = Proxy()
        assert await through(monkeypatch, url, getattr(proxy, kind)) == b"hello"
        asked = f"CONNECT {NAME}:443 HTTP/1.1" if kind == "http" else f"{NAME}:443"
        assert (proxy.heard, proxy.user) == ([asked], user)

    run(work)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param([b"HTTP/1.1 200 OK\r\n", b"Via: 1.1 proxy\r\n", b"\r\n"], id="a head in pieces"),
        pytest.param([b"HTTP/1.1 200 OK\r\nVia: proxy\r\n\r", b"\n"], id="the last byte alone"),
        pytest.param([b"HTTP/1.0 200 OK\r\nProxy-Agent: x\r\n\r\n"], id="HTTP/1.0"),
        pytest.param([b"HTTP/1.1 200\r\n\r\n"], id="no reason"),
    ],
)
def test_what_a_proxy_says_of_itself_is_not_the_hosts(
    reply: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        assert await through(monkeypatch, "http://127.0.0.1:{port}", Proxy(reply).http) == b"hello"

    run(work)


def test_what_the_host_says_right_behind_the_proxys_answer_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A database or mail server speaks first, and its greeting may come in the same packet."""

    async def work() -> None:
        proxy = Proxy([b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n220 greeting\r\n"])
        assert await through(monkeypatch, "http://127.0.0.1:{port}", proxy.http) == b"220 greeting\r\nhello"

    run(work)


@pytest.mark.parametrize(
    ("kind", "url", "reply", "words"),
    [
        pytest.param("http", "http", [b"HTTP/1.1 403 Forbidden\r\n\r\n"], "403 Forbidden", id="refused"),
        pytest.param("http", "http", [b"HTTP/1.1 407 Who?\r\n\r\n"], "407 Who?", id="wants a user"),
        pytest.param("http", "http", [b"HTTP/1.1 204 No Content\r\n\r\n"], "204", id="no tunnel"),
        pytest.param("http", "http", [b"SSH-2.0-OpenSSH\r\n\r\n"], "proxy", id="another protocol"),
        pytest.param("http", "http", [b"\0\xff" * 50 + b"\r\n\r\n"], "proxy", id="garbage"),
        pytest.param("http", "http", [b"x" * 100_000], "proxy", id="a head without an end"),
        pytest.param("http", "http", [b""], "proxy", id="nothing, and closed"),
        pytest.param("http", "http", [b"HTTP/1.1 200 OK\r\n"], "proxy", id="half a head, and closed"),
        pytest.param("socks5", "socks5", [b"\5\2\0\1" + bytes(6)], "proxy", id="SOCKS5, refused"),
        pytest.param("garbage", "socks5", [b"HTTP/1.1 400 Bad\r\n\r\n"], "proxy", id="not SOCKS5"),
        pytest.param("garbage", "socks5", [b""], "proxy", id="SOCKS5, closed"),
    ],
)
def test_a_proxy_that_does_not_let_through(
    kind: str, url: str, reply: list[bytes], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that says so, and not the password."""

    async def work() -> None:
        proxy = Proxy(reply, stays=False)
        with pytest.raises(ConnectionError, match=words) as failed:
            await through(monkeypatch, f"{url}://clerk:secret@127.0.0.1:{{port}}", getattr(proxy, kind))
        assert "the host's proxy" in str(failed.value)
        assert "secret" not in str(failed.value)
        assert len(str(failed.value)) < 400

    run(work)


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "socks5://127.0.0.1:{port}"])
def test_a_proxy_that_never_answers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(dial, "CONNECT_S", 0.1)
        with pytest.raises(TimeoutError):
            await through(monkeypatch, url, Proxy().silent)

    run(work)


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        Answers(monkeypatch, "10.0.0.1")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        dialer = Dialer([], {"https_proxy": f"http://127.0.0.1:{port}"})
        with pytest.raises(ConnectionError, match="the host's proxy"):
            await dialer.connect(name_target(), Way(proxy=f"http://127.0.0.1:{port}"))

    run(work)


@pytest.mark.parametrize(
    ("target", "settings", "proxied"),
    [
        pytest.param(name_target(), {}, True, id="any name"),
        pytest.param(name_target(), {"no_proxy": NAME}, False, id="an exception"),
        pytest.param(name_target(), {"no_proxy": ".example"}, False, id="an exception for a domain"),
        pytest.param(name_target(80), {}, False, id="port 80 has a variable of its own"),
        pytest.param(Target("literal", "10.0.0.5", 443, parse("10.0.0.5")), {}, True, id="a literal"),
        pytest.param(local(443), {}, False, id="the host's own port"),
    ],
)
def test_what_goes_through_the_proxy(
    target: Target, settings: dict[str, str], proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        Answers(monkeypatch, PUBLIC)
        way = await Dialer([], {"https_proxy": "http://127.0.0.1:9", **settings}).way(target)
        assert isinstance(way, Way)
        assert bool(way.proxy) is proxied

    run(work)
