"""A server that answers at random, in parts and with faults: each call is answered, nothing is left."""

from __future__ import annotations

import json
import os
import random
import threading
import time

import pytest

from tests.bridge.driving import Bridged, at, bridged, call, modern
from tests.bridge.scripted import STREAM, Asked, Gone, Script, Talk, head, honest, scripted

JSON = "Content-Type: application/json"
BITS = [
    b"",
    b"\r\n",
    b"\n",
    b"\0",
    b"{",
    b"[",
    b"data: ",
    b"id: 1\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
]


def answers(asked: Asked, chance: random.Random) -> bytes:
    """A valid answer, as a document or a stream."""
    said = json.dumps(
        {"jsonrpc": "2.0", "id": asked.message["id"], "result": {"n": "x" * chance.randrange(3000)}}
    )
    if chance.random() < 0.5:
        body = said.encode()
        return head(200, JSON, f"Content-Length: {len(body)}") + body
    events = b"".join(
        b"id: %d\ndata: %b\n\n" % (at, b'{"jsonrpc":"2.0","method":"notifications/message"}')
        for at in range(chance.randrange(4))
    )
    body = events + f"data: {said}\n\n".encode()
    if chance.random() < 0.5:
        return head(200, f"Content-Type: {STREAM}", f"Content-Length: {len(body)}") + body
    return head(200, f"Content-Type: {STREAM}", "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (
        len(body), body,
    )  # fmt: skip


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """The same with one thing put in, taken out or turned."""
    at = chance.randrange(len(data) + 1)
    match chance.randrange(4):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + chance.choice(BITS) + data[at:]
        case 2:
            return data[:at] + data[at + chance.randrange(30) :]
        case _:
            return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def at_random(chance: random.Random) -> Script:
    """Well or badly, at once or in parts, and the connection is kept or closed."""

    def script(talk: Talk, asked: Asked) -> None:
        if not asked.is_call or asked.message["method"] != "tools/call":
            honest(talk, asked)
            return
        good = answers(asked, chance)
        bad = chance.random() < 0.5
        data = spoilt(good, chance) if bad else good
        while data:
            size = chance.randrange(1, len(data) + 1)
            talk.send(data[:size])
            data = data[size:]
        if bad or chance.random() < 0.1:
            raise Gone

    return script


def soak(client: Bridged, seconds: float, chance: random.Random) -> int:
    """Calls for so long; how many there were."""
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        ids = list(range(count, count := count + chance.randrange(1, 20)))
        client.send(*[(modern if chance.random() < 0.5 else call)(id, name="a") for id in ids])
        missing = set(ids)
        while missing:
            message = client.receive()
            if "method" in message:
                continue
            # A server that was spoilt may have answered another one, or twice.
            missing.discard(message.get("id", -1))
    return count


@pytest.mark.parametrize(
    "seconds", [pytest.param(1.5, id="a moment"), pytest.param(60, id="a minute", marks=pytest.mark.long)]
)
def test_each_call_is_answered_and_nothing_is_left(seconds: float) -> None:
    chance = random.Random(int(os.environ.get("MCP_SANDBOX_TEST_SEED", "1")))  # noqa: S311
    threads = threading.active_count()
    with scripted(at_random(chance)) as server, bridged(at(server.port, message=1 << 20)) as client:
        client.open()
        before = len(os.listdir("/proc/self/fd"))
        assert soak(client, seconds, chance)
        grown = len(os.listdir("/proc/self/fd")) - before
        assert client.end() == 0
    assert grown < 120, "each side keeps a few connections"
    assert threading.active_count() <= threads
