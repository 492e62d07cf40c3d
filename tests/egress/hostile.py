"""A server that does its worst to the gateway: each tool is one load or one flood, and says what came of it.

Runs inside the sandbox. Standard library only; it must start under any Python.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

HOST = "127.0.0.1"
RESOLVER = ("127.0.0.53", 53)
SECONDS = 20.0
AT_ONCE = 48
_held: list[socket.socket] = []


# --- one connection at a time ---------------------------------------------------------------------


def tcp(port: int, say: str = "", host: str = HOST, read: bool = True) -> str:
    """Connects, says something, shuts its side and hears everything that is answered."""
    with socket.create_connection((host, port), SECONDS) as one:
        one.sendall(say.encode("latin-1"))
        one.shutdown(socket.SHUT_WR)
        heard = b""
        while read and (data := one.recv(1 << 16)):
            heard += data
    return heard.decode("latin-1")


def knock(port: int, host: str = HOST) -> str:
    """One connection that hears how it is ended, and says nothing."""
    with socket.create_connection((host, port), SECONDS) as one:
        return one.recv(16).decode("latin-1")


def lookup(name: str) -> str:
    """The first address of a name."""
    try:
        return str(socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)[0][4][0])
    except socket.gaierror as error:
        return f"EAI {error.errno}"


def wait() -> None:
    """Answers nothing any more."""
    while True:
        signal.pause()


def proxies() -> list[str]:
    """The variables that name a proxy."""
    return [name for name in os.environ if "proxy" in name.lower()]


def ignore_signals() -> None:
    """Ends for nothing but SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


# --- many at once ---------------------------------------------------------------------------------


def hold(port: int, count: int) -> int:
    """Opens connections and keeps them; how many came up."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(count):
        one = socket.create_connection((HOST, port), SECONDS)
        one.settimeout(SECONDS)
        _held.append(one)
    return len(_held)


def echoed() -> int:
    """Says something of its own on every kept connection, then reads it back; how many were right."""
    said = {one: f"{number:06d}-{os.urandom(20).hex()}\n".encode() for number, one in enumerate(_held)}
    for one, words in said.items():
        one.sendall(words)
    return sum(_exactly(one, len(words)) == words for one, words in said.items())


def _exactly(one: socket.socket, size: int) -> bytes:
    heard = b""
    while len(heard) < size and (data := one.recv(size - len(heard))):
        heard += data
    return heard


def release() -> int:
    """Closes all that was kept."""
    released = len(_held)
    while _held:
        _held.pop().close()
    return released


# --- one side that does not read ------------------------------------------------------------------


def push(port: int, most: int, silence: float = 1.0) -> int:
    """Sends until nothing has been taken for a while, and keeps the connection; how much was taken."""
    one = socket.create_connection((HOST, port), SECONDS)
    _held.append(one)
    one.sendall(b"raw\n")
    one.setblocking(False)
    taken, block = 0, b"u" * (1 << 16)
    while taken < most and select.select([], [one], [], silence)[1]:
        taken += one.send(block)
    return taken


def pull(port: int) -> None:
    """Asks for an endless answer, reads nothing of it, and keeps the connection."""
    one = socket.create_connection((HOST, port), SECONDS)
    _held.append(one)
    one.sendall(b"!all\n")


def abandon() -> None:
    """Resets every kept connection."""
    for one in _held:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    release()


# --- floods ---------------------------------------------------------------------------------------


def hellos(port: int, count: int, seed: int) -> dict[str, int]:
    """Malformed ClientHellos, each on a connection of its own; how they ended."""
    return _flood(port, list(bad_hellos(count, seed)))


def heads(port: int, count: int, seed: int) -> dict[str, int]:
    """The same with HTTP requests."""
    return _flood(port, list(bad_heads(count, seed)))


def _flood(port: int, openings: list[bytes]) -> dict[str, int]:
    return dict(asyncio.run(_all(port, openings)))


async def _all(port: int, openings: list[bytes]) -> Counter[str]:
    ends: Counter[str] = Counter()

    async def work() -> None:
        while openings:
            ends[await _one(port, openings.pop())] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return ends


async def _one(port: int, opening: bytes) -> str:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(opening)
        return "answered" if await asyncio.wait_for(reader.read(16), SECONDS) else "closed"
    except ConnectionError as error:
        return errno.errorcode.get(error.errno or 0, repr(error))
    finally:
        writer.transport.abort()


def packets_udp(count: int, seed: int) -> int:
    """Malformed queries in datagrams, in steps that the kernel's buffers hold; how many steps were taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(RESOLVER)
        return sum(_step(one, step) for step in _steps(bad_packets(count, seed), 64))


def _step(one: socket.socket, packets: list[bytes]) -> int:
    for packet in packets:
        one.send(packet)
    mark, heard = os.urandom(2), b""
    for _ in range(int(SECONDS * 4)):
        one.send(mark + QUERY)
        # Answers that waited for the log come all at once, and this one may be lost among them.
        one.settimeout(0.25)
        with suppress(TimeoutError):
            while (heard := one.recv(4096)[:2]) != mark:
                pass
        if heard == mark:
            return 1
    raise TimeoutError


