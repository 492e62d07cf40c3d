"""The walk of ClientHellos beside OpenSSL's server: whichever name that reads, ours has read before."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.wire.pieces import Data
from sandbox.wire.tls import Hello, HelloReader, Malformed
from tests.wire.hellos import (
    ALERT,
    APPLICATION,
    CCS,
    EVIL,
    GOOD,
    Peer,
    certificate,
    client_context,
    client_hello,
    converse,
    fragmented,
    hellos,
    in_records,
    names_heard,
    record,
    records,
    server_context,
)

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
RETRY = "secp521r1"
"""A group that clients have no key for in their first hello, so that a server asks for another."""
TRIES = 8
"""Resumed sessions of TLS 1.2: of one in 256 the Finished begins as a ClientHello does, and is watched on."""


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


# --- whole handshakes -----------------------------------------------------------------------------------


def walked(flights: list[bytes], step: int) -> tuple[list[Hello | Data], HelloReader]:
    reader = HelloReader()
    stream = b"".join(flights)
    pieces = [piece for at in range(0, len(stream), step) for piece in reader.feed(stream[at : at + step])]
    assert b"".join(piece.raw for piece in pieces) == stream
    return pieces, reader


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize("resumed", [False, True], ids=["full", "resumed"])
@pytest.mark.parametrize(
    ("version", "curve", "count", "watching"),
    [
        pytest.param(TLS13, None, 1, True, id="TLS 1.3"),
        pytest.param(TLS13, RETRY, 2, True, id="TLS 1.3 with a retry"),
        pytest.param(TLS12, None, 1, False, id="TLS 1.2"),
    ],
)
def test_a_real_handshake_passes_and_shows_its_hellos(
    pem: Path,
    version: ssl.TLSVersion,
    curve: str | None,
    count: int,
    step: int,
    *,
    resumed: bool,
    watching: bool,
) -> None:
    client, server = client_context(version), server_context(pem, curve)
    peer = Peer(client, GOOD)
    flights = converse(peer, Peer(server))
    for _ in range(TRIES):
        if resumed:
            peer = Peer(client, GOOD, peer.tls.session)
            flights = converse(peer, Peer(server))
        assert peer.tls.session_reused is resumed
        pieces, reader = walked(flights, step)
        seen = [(found.sni, found.ech, found.early) for found in hellos(pieces)]
        assert seen == [(GOOD, False, False)] * count
        if reader.watching is watching:
            break
    assert (reader.watching, reader.held) == (watching, 0)


@pytest.mark.parametrize("ciphers", ["AESGCM", "CHACHA20", "AES128-SHA:ECDHE-ECDSA-AES128-SHA"])
def test_no_resumed_session_of_tls_1_2_is_taken_for_a_second_hello(pem: Path, ciphers: str) -> None:
    # One Finished in 256 begins with the byte of a ClientHello: with these many it is more likely than not.
    client, server = client_context(), server_context(pem)
    server.maximum_version = TLS12
    client.set_ciphers(ciphers)
    first = Peer(client, GOOD)
    converse(first, Peer(server))
    began, ended = time.monotonic(), 0
    for _ in range(300):
        peer = Peer(client, GOOD, first.tls.session)
        pieces, reader = walked(converse(peer, Peer(server)), 1 << 20)
        assert peer.tls.session_reused
        assert len(hellos(pieces)) == 1
        ended += not reader.watching
    assert ended > 250
    assert time.monotonic() - began < 60


# --- a hostile client -----------------------------------------------------------------------------------


def read_by_us(stream: bytes) -> list[str | None] | None:
    """The names that we read; None where nothing of the stream would pass."""
    try:
        return [found.sni for found in hellos(HelloReader().feed(stream))]
    except Malformed:
        return None


def retried(server: Peer, hide: Callable[[bytes], bytes]) -> bytes:
    """Sends a hello, then a second one that names another host, in the way that `hide` says."""
    client = Peer(client_context(), GOOD)
    first = client.step(b"")
    second = client.step(server.step(first))
    assert second.startswith(CCS)
    rest = hide(second[len(CCS) :].replace(GOOD.encode(), EVIL.encode()))
    server.step(rest)
    return first + rest


def handshake_of(raw: bytes) -> bytes:
    return b"".join(part for _, part in records(raw))


APP = record(b"x" * 50, APPLICATION)
WARNING = record(b"\1\x5a", ALERT)
HIDDEN: list[tuple[str, Callable[[bytes], bytes], bool]] = [
    ("in the open", lambda raw: raw, True),
    ("after ChangeCipherSpec", lambda raw: CCS + raw, True),
    ("after a warning", lambda raw: WARNING + raw, True),
    ("in records of one byte", lambda raw: fragmented(raw, 1), True),
    ("in parts after ChangeCipherSpec", lambda raw: CCS + fragmented(raw, 3), True),
    ("of another version", lambda raw: CCS + raw[:9] + b"\3\1" + raw[11:], True),
    ("of another version, in parts", lambda raw: CCS + fragmented(raw[:9] + b"\3\1" + raw[11:], 40), True),
    ("around ChangeCipherSpec", lambda raw: around(raw, CCS), True),
    ("around a warning", lambda raw: CCS + around(raw, WARNING), True),
    ("after data", lambda raw: APP + raw, False),
    ("around data", lambda raw: around(raw, APP), False),
    ("after a HelloRequest", lambda raw: CCS + record(b"\0\0\0\0") + raw, False),
    ("after a key exchange", lambda raw: record(b"\x10\0\0\1\0") + raw, False),
    ("after an encrypted Finished", lambda raw: CCS + record(b"\xc6" + bytes(39)) + raw, False),
]


def around(raw: bytes, between: bytes) -> bytes:
    data = handshake_of(raw)
    return record(data[:7]) + between + record(data[7:])


@pytest.mark.parametrize(
    ("hide", "reaches"), [pytest.param(hide, reaches, id=name) for name, hide, reaches in HIDDEN]
)
def test_no_second_name_reaches_the_server_unseen(
    pem: Path, hide: Callable[[bytes], bytes], *, reaches: bool
) -> None:
    sent: list[bytes] = []
    heard = names_heard(server_context(pem, RETRY), lambda server: sent.append(retried(server, hide)))
    # First that OpenSSL does read it, where we say so: or there would be nothing to find.
    assert heard == ([GOOD, EVIL] if reaches else [GOOD])
    seen = read_by_us(sent[0])
    assert seen is None or seen[: len(heard)] == heard


# A name that is not ASCII never gets past Python's own wrapper, which says so on the side.
not_ascii = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@not_ascii
def test_fuzz_whatever_follows_a_hello_no_second_name_passes_unseen(pem: Path) -> None:
    random_ = random.Random(20261122)  # noqa: S311 - a fixed seed is the point
    server, reached, began = server_context(pem, RETRY), 0, time.monotonic()
    for _ in range(1500):
        sent: list[bytes] = []
        heard = names_heard(server, lambda peer: sent.append(retried(peer, lambda raw: strewn(random_, raw))))  # noqa: B023
        reached += len(heard) > 1
        seen = read_by_us(sent[0])
        assert seen is None or seen[: len(heard)] == heard, sent[0]
    assert reached > 100
    assert time.monotonic() - began < 60


def strewn(random_: random.Random, raw: bytes) -> bytes:
    """A hello cut into parts at random, with other records between them and now and then a changed byte."""
    data = bytearray(handshake_of(raw))
    if random_.random() < 0.5:
        data[random_.choice([0, 1, 2, 3, 4, 5, random_.randrange(len(data))])] = random_.choice(
            [0, 1, 3, 255]
        )
    extras = [CCS, WARNING, b"", b"", APP, record(b"\0\0\0\0"), record(b"\x10"), record(b"\1\2")]
    parts = [CCS] if random_.random() < 0.5 else []
    while data:
        size = random_.choice([1, 2, 5, 6, 40, 100, len(data), len(data)])
        parts += [
            random_.choice(extras[: random_.choice([4, 4, 8])]),
            in_records(bytes(data[:size]), 1 << 14),
        ]
        del data[:size]
    return b"".join(parts)


@not_ascii
def test_fuzz_no_first_name_reaches_the_server_that_we_read_otherwise(pem: Path) -> None:
    random_ = random.Random(20261123)  # noqa: S311 - a fixed seed is the point
    server, reached, began = server_context(pem), 0, time.monotonic()
    raw = client_hello(client_context(), GOOD)
    start = raw.index(GOOD.encode()) - 9
    for _ in range(4000):
        data = bytearray(raw)
        for _ in range(random_.randint(1, 2)):
            # Mostly where the name is, and its lengths.
            at = random_.choice(
                [random_.randrange(start, start + 9 + len(GOOD)), random_.randrange(len(raw))]
            )
            data[at] = random_.choice([data[at] ^ 1 << random_.randrange(8), random_.randrange(256)])
        stream = (
            fragmented(bytes(data), random_.choice([1, 9, 1 << 14]))
            if random_.random() < 0.3
            else bytes(data)
        )
        heard = names_heard(server, lambda peer: peer.step(stream))  # noqa: B023
        reached += bool(heard)
        seen = read_by_us(stream)
        assert seen is None or seen[: len(heard)] == heard, stream
    assert reached > 500
    assert time.monotonic() - began < 60
