"""A canary is found in every spelling, at every place and however it is cut, and nothing else ever is."""

from __future__ import annotations

import base64
import json
import random
import string
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.egress.canary import LEAST, SUFFIXES, NameStream, Needles, Sighting, Stream
from sandbox.plan.decoys import decoys
from sandbox.plan.spec import File

SECRET = "q7+Kf/2LxZ0wPb_9Rt-4HsVuYc81NdJm3GeAo5Ti"  # noqa: S105  it is meant to be one
OTHER = "0g1h2i3j4k5l6m7n8o9pQRSTUVWXYZ"
NEEDLES = Needles({"other": OTHER, "secret": SECRET})
RAW = SECRET.encode()

Encode = Callable[[bytes], bytes]


def every_byte(data: bytes, form: str) -> bytes:
    return "".join(form.format(byte) for byte in data).encode()


def wrapped(text: bytes, width: int, between: bytes = b"\n") -> bytes:
    return between.join(text[at : at + width] for at in range(0, len(text), width))


ENCODINGS: dict[str, tuple[Encode, Any]] = {
    "plain": (bytes, "plain"),
    "without case": (bytes.upper, "plain"),
    "UTF-16": (lambda raw: raw.decode("latin-1").encode("utf-16-le"), "plain"),
    "one character a line": (lambda raw: wrapped(raw, 1), "plain"),
    "reversed": (lambda raw: raw[::-1], "reversed"),
    "hex": (lambda raw: raw.hex().encode(), "hex"),
    "upper-case hex": (lambda raw: raw.hex().upper().encode(), "hex"),
    "hex with colons": (lambda raw: raw.hex(":").encode(), "hex"),
    "hex in lines": (lambda raw: wrapped(raw.hex().encode(), 60), "hex"),
    "hex of the reversed": (lambda raw: raw[::-1].hex().encode(), "hex"),
    "base64": (base64.b64encode, "base64"),
    "base64 in lines": (base64.encodebytes, "base64"),
    "base64 in lines in JSON": (lambda raw: json.dumps(base64.encodebytes(raw).decode()).encode(), "base64"),
    "base64 in a URL": (lambda raw: quote(base64.b64encode(raw), safe="").encode(), "base64"),
    "base64 of the reversed": (lambda raw: base64.b64encode(raw[::-1]), "base64"),
    "base64url": (base64.urlsafe_b64encode, "base64"),
    "base32": (base64.b32encode, "base32"),
    "lower-case base32": (lambda raw: base64.b32encode(raw).lower(), "base32"),
    "base32hex": (base64.b32hexencode, "base32"),
    "URL, where it must be": (lambda raw: quote(raw, safe="").encode(), "url"),
    "URL, every byte": (lambda raw: every_byte(raw, "%{:02X}"), "url"),
    "URL, every byte, lower case": (lambda raw: every_byte(raw, "%{:02x}"), "url"),
    "URL, every byte, twice": (lambda raw: quote(every_byte(raw, "%{:02x}")).encode(), "url"),
    "JSON, every character": (lambda raw: every_byte(raw, "\\u{:04x}"), "unicode"),
    "JSON, every character, upper case": (lambda raw: every_byte(raw, "\\u{:04X}"), "unicode"),
    "a string of C": (lambda raw: every_byte(raw, "\\x{:02x}"), "unicode"),
    "JSON in a URL": (lambda raw: quote(every_byte(raw, "\\u{:04x}")).encode(), "url"),
}  # fmt: skip
encodings = pytest.mark.parametrize("how", list(ENCODINGS))


@pytest.mark.parametrize("how", [how for how in ENCODINGS if how != "URL, where it must be"])
def test_every_spelling_is_found_and_named(how: str) -> None:
    encode, encoding = ENCODINGS[how]
    assert NEEDLES.find(b"{" + encode(RAW) + b"}") == Sighting("secret", encoding)


def escaped(which: Callable[[int], bool]) -> bytes:
    return b"".join(b"%%%02x" % byte if which(at) else bytes([byte]) for at, byte in enumerate(RAW))


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        pytest.param(
            RAW.hex().encode() + b"%41%42", "hex", id="an escape behind hex does not make a URL of it"
        ),
        pytest.param(escaped(lambda at: at % 5 > 0), "url", id="four of five characters escaped"),
        pytest.param(escaped(lambda at: at % 9 == 0), "url", id="one of nine characters escaped"),
    ],
)
def test_spellings_are_told_apart(data: bytes, encoding: Any) -> None:
    assert NEEDLES.find(data) == Sighting("secret", encoding)


# --- anywhere, in anything, cut anywhere -------------------------------------------------------------