def names(domain: str, count: int) -> dict[str, int]:
    """Looks up that many names below a domain; how often each code was the answer."""
    codes: Counter[str] = Counter()
    tail = b"".join(bytes([len(label)]) + label.encode() for label in domain.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(RESOLVER)
        one.settimeout(SECONDS)
        for start in range(0, count, 64):
            for number in range(start, min(start + 64, count)):
                one.send(struct.pack(">6H", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + b"\7%07d" % number + tail)
            for _ in range(start, min(start + 64, count)):
                codes[str(one.recv(4096)[3] & 15)] += 1
    return dict(codes)


def packets_tcp(count: int, seed: int) -> int:
    """The same over TCP, a few hundred on each connection; how many connections that took."""
    return sum(_over_tcp(step) for step in _steps(bad_packets(count, seed, least=12), 600))


def _over_tcp(packets: list[bytes]) -> int:
    with socket.create_connection(RESOLVER, SECONDS) as one:
        for step in _steps(iter(packets), 30):
            mark = os.urandom(2)
            one.sendall(b"".join(map(_framed, [*step, mark + QUERY])))
            while _exactly(one, int.from_bytes(_exactly(one, 2), "big"))[:2] != mark:
                pass
    return 1


def misframed(count: int) -> int:
    """Connections that begin with a length that no message has; how many were closed for it."""
    return sum(tcp(RESOLVER[1], "\0\1x", RESOLVER[0]) == "" for _ in range(count))


def _framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2, "big") + packet


def _steps(packets: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while step := [packet for _, packet in zip(range(size), packets, strict=False)]:
        yield step


# --- what nobody can read -------------------------------------------------------------------------

QUERY = struct.pack(">5H", 0x0100, 1, 0, 0, 0) + b"\x09localhost\0" + struct.pack(">2H", 1, 1)
"""A good query without its id; for a name that is not worth an event."""


def bad_packets(count: int, seed: int, least: int = 0) -> Iterator[bytes]:
    """Packets of at least `least` bytes of which none is a query; with any id but those of a mark."""
    chance = random.Random(seed)  # noqa: S311 - chooses bytes, guards nothing
    ways: list[Callable[[bytes], bytes]] = [
        lambda end: end[:11],
        lambda end: struct.pack(">5H", 0x8100, 1, 0, 0, 0) + end,
        lambda end: struct.pack(">5H", 0x0100, 1 + end[0], 0, 0, 1) + b"\0" + end,
        lambda end: struct.pack(">5H", 0x0100, 1, 0, 0, 0) + b"\xc0\x0c" + end,
        lambda end: QUERY + end,
        lambda end: struct.pack(">5H", 0x0800 | end[0], 1, 1, 1, 1) + end,
        lambda end: struct.pack(">5H", 0x0100, 1, 0, 0, 0) + bytes([64 + end[0] % 128]) + end,
    ]
    for _ in range(count):
        made = chance.randbytes(2) + chance.choice(ways)(chance.randbytes(chance.randint(12, 60)))
        yield made if len(made) >= least else made.ljust(least, b"\xff")


def bad_hellos(count: int, seed: int) -> Iterator[bytes]:
    """Records that begin as TLS does and hold no ClientHello that could be read in one way."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(count):
        noise = chance.randbytes(chance.randint(40, 600))
        yield chance.choice(_HELLOS)(noise)


def _record(message: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 1]) + len(message).to_bytes(2, "big") + message


def _hello(body: bytes) -> bytes:
    return _record(b"\1" + len(body).to_bytes(3, "big") + body)


def _body(session: bytes, suites: bytes, extensions: bytes) -> bytes:
    fixed = b"\3\3" + bytes(32) + bytes([len(session)]) + session + len(suites).to_bytes(2, "big") + suites
    return fixed + b"\1\0" + len(extensions).to_bytes(2, "big") + extensions


_HELLOS: list[Callable[[bytes], bytes]] = [
    lambda noise: _record(b"\2" + noise),
    lambda noise: _record(noise, kind=23),
    lambda noise: b"\x16\3\1\x40\1" + noise,
    lambda noise: b"\x16\3\1\0\0" + noise,
    lambda noise: _hello(_body(noise[:33], b"\x13\1", b"")),
    lambda noise: _hello(_body(b"", b"\x13\1\x13", b"")),
    lambda noise: _hello(_body(b"", b"\x13\1", b"\0\0\xff\xff" + noise)),
    lambda noise: _hello(_body(b"", b"\x13\1", b"\0\0\0\7\0\5\0\0\2.." + noise[:3])),
]


def bad_heads(count: int, seed: int) -> Iterator[bytes]:
    """Requests that two parsers could read differently, or that name no host."""
    chance = random.Random(seed)  # noqa: S311
    for _ in range(count):
        word = chance.randbytes(chance.randint(1, 100)).hex().encode()
        yield chance.choice(_HEADS).replace(b"WORD", word)


_HEADS = [
    b"GET /WORD HTTP/1.1\r\n\r\n",
    b"GET /WORD HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET /WORD HTTP/1.1\r\nHost: localhost\r\n folded: WORD\r\n\r\n",
    b"GET /WORD HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /WORD HTTP/1.1\nHost: localhost\n\n",
    b"POST /WORD HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /WORD HTTP/1.1\r\nHost: localhost\r\nContent-Length: +WORD\r\n\r\n",
    b"GET /WORD HTTP/1.1\r\nHost: WORD.evil.example\r\n\r\n",
    b"GET /WORD HTTP/9.9\r\nHost: localhost\r\n\r\n",
]


# --- the server -----------------------------------------------------------------------------------


def attempt(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What came of one tool: `{"got": …}` or `{"failed": "ECONNRESET"}`."""
    try:
        return {"got": globals()[name](**arguments)}
    except TimeoutError:
        return {"failed": "ETIMEDOUT"}
    except OSError as error:
        return {"failed": errno.errorcode.get(error.errno or 0, repr(error))}


def main() -> None:
    for line in sys.stdin:
        call = json.loads(line)
        result = attempt(call["params"]["name"], call["params"]["arguments"])
        result["isError"] = "failed" in result
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
