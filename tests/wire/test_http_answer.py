"""What a server answers to an upgrade: the one answer that counts, or that there is none to be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.wire.http import HEAD_MAX, Answer, AnswerReader, Malformed
from sandbox.wire.http_answer import SKIPPED_MAX

SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nUpgrade: h2c\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def read(data: bytes, step: int = 1) -> Answer | None:
    reader, found = AnswerReader(), None
    for at in range(0, len(data), step):
        found = reader.feed(data[at : at + step])
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(SWITCHED, Answer(101, ("websocket",)), id="switched"),
        pytest.param(SWITCHED + b"\x81\0\r\n", Answer(101, ("websocket",)), id="and more"),
        pytest.param(CONTINUE + HINTS + SWITCHED, Answer(101, ("websocket",)), id="after interim answers"),
        pytest.param(
            SWITCHED.replace(b"\r\nC", b", h2c\r\nupgrade: TLS/1.0\r\nC"),
            Answer(101, ("websocket", "h2c", "tls/1.0")),
            id="to several",
        ),
        pytest.param(b"HTTP/1.1 101\r\n\r\n", Answer(101, ()), id="to nothing"),
        pytest.param(OK, Answer(200, ()), id="declined, known from its first line"),
        pytest.param(OK + b"Upgrade: h2c\r\n\r\n\n\0", Answer(200, ()), id="the rest is not looked at"),
        pytest.param(CONTINUE + b"HTTP/1.0 404 \r\n", Answer(404, ()), id="declined after an interim answer"),
        pytest.param(b"HTTP/1.1 599 \xe4\t!\r\n", Answer(599, ()), id="a reason beyond ASCII"),
        pytest.param(b"HTTP/1.1 426\r\n", Answer(426, ()), id="no reason"),
        pytest.param(OK[:-1], None, id="a line that is not whole"),
        pytest.param(SWITCHED[:-1], None, id="a head that is not whole"),
        pytest.param(CONTINUE * SKIPPED_MAX, None, id="interim answers"),
        pytest.param(b"HTTP/1", None, id="a beginning"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_the_answer_that_counts(data: bytes, expected: Answer | None) -> None:
    assert read(data) == read(data, 7) == read(data, 1 << 20) == expected


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x03", id="TLS"),
        pytest.param(b"HTTP/2", id="HTTP/2"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"ICY 200 OK\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\n", id="LF alone"),
        pytest.param(b"HTTP/1.1 200 OK\rX: y\r\n", id="CR without LF"),
        pytest.param(b"HTTP/1.1  200 OK\r\n", id="two spaces"),
        pytest.param(b"HTTP/1.1 20 OK\r\n", id="two digits"),
        pytest.param(b"HTTP/1.1 1010 OK\r\n", id="four digits"),
        pytest.param(b"HTTP/1.1 099 OK\r\n", id="a status below 100"),
        pytest.param(b"HTTP/1.1 +10 OK\r\n", id="a sign"),
        pytest.param(b"HTTP/1.1 200 O\0K\r\n", id="NUL in the reason"),
        pytest.param(b"HTTP/1.2 200 OK\r\n", id="HTTP/1.2"),
        pytest.param(SWITCHED.replace(b"\r\nC", b"\nC"), id="LF alone in the head"),
        pytest.param(SWITCHED.replace(b"\r\nC", b"\r\n C"), id="a folded line"),
        pytest.param(SWITCHED.replace(b"Upgrade:", b"Upgrade :"), id="a space before the colon"),
        pytest.param(SWITCHED.replace(b"WebSocket", b'"websocket"'), id="a protocol in quotes"),
        pytest.param(CONTINUE * (SKIPPED_MAX + 1), id="interim answers without end"),
        pytest.param(b"HTTP/1.1 100 " + b"x" * HEAD_MAX, id="a line without end"),
        pytest.param(CONTINUE[:-2] + b"X: y\r\n" * 201, id="fields without end"),
        pytest.param(CONTINUE[:-2] + b"X: " + b"y" * HEAD_MAX, id="a field without end"),
    ],
)
def test_what_cannot_be_read_is_malformed(data: bytes) -> None:
    for step in (1, 1 << 20):
        with pytest.raises(Malformed) as why:
            read(data, step)
        assert str(why.value).isprintable()


@given(st.lists(st.one_of(st.sampled_from([SWITCHED, CONTINUE, HINTS, OK, b"\r\n", b"\n"]), st.binary())))
def test_anything_is_an_answer_or_none_or_malformed(parts: list[bytes]) -> None:
    found = []
    for step in (1, 1 << 20):
        try:
            found.append(read(b"".join(parts), step))
        except Malformed:
            found.append(None)
    assert found[0] == found[1] or None in found
