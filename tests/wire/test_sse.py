"""Server-sent events: the standard's own streams, cut anywhere, bounded, and read again as they were made."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.sse import (
    DATA_MAX,
    ID_MAX,
    KEEP_ALIVE,
    NAME_MAX,
    RETRY_MAX,
    Decoder,
    Event,
    Malformed,
    encode,
)


def message(data: bytes, id: str = "", event: str = "message", retry: int | None = None) -> Event:
    return Event(event, data, id, retry)


STREAMS = [
    pytest.param(b"data: a\n\n", [message(b"a")], id="one"),
    pytest.param(b"data:a\n\n", [message(b"a")], id="without a space"),
    pytest.param(b"data:  a \n\n", [message(b" a ")], id="one space is taken, no other"),
    pytest.param(b"data: a\ndata: b\n\n", [message(b"a\nb")], id="two lines"),
    pytest.param(b"data\n\n", [message(b"")], id="a field without a colon"),
    pytest.param(b"data\ndata\n\n", [message(b"\n")], id="two of them"),
    pytest.param(b"data: a\r\n\r\n", [message(b"a")], id="CRLF"),
    pytest.param(b"data: a\r\r", [message(b"a")], id="CR"),
    pytest.param(b"data: a\r\n\n", [message(b"a")], id="CRLF, then LF"),
    pytest.param(b"data: a\n\r\n", [message(b"a")], id="LF, then CRLF"),
    pytest.param(b"data: a\r\n\r\r\n\n", [message(b"a")], id="blank lines of every kind"),
    pytest.param(b"data: a\n", [], id="no blank line, no event"),
    pytest.param(b"data: a\n\ndata: b", [message(b"a")], id="what the end cuts off is none"),
    pytest.param(b": words\ndata: a\n:\n\n", [message(b"a")], id="comments"),
    pytest.param(KEEP_ALIVE, [], id="a sign of life"),
    pytest.param(b"event: e\ndata: a\n\ndata: b\n\n", [message(b"a", "", "e"), message(b"b")], id="a name"),
    pytest.param(b"event: add\n\ndata: b\n\n", [message(b"b")], id="a name without data is no event"),
    pytest.param(b"id: 1\ndata: a\n\ndata: b\n\n", [message(b"a", "1"), message(b"b", "1")], id="id stays"),
    pytest.param(b"id: 1\ndata: a\n\nid\ndata: b\n\n", [message(b"a", "1"), message(b"b")], id="or unsaid"),
    pytest.param(b"id: 1\n\ndata: b\n\n", [message(b"b", "1")], id="an id without data"),
    pytest.param(b"id: a\0b\ndata: a\n\n", [message(b"a")], id="an id with NUL is overlooked"),
    pytest.param(b"id: 7\nretry: 500\ndata:\n\n", [message(b"", "7", retry=500)], id="MCP's priming event"),
    pytest.param(b"retry: 5x\ndata: a\n\n", [message(b"a")], id="a time that is no number"),
    pytest.param(b"retry: -5\ndata: a\n\n", [message(b"a")], id="a negative time"),
    pytest.param(b"retry: 007\ndata: a\n\n", [message(b"a", retry=7)], id="zeros in front"),
    pytest.param(b"retry: " + b"9" * 5000 + b"\ndata\n\n", [message(b"", retry=RETRY_MAX)], id="for ever"),
    pytest.param(b"Data: a\nfoo: b\n data: c\n\n", [], id="fields of no meaning"),
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [message(b"a")], id="a mark of the byte order"),
    pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="two of them"),
    pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [message(b"a")], id="one later"),
    pytest.param("data: a\u2028b\x85\n\n".encode(), [message("a\u2028b\x85".encode())], id="no line ends"),
]  # fmt: skip


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_a_stream_is_read_as_the_standard_says_wherever_it_is_cut(stream: bytes, events: list[Event]) -> None:
    for step in (len(stream), 1, 2, 3, 5):
        assert read(stream, step) == events
    for at in range(min(len(stream), 60)):
        decoder = Decoder()
        assert decoder.feed(stream[:at]) + decoder.feed(b"") + decoder.feed(stream[at:]) == events


def read(stream: bytes, step: int, decoder: Decoder | None = None) -> list[Event]:
    decoder = decoder or Decoder()
    return [one for at in range(0, len(stream), step) for one in decoder.feed(stream[at : at + step])]


def test_an_event_is_there_with_its_last_byte_and_not_later() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\r") == [message(b"a")]
    assert decoder.feed(b"\ndata: b\r\n\r") == [message(b"b")]


def test_ids_and_times_count_without_an_event() -> None:
    decoder = Decoder()
    assert decoder.feed(b"id: 3\nretry: 40\n\n") == []
    assert (decoder.last_id, decoder.retry) == ("3", 40)
    decoder.feed(b"id: 4\n")
    assert decoder.last_id == "3"  # until the event it belongs to is whole


HOSTILE = [
    pytest.param(b"data: " + b"x" * (1 << 17), "one line", id="a line without an end"),
    pytest.param(b"x" * (1 << 17), "one line", id="of no field"),
    pytest.param(b"x" * (1 << 17) + b"\n\n", "one line", id="of no field, with its end"),
    pytest.param(b"\n:" + b"x" * (1 << 17) + b"\n\n", "one line", id="a comment"),
    pytest.param((b"data: " + b"x" * 1000 + b"\n") * 100, "data", id="an event without an end"),
    pytest.param(b"data\n" * (1 << 17), "data", id="of empty lines"),
    pytest.param(b"id: " + b"x" * (ID_MAX + 1) + b"\n", "id", id="a long id"),
    pytest.param(b"event: " + b"x" * (NAME_MAX + 1) + b"\n", "name", id="a long name"),
    pytest.param(b"id: \x1b[2J\n", "control", id="an id for the terminal"),
    pytest.param(b"id: \xc2\x85\n", "control", id="an id with NEL"),
    pytest.param(b"event: \x07\n", "control", id="a name for the terminal"),
    pytest.param(b"id: \xff\n", "UTF-8", id="an id that is no text"),
]


@pytest.mark.parametrize(("stream", "said"), HOSTILE)
@pytest.mark.parametrize("step", [7, 4096, 1 << 20])
def test_what_knows_no_bounds_is_refused(stream: bytes, said: str, step: int) -> None:
    with pytest.raises(Malformed, match=said):
        read(stream, step, Decoder(1 << 16))


def test_what_is_refused_in_a_small_one_fits_a_large_one() -> None:
    assert len(read((b"data: " + b"x" * 1000 + b"\n") * 100 + b"\n", 4096)[0].data) == 100 * 1001 - 1


@pytest.mark.parametrize(
    "unit",
    [
        pytest.param(b"\r", id="CR"),
        pytest.param(b"\n", id="LF"),
        pytest.param(b":\n", id="comments"),
        pytest.param(b"data: x\n\n", id="events"),
        pytest.param(b"id: 1\r", id="ids"),
    ],
)
def test_the_time_a_stream_takes_grows_with_its_length_alone(unit: bytes) -> None:
    took = {}
    for size in (1 << 18, 1 << 20):
        stream = unit * (size // len(unit))
        began = time.thread_time()
        read(stream, 1 << 16)
        took[size] = time.thread_time() - began
    assert took[1 << 20] < 2 + 4 * 4 * took[1 << 18]


def test_a_long_line_in_small_pieces_is_searched_once() -> None:
    stream = b"data: " + b"x" * (4 << 20) + b"\n\n"
    began = time.thread_time()
    (event,) = read(stream, 1024)
    assert (len(event.data), time.thread_time() - began < 5) == (4 << 20, True)
    assert len(event.data) < DATA_MAX


LINES = st.binary(max_size=200)
NAMES = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_categories=["Cc", "Cs"]), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(LINES, NAMES, NAMES, st.none() | st.integers(0, RETRY_MAX)), max_size=5),
    st.integers(1, 64),
)
def test_what_is_made_is_read(made: list[tuple[bytes, str, str, int | None]], step: int) -> None:
    stream = b"".join(encode(data, event=event, id=id, retry=retry) for data, event, id, retry in made)
    found = read(stream, step)
    assert [one.data for one in found] == [
        data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for data, *_ in made
    ]
    assert [(one.event, one.retry) for one in found] == [
        (event or "message", retry) for _, event, _, retry in made
    ]
    last = ""
    for one, (_, _, id, _) in zip(found, made, strict=True):
        last = id or last
        assert one.id == last


@settings(max_examples=300, deadline=None)
@given(st.text("data:evntiry \r\n\0\ufeff1", max_size=120), st.integers(1, 9))
def test_cutting_makes_no_difference(text: str, step: int) -> None:
    stream = text.encode()
    assert read(stream, step) == read(stream, len(stream) or 1)


@pytest.mark.parametrize("id", ["a\nb", "a\rb", "a\0b"])
def test_no_field_is_smuggled_into_an_event(id: str) -> None:
    with pytest.raises(ValueError, match="within"):
        encode(b"", id=id)
    with pytest.raises(ValueError, match="within"):
        encode(b"", event=id)
