"""The reader of answers: how they are cut makes no difference, and h11 reads what it takes alike."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sandbox.bridge.reply import Reply
from sandbox.wire.http_head import Malformed

NAMES = st.text("!#$%&'*+-.^_`|~09AZaz", min_size=1, max_size=8).map("X-{}".format)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=3).map(
    lambda found: [f"{name}: {value}" for name, value in found.items()]
)
CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=4)


@dataclass
class Read:
    """All of one answer."""

    status: int
    content: bytes
    ended: bool


def ours(data: bytes, cuts: list[int] | None = None, *, closed: bool = True) -> Read | None:
    """What our reader makes of it; None where it refuses it."""
    reply, content = Reply(), b""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts or []), len(data)]
    try:
        for start, end in pairwise(edges):
            if end > start and not reply.ended:
                content += reply.feed(data[start:end])
        if closed and not reply.ended:
            reply.close()
    except Malformed:
        return None
    return Read(reply.head.status, content, reply.ended) if reply.head else None


def theirs(data: bytes) -> Read | None:
    """What h11 makes of it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, content = 0, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Read(status, content, ended=True)
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A valid answer: interim ones before it, and a body of one of the three kinds."""
    fields = draw(FIELDS)
    interim = draw(st.sampled_from(["", "HTTP/1.1 100 \r\n\r\n", "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"]))
    line = f"HTTP/1.1 {draw(st.sampled_from([200, 201, 202, 400, 404, 500]))} Said"
    chunks = draw(CHUNKS)
    body = b"".join(chunks)
    match draw(st.integers(0, 2)):
        case 0:
            fields.append(f"content-length: {len(body)}")
        case 1:
            fields.append("Transfer-Encoding: Chunked")
            ends = draw(st.sampled_from(["", ";a", ";a=b"]))
            body = b"".join(b"%X%b\r\n%b\r\n" % (len(one), ends.encode(), one) for one in chunks)
            body += "".join(f"{one}\r\n" for one in ("0", *draw(FIELDS), "")).encode()
        case _:
            fields.append("Connection: close")
    return (interim + "".join(f"{one}\r\n" for one in (line, *fields, ""))).encode() + body


@given(answers(), st.lists(st.integers(0, 10_000), max_size=6))
def test_a_valid_answer_is_read_as_h11_reads_it_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    expected = theirs(data)
    assert expected is not None
    assert ours(data, cuts) == expected
    assert ours(data, list(range(len(data)))) == expected


@given(answers(), st.integers(0, 500), st.binary(max_size=4), st.integers(0, 4))
@example(b"HTTP/1.1 200 Said\r\ncontent-length: 2\r\n\r\nab", 40, b"", 2)
def test_an_altered_answer_is_refused_or_read_as_h11_reads_it(
    data: bytes, at: int, put: bytes, taken: int
) -> None:
    at %= len(data)
    altered = data[:at] + put + data[at + taken :]
    read, expected = ours(altered), theirs(altered)
    assert read == ours(altered, list(range(len(altered))))
    if read is not None and expected is not None:
        assert read == expected


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_any_bytes_are_an_answer_or_refused(data: bytes, cuts: list[int]) -> None:
    assert ours(data, cuts) == ours(data)


@pytest.mark.parametrize(
    ("line", "fields", "kept"),
    [
        pytest.param("HTTP/1.1 200", [], True, id="1.1"),
        pytest.param("HTTP/1.1 200", ["Connection: close"], False, id="1.1 and close"),
        pytest.param("HTTP/1.1 200", ["Connection: x", "Connection: Close"], False, id="in a second field"),
        pytest.param("HTTP/1.0 200", [], False, id="1.0"),
        pytest.param("HTTP/1.0 200", ["Connection: keep-alive"], True, id="1.0 and keep-alive"),
    ],
)
def test_a_connection_is_kept_where_both_want_it(line: str, fields: list[str], *, kept: bool) -> None:
    reply = Reply()
    reply.feed("".join(f"{one}\r\n" for one in (line, *fields, "Content-Length: 0", "")).encode())
    assert reply.head is not None
    assert reply.ended
    assert reply.head.keeps_alive is kept


def test_bytes_behind_the_end_are_seen() -> None:
    reply = Reply()
    assert reply.feed(b"HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nabc") == b"a"
    assert reply.ended
    assert reply.surplus
