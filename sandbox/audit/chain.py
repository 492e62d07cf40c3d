"""The hash chain: how one event becomes one line, and the record of where a chain ends.

A line is ASCII JSON with its keys in the order of `FIELDS`, no spaces, and one final newline:

    {"schema":1,"seq":1,"time":…,"session":…,"server":…,"kind":…,"rule":…,"detail":{…},"prev":…,"hash":…}

Its *canonical bytes* are the bytes of the line up to `,"hash":` plus the closing brace. `hash` is the SHA-256
of exactly these bytes, as they stand in the file; `prev` is the hash of the session's line before, or
`genesis(session)`. Nothing is parsed and written again to verify a line, so no edit can hide in what a
parser forgives. The chain holds no key: it shows tampering by whoever cannot also rewrite every later line
and the head. The sandbox can reach neither; the user's own programs can reach both.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring_ascii as _quote
from typing import NamedTuple

from sandbox.digest import sha256
from sandbox.event import SCHEMA

FIELDS = ("schema", "seq", "time", "session", "server", "kind", "rule", "detail", "prev", "hash")
LAST = "session.end"
HEAD_SIZE = 256
LINE_MAX = 1 << 20
"""Bytes: a longer line is refused when written and a finding when read."""

# ASCII only: a control character or a lone surrogate of the server's is an escape, in the file too.
encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class State(NamedTuple):
    """Where a session's chain ends: its last sequence number (0: no event yet) and hash."""

    session: str
    server: str
    seq: int
    hash: str


class Head(NamedTuple):
    """What the head file says: the chain ends at `seq` with `hash`, for ever once `closed`."""

    session: str
    seq: int
    hash: str
    closed: bool


def digest(canonical: bytes) -> str:
    """The hash of a line's canonical bytes, as it is written."""
    return "sha256:" + sha256(canonical).hexdigest()


def genesis(session: str) -> str:
    """The `prev` of a session's first event: no session's lines continue another's."""
    return digest(f"mcp-sandbox audit {SCHEMA} {session}".encode())


def begin(session: str, server: str) -> State:
    """The state before the first event."""
    return State(session, server, 0, genesis(session))


def append(state: State, kind: str, rule: str, detail: str, time: str) -> tuple[bytes, State]:
    """The line that records an event at `time` (RFC 3339, UTC) and the state after it.

    `detail` is what `encode` makes of a mapping. Raises ValueError for a line longer than `LINE_MAX`.
    """
    seq = state.seq + 1
    body = (
        f'{{"schema":{SCHEMA},"seq":{seq},"time":{_quote(time)},"session":{_quote(state.session)},'
        f'"server":{_quote(state.server)},"kind":{_quote(kind)},"rule":{_quote(rule)},'
        f'"detail":{detail},"prev":"{state.hash}"'
    ).encode("ascii")
    if len(body) > LINE_MAX - 100:  # room for the hash
        raise ValueError(f"the line would have {len(body)} bytes, more than {LINE_MAX}")
    hashed = digest(body + b"}")
    return b'%b,"hash":"%b"}\n' % (body, hashed.encode()), State(state.session, state.server, seq, hashed)


def head_record(state: State, *, closed: bool) -> bytes:
    """The head file's whole content: always `HEAD_SIZE` bytes, so that one write in place replaces it."""
    text = (
        f'{{"schema":{SCHEMA},"session":{_quote(state.session)},"seq":{state.seq},'
        f'"hash":"{state.hash}","closed":{"true" if closed else "false"}}}'
    )
    return text.encode("ascii").ljust(HEAD_SIZE - 1) + b"\n"


def parse_head(record: bytes) -> Head | None:
    """The head that `head_record` wrote; None for any other bytes."""
    try:
        value = json.loads(record)
        state = State(value["session"], "", value["seq"], value["hash"])
        closed = value["closed"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if type(state.seq) is not int or head_record(state, closed=closed) != record:
        return None
    return Head(state.session, state.seq, state.hash, closed)
