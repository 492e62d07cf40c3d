"""The frame reader against Python's own parser: properties and a bounded fuzz."""

from __future__ import annotations

import json
import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.jsonrpc import Frame, FrameReader
from tests.wire.refused import REQUEST
from tests.wire.strict_reference import accepted

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(value=values, compact=st.booleans(), ascii_only=st.booleans())
def test_whatever_json_says_well_is_read_and_forwarded_as_it_is(
    value: object, *, compact: bool, ascii_only: bool
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"value": value}}
    separators = (",", ":") if compact else (", ", ": ")
    line = json.dumps(message, separators=separators, ensure_ascii=ascii_only).encode()
    (found,) = FrameReader(1 << 20).feed(line + b"\n")
    assert isinstance(found, Frame), found
    assert found.message == message
    assert found.data == line + b"\n"


keys = st.sampled_from(
    ['"a"', '"\\u0061"', '"b"', '""', '"\\""', '"\\u0022"', '"\\\\"', '"\\\\\\""', '"/"', '"\\/"']
)
leaves = st.sampled_from(
    ["1", "-0", "1.0", "1E2", '"a"', '"\\""', '"\\\\"', "null", '"\\u00e9"', "10" * 30, "{}", "[]"]
)
texts = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda items: "[" + " ,".join(items) + "]")
        | st.lists(st.tuples(keys, inner), max_size=4).map(
            lambda members: "{" + ",".join(f"{key}: {value}" for key, value in members) + "}"
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400)
@given(text=texts, tight=st.booleans(), pad=st.sampled_from(["", "x" * (1 << 14), '\\"' * (1 << 13)]))
def test_a_repeated_key_is_found_wherever_it_is_and_nothing_else_is(
    text: str, *, tight: bool, pad: str
) -> None:
    # In a long line of few strings these are counted another way than in a short one.
    line = '{"jsonrpc":"2.0","id":1,"method":"x","params":{"pad":"' + pad + '","value":' + text + "}}"
    data = (line.replace(" ", "") if tight else line).encode()
    (found,) = FrameReader(1 << 20).feed(data + b"\n")
    assert isinstance(found, Frame) is accepted(data), found


SEEDS = [
    REQUEST,
    b'{"result":{"content":[{"type":"text","text":"\\ud83d\\ude00 \\"q\\" \\\\"}]},"jsonrpc":"2.0","id":3}',
    '{"jsonrpc":"2.0","id":"é","error":{"code":-1,"message":"…","data":[1.5e3,{"a":[],"b":{}}]}}'.encode(),
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}',
]
SPLICES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"NaN",
    b'"id":1,',
    b'"a":1,"a":2',
    b"\\ud800",
    b"\xe2\x80\xa8",
    b"1e999",
    b"-",
    b"0",
    b" ",
    b"[" * 120,
    b'{"a":' * 120,
]


def _mutate(random_: random.Random, seed: bytes) -> bytes:
    line = bytearray(seed)
    for _ in range(random_.randint(1, 4)):
        at = random_.randrange(len(line) + 1)
        match random_.randrange(4):
            case 0:
                line[at:at] = random_.choice(SPLICES)
            case 1:
                del line[at : at + random_.randint(1, 8)]
            case 2:
                line[at : at + 1] = bytes([random_.randrange(256)])
            case _:
                start = random_.randrange(len(line) + 1)
                line[at:at] = line[start : start + 30]
    return bytes(line)


def test_fuzz_the_reader_never_raises_and_never_passes_what_the_reference_refuses() -> None:
    random_ = random.Random(20261122)  # noqa: S311 - a fixed seed is the point
    until, count = time.monotonic() + 5, 0
    while time.monotonic() < until and count < 60_000:
        count += 1
        data = _mutate(random_, random_.choice(SEEDS)) + b"\n"
        cap = random_.choice([60, 120, 1 << 20])
        at = random_.randrange(len(data))
        reader = FrameReader(cap)
        for item in [*reader.feed(data[:at]), *reader.feed(data[at:]), *reader.close()]:
            if isinstance(item, Frame):
                assert accepted(bytes(item.data)), data
                assert item.size <= cap
                assert item.data.count(b"\n") == 1
    assert count > 1000