CANARIES = dict(decoys(bytes(range(32)), "/home/mcp", (), True).canaries)
SESSION = Needles(CANARIES)


@st.composite
def cuts(draw: st.DrawFn) -> Callable[[bytes], list[bytes]]:
    sizes = draw(st.lists(st.integers(1, 50), min_size=1, max_size=8))
    return lambda data: list(chunks(data, sizes))


def chunks(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for turn in range(len(data)):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at += size


@encodings
@given(st.data())
def test_each_canary_is_found_at_any_offset_alignment_and_chunking(how: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CANARIES)))
    before, after = data.draw(st.binary(max_size=40)), data.draw(st.binary(max_size=40))
    encoded = ENCODINGS[how][0](before + CANARIES[name].encode() + after)
    text = data.draw(st.binary(max_size=300)) + b" " + encoded + b" " + data.draw(st.binary(max_size=300))
    stream = Stream(SESSION)
    found = [seen for piece in data.draw(cuts())(text) if (seen := stream.feed(piece))]
    assert {seen.name for seen in found} == {name}
    whole = SESSION.find(text)
    assert whole is not None
    assert whole.name == name


@encodings
def test_a_cut_at_any_byte_hides_nothing(how: str) -> None:
    text = b"x" * 50 + ENCODINGS[how][0](b"ab" + RAW + b"c") + b"y" * 50
    for cut in range(len(text)):
        stream = Stream(NEEDLES)
        assert stream.feed(text[:cut]) or stream.feed(text[cut:]), cut


@encodings
def test_one_byte_at_a_time_hides_nothing_and_it_is_reported_once(how: str) -> None:
    stream = Stream(NEEDLES)
    text = b"x" * 9 + ENCODINGS[how][0](RAW[:20]) + b"y" * 9
    found = [seen for at in range(len(text)) if (seen := stream.feed(text[at : at + 1]))]
    assert [seen.name for seen in found] == ["secret"]


@pytest.mark.parametrize("how", ["plain", "reversed", "hex", "base64", "base32", "URL, every byte"])
def test_sixteen_characters_are_enough_and_a_few_less_are_not(how: str) -> None:
    encode, _ = ENCODINGS[how]
    for at in range(len(OTHER) - LEAST + 1):
        part = OTHER[at : at + LEAST].encode()
        assert NEEDLES.find(b"{" + encode(part) + b"}") is not None
        # Not one less: that a piece of base64 stands for fewer shows only at some alignments.
        assert NEEDLES.find(b"{" + encode(part[:-2]) + b"}") is None


def test_pieces_that_are_each_too_short_are_not_put_together() -> None:
    assert NEEDLES.find(wrapped(RAW, 15, b"zz")) is None


# --- nothing else ------------------------------------------------------------------------------------


@given(st.binary(max_size=2000))
def test_nothing_is_found_in_other_data(data: bytes) -> None:
    assert SESSION.find(data) is None


@pytest.mark.parametrize("how", ["plain", "hex", "base64", "base32", "URL, every byte"])
def test_nothing_is_found_in_a_megabyte_of_random_data(how: str) -> None:
    stream = Stream(SESSION)
    generator = random.Random(how)  # noqa: S311  the same in every run
    assert [stream.feed(ENCODINGS[how][0](generator.randbytes(1 << 14))) for _ in range(64)] == [None] * 64


@encodings
def test_credentials_of_another_session_are_not_ours(how: str) -> None:
    other = decoys(bytes(range(1, 33)), "/home/mcp", (), True)
    texts = [step.content for step in other.steps if isinstance(step, File)]
    texts += [value.encode() for _, value in other.env]
    assert [SESSION.find(ENCODINGS[how][0](text)) for text in texts] == [None] * len(texts)


def test_no_canaries_find_nothing() -> None:
    none = Needles({})
    assert none.find(RAW) is None
    assert Stream(none).feed(RAW) is None
    assert NameStream(none).feed((b"a", b"b", b"c")) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 15, id="short"),
        pytest.param("abcdefgh+/=_-+/=", id="short but for its padding"),
        pytest.param("two words are here now", id="spaces"),
        pytest.param("ä" * 16, id="not ASCII"),
    ],
)
def test_a_value_that_cannot_be_told_from_chance_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="canary `x`"):
        Needles({"x": value})


