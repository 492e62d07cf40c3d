"""How answers are spelt: status line, headers, and a refusal's words as a JSON-RPC error; pure."""

from __future__ import annotations

import json
import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from sandbox.serve.words import Headers, Refused, Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_ALWAYS = "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
_REASONS = {status.value: status.phrase for status in HTTPStatus} | {421: "Misdirected Request"}
_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_VALUE = re.compile(r"[\x20-\x7e]*")
_INVALID_REQUEST = -32600


def head(status: int, headers: Headers, size: int | None, *, closes: bool, is_chunked: bool = False) -> bytes:
    """The head of an answer of `size` bytes; without one its end is the last chunk, or the connection's."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {_date()}\r\n", _ALWAYS]
    lines += [_line(name, value) for name, value in headers]
    if is_chunked:
        lines.append("Transfer-Encoding: chunked\r\n")
    elif size is not None and status != 204:
        lines.append(f"Content-Length: {size}\r\n")
    if closes:
        lines.append("Connection: close\r\n")
    return "".join([*lines, "\r\n"]).encode("ascii")


def _line(name: str, value: str) -> str:
    # Headers are ours, but what they say may come from elsewhere: no value ends a line.
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"`{name}` cannot be a header with that value")
    return f"{name}: {value}\r\n"


def _date() -> str:
    return _date_of(int(time.time()))


@lru_cache(maxsize=1)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)


def chunk(data: bytes) -> bytes:
    """One chunk of a body without a known length (RFC 9112 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def spelt(reply: Reply, *, closes: bool, bodiless: bool = False) -> bytes:
    """A whole answer that is no stream; to HEAD without its body."""
    body = reply.body if isinstance(reply.body, bytes) else b""
    made = head(reply.status, reply.headers, len(body), closes=closes)
    return made if bodiless else made + body


def refusal(refused: Refused) -> Reply:
    """What a refused client reads: an error of JSON-RPC, which is what clients of MCP look for."""
    error = {"code": _INVALID_REQUEST, "message": f"{refused.code}: {refused.why}"}
    said = refused.body or json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    return Reply(refused.status, (("Content-Type", "application/json"), *refused.headers), said)
