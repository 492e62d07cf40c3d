"""What the bridge reads of a server is fuzzed: answers of HTTP, and the messages that they carry."""

from __future__ import annotations

import json

import h11

from fuzzing.promises import Broken
from sandbox.bridge import envelope
from sandbox.bridge.reply import Reply
from sandbox.wire.http_head import Malformed

_WORDS = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 202 \r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No\r\n",
    b"HTTP/1.0 200 OK\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n", b"\n",
    b"\r", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n", b" ", b":", b"Content-Type: text/event-stream\r\n",
    b"Connection: close\r\n", b"Content-Encoding: gzip\r\n", b";a=b", b"\0", b"\xff", b"\t", b"x" * 300,
    b"Location: /a\r\n", b"a", b"0",
)  # fmt: skip
Read = tuple[int, bytes, bool]
"""Status, content and whether the answer is whole."""


def answers(data: bytes) -> None:
    """Where an answer is cut makes no difference, and h11 reads what we read."""
    for stream in (data, b"".join(_WORDS[byte % len(_WORDS)] for byte in data[:500])):
        whole = _read(stream, len(stream))
        if whole != _read(stream, 1 + len(stream) // 3) or (len(stream) < 300 and whole != _read(stream, 1)):
            raise Broken("where the bytes are cut makes a difference")
        if whole is not None and whole[2] and (other := _by_h11(stream)) not in (None, whole[:2]):
            raise Broken(f"another reader reads another answer: {whole[:2]!r}, {other!r}")


def _read(stream: bytes, step: int) -> Read | None:
    """What our reader makes of a connection that says this and ends; None where it refuses it."""
    reply, content = Reply(), b""
    try:
        for at in range(0, len(stream), max(1, step)):
            if reply.ended:
                break
            content += reply.feed(stream[at : at + step])
        if not reply.ended:
            reply.close()
    except Malformed:
        return None
    return (reply.head.status if reply.head else 0), content, reply.ended


def _by_h11(stream: bytes) -> tuple[int, bytes] | None:
    """What h11 makes of it; None where it refuses what we take, or waits for more."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    connection.receive_data(b"")
    status, content = 0, b""
    try:
        while not isinstance(event := connection.next_event(), (h11.EndOfMessage, h11.ConnectionClosed)):
            if event in (h11.NEED_DATA, h11.PAUSED):
                return None
            status = event.status_code if isinstance(event, h11.Response) else status
            content += bytes(event.data) if isinstance(event, h11.Data) else b""
    except h11.RemoteProtocolError:
        return None
    return status, content


def envelopes(data: bytes) -> None:
    """Whatever a body holds, what is written is one JSON object in one line, and says what the body says."""
    try:
        found = envelope.read(data)
    except envelope.Malformed:
        return
    said = _parsed(data)
    lines = [one.line for one in found]
    if any(line.count(b"\n") != 1 or not line.endswith(b"\n") or b"\r" in line for line in lines):
        raise Broken("a message that is not one line")
    if said is not None and [_parsed(line) for line in lines] != (said if isinstance(said, list) else [said]):
        raise Broken("a line that says another thing than its body")
    if any(not line.lstrip(b" \t").startswith(b"{") for line in lines):
        raise Broken("a line that is no object")


def _parsed(data: bytes) -> object:
    """By the standard library; None where it cannot, or where equal things would be told apart."""
    try:
        found: object = json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return found
