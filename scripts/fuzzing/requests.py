"""What the HTTP front reads is fuzzed: heads, bodies and where one request ends and the next begins."""

from __future__ import annotations

import h11

from fuzzing.promises import Broken
from sandbox.serve import guard
from sandbox.serve.guard import Rules
from sandbox.serve.reading import HEAD_MAX, Asked, Reader, Wrong
from sandbox.serve.words import Head, Refused

_BODY_MAX = 1 << 12
_RULES = Rules(
    frozenset({"", "a"}), "http", frozenset({"localhost:1"}), frozenset({"https://page"}), _BODY_MAX
)
_STATUSES = frozenset({400, 403, 404, 405, 406, 413, 414, 415, 421, 431})
_WORDS = (
    b"POST /mcp HTTP/1.1\r\n", b"GET /a/mcp HTTP/1.1\r\n", b"Host: localhost:1\r\n", b"Content-Length: 2\r\n",
    b"Transfer-Encoding: chunked\r\n", b"\r\n", b"\n", b"\r", b"{}", b"2\r\n{}\r\n", b"0\r\n\r\n", b" ", b":",
    b"Content-Type: application/json\r\n", b"Accept: */*\r\n", b"Origin: https://page\r\n",
    b"Connection: close\r\n", b";a=b",
    b"HTTP/1.0", b"\0", b"\xff", b"\t", b"x" * 300, b"Mcp-Session-Id: a\r\n", b"Expect: 100-continue\r\n",
)  # fmt: skip
Read = list[tuple[Asked, bytes]]


def requests(data: bytes) -> None:
    """Where a stream is cut makes no difference, h11 reads what we read, and every head gets a verdict."""
    for stream in (data, b"".join(_WORDS[byte % len(_WORDS)] for byte in data[:500])):
        whole, refused = _read(stream, len(stream))
        again, refused_too = _read(stream, 1 + len(stream) // 3)
        if whole != again or bool(refused) != bool(refused_too):  # of two faults either may be told
            raise Broken("where the bytes are cut makes a difference")
        if [_spelt(one) for one in whole] != _by_h11(stream)[: len(whole)]:
            raise Broken("another reader reads another request")
        for asked, _ in whole:
            _judge(asked)


def _read(stream: bytes, step: int) -> tuple[Read, int]:
    """The requests, and the status with which the next one was refused; 0 where more is waited for."""
    reader, found, asked = Reader(), Read(), None
    try:
        for at in range(0, len(stream), max(1, step)):
            reader.feed(stream[at : at + step])
            while True:
                asked = asked or reader.head()
                if asked is None or (asked.size or 0) > _BODY_MAX:
                    break
                if (body := reader.body(asked, _BODY_MAX)) is None:
                    break
                found.append((asked, body))
                if not asked.keeps_alive():
                    return found, 0
                asked = None
            if asked is None and reader.held > HEAD_MAX + step:
                raise Broken("more is held than a head")
    except Wrong as wrong:
        if wrong.status not in _STATUSES:
            raise Broken(f"status {wrong.status}") from None
        return found, wrong.status
    return found, 0


def _spelt(one: tuple[Asked, bytes]) -> tuple[bytes, bytes, bytes]:
    asked, body = one
    return asked.method.encode(), asked.target.encode(), body


def _by_h11(stream: bytes) -> list[tuple[bytes, bytes, bytes]]:
    found: list[tuple[bytes, bytes, bytes]] = []
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream)
    method = target = body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                method, target, body = event.method, event.target, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                found.append((method, target, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                return found
    except h11.ProtocolError:
        return found


def _judge(asked: Asked) -> None:
    """Whoever passes said the host, an endpoint and a method; nothing else does."""
    verdicts = [guard.meant(asked, _RULES), guard.head_of(asked, _RULES), guard.form(asked, _RULES)]
    if any(isinstance(one, Refused) and one.status not in _STATUSES for one in verdicts):
        raise Broken("a status that means something else")
    head = verdicts[1]
    if isinstance(head, Head) and (head.path, head.route) not in {("/mcp", ""), ("/a/mcp", "a")}:
        raise Broken("an endpoint that is none")
    if verdicts[0] is None and asked.headers["host"].lower() != "localhost:1":
        raise Broken("a host that is not ours")
    if {"authorization", "cookie"} & set(guard.handed_on(asked.headers)):
        raise Broken("a credential is handed on")
