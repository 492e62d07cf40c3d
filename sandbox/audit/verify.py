"""Reads a chain back: the first line that is not as it was written, and what was done to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.audit.chain import FIELDS, LAST, LINE_MAX, Head, digest, genesis
from sandbox.event import SCHEMA
from sandbox.records import dataclass

_TAIL = re.compile(rb',"hash":"(sha256:[0-9a-f]{64})"\}\n\Z')
_HASH = re.compile(r"sha256:[0-9a-f]{64}\Z")
_START = b'{"schema":'


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a log. `line` counts from 1; it is the first bad line, or the one after the last."""

    line: int
    fault: str
    what: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A line whose own hash is right, reduced to what the chain needs."""

    line: int
    session: str
    seq: int
    prev: str
    hash: str
    last: bool


class _Chain:
    """One session's links as far as they were read and found in order."""

    def __init__(self, session: str, head: Head | None) -> None:
        self.session, self.head = session, head
        self.seq, self.hash, self.line, self.ended = 0, genesis(session), 0, False

    def follow(self, link: Link) -> None:
        self.seq, self.hash, self.line, self.ended = link.seq, link.hash, link.line, link.last


def verify(lines: Iterable[bytes], heads: Mapping[str, Head], *, only: str = "") -> Finding | None:
    """The first finding in a whole log of one or more sessions, or None when there is none.

    `heads` are the heads recorded beside it; a session with lines and no head is a finding, and so is a
    head with no lines. `only` is the one session the log may hold. A chain whose head is still open may be
    ahead of it, because lines are written before heads.
    """
    chains = {session: _Chain(session, head) for session, head in heads.items()}
    if only and only not in chains:
        chains[only] = _Chain(only, None)
    rest = iter(enumerate(lines, start=1))
    count = 0
    for count, raw in rest:
        link = read_line(count, raw)
        if isinstance(link, Finding):
            return link
        if only and link.session != only:
            what = f"line {count} belongs to session `{link.session}`, not to `{only}`"
            return Finding(count, "wrong-session", what, link.session)
        chain = chains.setdefault(link.session, _Chain(link.session, None))
        fault = _step(chain, link, rest)
        if fault:
            return Finding(fault[0], fault[1], fault[2], link.session)
        chain.follow(link)
    return next(filter(None, (_ending(chain, count) for chain in chains.values())), None)


def read_line(number: int, raw: bytes) -> Link | Finding:
    """The link a line is, or what is wrong with the line taken alone."""
    if not raw.endswith(b"\n"):
        what = f"line {number} has no end" if len(raw) < LINE_MAX else f"line {number} is too long"
        return Finding(number, "cut" if len(raw) < LINE_MAX else "edited", what)
    tail = _TAIL.search(raw)
    if tail is None:
        return _without_hash(number, raw)
    stated = tail[1].decode()
    if digest(raw[: tail.start()] + b"}") != stated:
        return Finding(number, "edited", f"line {number} does not match its own hash")
    value = _load(raw)
    if value is None or not _well_formed(value):
        # Its hash is right, so it was made with care; no version of ours wrote it.
        return Finding(number, "edited", f"line {number} is not an event of schema {SCHEMA}")
    return Link(number, value["session"], value["seq"], value["prev"], stated, value["kind"] == LAST)


def _without_hash(number: int, raw: bytes) -> Finding:
    if _load(raw) is not None:
        return Finding(number, "edited", f"line {number} does not end in its hash")
    if raw.startswith(_START) and not raw.rstrip().endswith(b"}"):
        return Finding(number, "cut", f"line {number} ends too early")
    return Finding(number, "not-json", f"line {number} is not a JSON object")


def _load(raw: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _well_formed(value: dict[str, Any]) -> bool:
    texts = all(isinstance(value.get(key), str) for key in ("time", "session", "server", "kind", "rule"))
    return (
        tuple(value) == FIELDS
        and value["schema"] == SCHEMA
        and type(value["seq"]) is int
        and value["seq"] > 0
        and texts
        and isinstance(value["detail"], dict)
        and isinstance(value["prev"], str)
        and _HASH.match(value["prev"]) is not None
    )


Fault = tuple[int, str, str]


def _step(chain: _Chain, link: Link, rest: Iterator[tuple[int, bytes]]) -> Fault | None:
    """What is wrong with `link` as the next of `chain`; `rest` is read only to say it better."""
    here, seq = link.line, link.seq
    if chain.ended:
        return here, "after-end", f"line {here} stands after the session's end"
    if seq <= chain.seq:
        return here, "duplicated", f"line {here} repeats event {seq}; event {chain.seq + 1} should follow"
    if seq > chain.seq + 1:
        return _gap(chain, link, rest)
    if link.prev != chain.hash:
        return _broken(chain, link, rest)
    return _against_head(chain.head, link)


def _gap(chain: _Chain, link: Link, rest: Iterator[tuple[int, bytes]]) -> Fault:
    missing = chain.seq + 1
    later = next((other for other in _links(rest, link.session) if other.seq == missing), None)
    if later:
        what = f"event {link.seq} stands at line {link.line}, event {missing} only at line {later.line}"
        return link.line, "reordered", what
    gone = f"event {missing} is" if link.seq == missing + 1 else f"events {missing} to {link.seq - 1} are"
    return link.line, "deleted", f"{gone} missing before line {link.line}"


def _broken(chain: _Chain, link: Link, rest: Iterator[tuple[int, bytes]]) -> Fault:
    """Of two lines that do not fit, the one that nothing vouches for was rewritten, hash and all."""
    following = next(_links(rest, link.session), None)
    head = chain.head.hash if chain.head else ""
    vouched = link.hash in (following.prev if following else "", head)
    line = chain.line if vouched and chain.line else link.line
    return line, "edited", f"line {line} was rewritten: line {link.line} does not continue the line before it"


def _links(rest: Iterator[tuple[int, bytes]], session: str) -> Iterator[Link]:
    for number, raw in rest:
        link = read_line(number, raw)
        if isinstance(link, Link) and link.session == session:
            yield link


def _against_head(head: Head | None, link: Link) -> Fault | None:
    if head is None:
        return None
    if link.seq == head.seq and link.hash != head.hash:
        what = f"event {link.seq} at line {link.line} is not the one that the head recorded"
        return link.line, "edited", f"{what}: it, or a line before it, was rewritten"
    # An open head trails its log: by a batch after a SIGKILL, by all since the last sync after a crash of the
    # machine. Only a closed one says where the chain ends.
    if head.closed and link.seq > head.seq:
        return link.line, "after-end", f"line {link.line} was added after the recorded end (event {head.seq})"
    return None


def _ending(chain: _Chain, count: int) -> Finding | None:
    """What the end of the log says: nothing may be missing that the head remembers."""
    if chain.head is None:
        what = f"session `{chain.session}` has no head file: cannot rule out truncation"
        return Finding(count + 1, "head-missing", what, chain.session)
    if chain.seq < chain.head.seq:
        missing = f"events {chain.seq + 1} to {chain.head.seq} of session `{chain.session}`"
        return Finding(count + 1, "truncated", f"{missing} are missing after line {count}", chain.session)
    return None
