"""Connects to where a connection may go, with the host's own resolver, addresses and proxy.

A name is resolved here and nowhere else; of its addresses only those are tried that `addresses.reachable`
lets pass, and the connection stays with the one that answered: nothing is looked up again (pinning).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EALREADY, EHOSTUNREACH, EINPROGRESS, ENETUNREACH
from ipaddress import ip_address

from aiohappyeyeballs import start_connection

from sandbox.egress import addresses, upstream
from sandbox.egress.decide import Denied, Target
from sandbox.egress.tunnel import through
from sandbox.netlink import Netlink
from sandbox.policy import hosts
from sandbox.policy.model import HostRule
from sandbox.records import dataclass

CONNECT_S = 15.0
STAGGER_S = 0.25
"""Before the next address is tried beside one that does not answer (RFC 8305, section 5)."""
REMEMBER_S = 5.0
"""How long an answer of the host's resolver serves further connections; each address is checked anew."""

AddrInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class Way:
    """How to get there: addresses to try in turn, or the URL of a proxy that resolves the name itself."""

    found: tuple[AddrInfo, ...] = ()
    proxy: str = ""

    @property
    def addresses(self) -> list[str]:
        """The addresses alone, for the log."""
        return [str(one[4][0]) for one in self.found]


class Dialer:
    """One session's connections outward."""

    def __init__(self, rules: Sequence[HostRule], proxies: Mapping[str, str]) -> None:
        self._rules = rules
        self._proxies = proxies
        self._answers: dict[str, tuple[float, asyncio.Future[list[AddrInfo]]]] = {}

    async def way(self, target: Target) -> Way | Denied:
        """Decides how `target` is reached; OSError where its name cannot be resolved now."""
        if target.kind == "local":
            return Way(tuple(_loopback(target)))
        proxy = upstream.proxy(self._proxies, target.host, target.port)
        if proxy is not None:
            return Way(proxy=proxy)
        if target.kind == "literal":
            return Way((_info(target.host, target.port),))
        return self._checked(target, await self._resolved(target.host))

    async def connect(self, target: Target, way: Way) -> socket.socket:
        """A connected, non-blocking socket; OSError (TimeoutError too) where nobody answers."""
        if target.kind == "local":
            return await _in_turn(way.found)
        async with asyncio.timeout(CONNECT_S):
            if way.proxy:
                return await through(way.proxy, target.host, target.port)
            return await start_connection(list(way.found), happy_eyeballs_delay=STAGGER_S)

    async def _resolved(self, name: str) -> list[AddrInfo]:
        loop = asyncio.get_running_loop()
        until, answer = self._answers.get(name, (0.0, None))
        if answer is None or (answer.done() and loop.time() > until):
            self._forget(loop.time())
            answer = asyncio.ensure_future(_lookup(loop, name))
            self._answers[name] = (loop.time() + REMEMBER_S, answer)
        return await asyncio.shield(answer)

    def _forget(self, now: float) -> None:
        for name in [one for one, (until, answer) in self._answers.items() if answer.done() and now > until]:
            del self._answers[name]

    def _checked(self, target: Target, found: list[AddrInfo]) -> Way | Denied:
        good, refused = [], []
        for info in found:
            address = ip_address(info[4][0])
            kind = addresses.reachable(
                address,
                private=target.rule.private,
                anywhere=target.rule.anywhere,
                listed=lambda text: _listed(self._rules, text, target.port),
                own=_is_own,
            )
            if kind is None:
                good.append((*info[:4], (info[4][0], target.port, *info[4][2:])))
            else:
                refused.append((str(address), kind))
        return Way(tuple(good)) if good else _refusal(target, refused)


async def _lookup(loop: asyncio.AbstractEventLoop, name: str) -> list[AddrInfo]:
    # As bytes: a str would go through the IDNA codec, which a name in its one spelling does not need.
    found = await loop.getaddrinfo(name.encode(), None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(found))  # type: ignore[arg-type]


def _refusal(target: Target, refused: list[tuple[str, addresses.Kind]]) -> Denied:
    if not refused:
        raise ConnectionError(111, "the name has no address")
    shown = ", ".join(f"{address} ({kind})" for address, kind in refused[:4])
    only_private = all(kind == "private" for _, kind in refused)
    help_ = "; list it under `private` in [network] if that is meant" if only_private else ""
    grant = hosts.spelt(refused[0][0], target.port) if only_private else ""
    reason = f"the name resolves to {shown}, which no public name may{help_}"
    return Denied(target.host, target.port, reason, "addresses after resolution", grant)


def _listed(rules: Sequence[HostRule], address: str, port: int) -> bool:
    return hosts.match(rules, address, port) is not None


def _is_own(address: addresses.Address) -> bool:
    """Whether `address` is this machine's, by any interface or route: the kernel says where a packet goes."""
    with Netlink() as netlink:
        try:
            return not netlink.leads_out(str(address))
        except OSError as error:
            # Where no route leads no connection will get to either; what cannot be told is not tried.
            return error.errno not in (ENETUNREACH, EHOSTUNREACH)


def _info(address: str, port: int) -> AddrInfo:
    if ":" in address:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))


async def _in_turn(found: Sequence[AddrInfo]) -> socket.socket:
    """Loopback answers at once: nothing is gained by trying two addresses side by side."""
    for info in found[:-1]:
        with suppress(OSError):
            return await _dialed(info)
    return await _dialed(found[-1])


async def _dialed(info: AddrInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    one = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        error = one.connect_ex(address)
        if error == EINPROGRESS:
            # Asked again it says that it is connected by now, without a turn of the loop (connect(2)).
            error = one.connect_ex(address)
        if error == EALREADY:
            async with asyncio.timeout(CONNECT_S):  # its queue is full
                await asyncio.get_running_loop().sock_connect(one, address)
        elif error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        one.close()
        raise
    return one


def _loopback(target: Target) -> list[AddrInfo]:
    """The host's own port: where `localhost` is listed, by either family, the one that was asked first."""
    both = sorted(("127.0.0.1", "::1"), key=lambda one: one != target.host)
    chosen = both if target.rule.host == "localhost" else [target.host]
    return [_info(address, target.port) for address in chosen]