@given(st.lists(st.binary(max_size=4000), max_size=20))
def test_what_is_kept_of_a_stream_is_bounded(pieces: list[bytes]) -> None:
    stream = Stream(NEEDLES)
    for piece in pieces:
        stream.feed(piece)
        assert len(stream._tail) <= 8 * NEEDLES.longest


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"%" * 9999, id="percent signs"),
        pytest.param(b"%25" * 9999, id="percent signs, escaped"),
        pytest.param(b"%2525252525" * 999, id="deeper than we look"),
        pytest.param(b"\\u00" * 9999, id="escapes cut short"),
        pytest.param(b"\\" * 9999, id="backslashes"),
        pytest.param(RAW[:9] * 9999, id="one piece over and over"),
    ],
)
def test_hostile_data_is_only_data(data: bytes) -> None:
    assert NEEDLES.find(data) is None


# --- names -------------------------------------------------------------------------------------------


def labels(text: bytes, size: int = 63) -> tuple[bytes, ...]:
    return tuple(text[at : at + size] for at in range(0, len(text), size))


NAME_ENCODINGS: dict[str, Any] = {
    "plain": bytes,
    "lower case": bytes.lower,
    "reversed": lambda raw: raw[::-1],
    "hex": lambda raw: raw.hex().encode(),
    "base32": lambda raw: base64.b32encode(raw).rstrip(b"=").lower(),
    "base32hex": lambda raw: base64.b32hexencode(raw).rstrip(b"=").lower(),
    "base64url in lower case": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").lower(),
}
name_encodings = pytest.mark.parametrize("how", list(NAME_ENCODINGS))


@name_encodings
@pytest.mark.parametrize("size", [5, 30, 63])
@pytest.mark.parametrize("lead", range(5))
def test_a_canary_in_a_name_is_found_however_its_dots_cut_it(how: str, size: int, lead: int) -> None:
    name = (*labels(NAME_ENCODINGS[how](b"x" * lead + RAW + b"yz"), size), b"example", b"com")
    seen = NEEDLES.in_name(name)
    assert seen is not None
    assert seen.name == "secret"


@name_encodings
@pytest.mark.parametrize("size", [1, 4, 7, 12])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(lambda n, piece: (piece, b"example", b"com"), id="the label before the domain"),
        pytest.param(lambda n, piece: (piece, b"t%d" % n, b"a", b"example", b"com"), id="a number after it"),
        pytest.param(lambda n, piece: (b"t%d" % n, piece, b"a", b"example", b"com"), id="a number before it"),
        pytest.param(lambda n, piece: (*labels(piece, 2), b"example", b"com"), id="over several labels"),
    ],
)
def test_a_canary_in_pieces_over_several_names_is_found(how: str, size: int, name: Any) -> None:
    stream = NameStream(NEEDLES)
    text = NAME_ENCODINGS[how](b"abc" + RAW + b"defg")
    found = []
    for n, piece in enumerate(labels(text, size)):
        # For both families of addresses, and names of another domain between.
        found += [stream.feed(name(n, piece)), stream.feed(name(n, piece))]
        found += [stream.feed((b"w%d" % n, b"example", b"net"))]
    assert {seen.name for seen in found if seen} == {"secret"}


def test_a_canary_in_one_name_is_found_with_all_lookups_too() -> None:
    stream = NameStream(NEEDLES)
    assert stream.feed((RAW, b"com")) == Sighting("secret", "plain")
    assert stream.feed((b"www", b"example", b"com")) is None


@given(st.lists(st.lists(st.binary(min_size=1, max_size=63), max_size=5).map(tuple), max_size=40))
def test_nothing_is_found_in_other_names(names: list[tuple[bytes, ...]]) -> None:
    stream = NameStream(SESSION)
    assert [stream.feed(name) for name in names] == [None] * len(names)


def test_what_is_kept_of_lookups_is_bounded() -> None:
    stream = NameStream(NEEDLES)
    for n in range(2 * SUFFIXES):
        stream.feed((b"a" * 63, b"b" * 63, b"c" * 63, b"d%d" % n, b"com"))
        stream.feed((b"e" * 63, b"b" * 63, b"c" * 63, b"d%d" % n, b"com"))
    assert len(stream._domains) == SUFFIXES
    assert all(len(text) <= NEEDLES.longest for texts in stream._domains.values() for text in texts)


@given(st.integers(0, 1 << 64), st.booleans())
def test_byte_by_byte_it_is_seen_at_the_sixteenth_letter(seed: int, backwards: bool) -> None:
    drawn = random.Random(seed)  # noqa: S311  the seed is the test's
    value = "".join(drawn.choices(string.ascii_letters + string.digits + "/+", k=40))
    stream, letters = Stream(Needles({"key": value})), 0
    for char in value[::-1] if backwards else value:
        letters += char.isalnum()
        if stream.feed(char.encode()) is not None:
            break
    assert letters == LEAST, "not one later: what was fed before it has left"
