"""The frame reader against everything that may come down a pipe."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.wire.jsonrpc import Fault, Frame, FrameReader, error_frame
from sandbox.wire.salvage import EDGE, MAX_ID_CHARS, MAX_ID_NUMBER

CAP = 4096
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":"b"}}}'


def read(data: bytes, cap: int = CAP) -> list[Frame | Fault]:
    reader = FrameReader(cap)
    return [*reader.feed(data), *reader.close()]


def only(data: bytes, cap: int = CAP) -> Frame | Fault:
    (item,) = read(data, cap)
    return item


def frame(data: bytes, cap: int = CAP) -> Frame:
    item = only(data, cap)
    assert isinstance(item, Frame), item
    return item


def fault(data: bytes, cap: int = CAP) -> Fault:
    item = only(data, cap)
    assert isinstance(item, Fault), item
    return item


@pytest.mark.parametrize(
    ("line", "kind", "id", "method", "tool"),
    [
        pytest.param(REQUEST, "request", 1, "tools/call", "echo", id="a tool call names its tool"),
        pytest.param(b'{"jsonrpc":"2.0","id":"1","method":"ping"}', "request", "1", "ping", None, id="text id"),
        pytest.param(b'{"jsonrpc":"2.0","id":0,"method":"ping"}', "request", 0, "ping", None, id="id zero"),
        pytest.param(b'{"jsonrpc":"2.0","id":"","method":"ping"}', "request", "", "ping", None, id="empty id"),
        pytest.param(
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            "notification", None, "notifications/initialized", None, id="a notification",
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{}}', "response", 7, None, None, id="a result"),
        pytest.param(b'{"result":{},"jsonrpc":"2.0","id":7}', "response", 7, None, None, id="members in any order"),
        pytest.param(
            b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}',
            "response", None, None, None, id="an error may have the id null",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}',
            "response", None, None, None, id="an error may have no id",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","id":1,"method":"x","future":[1],"params":{"new":null}}',
            "request", 1, "x", None, id="unknown fields pass",
        ),
        pytest.param(b' {"jsonrpc" : "2.0", "id":1, "method":"x"}\t', "request", 1, "x", None, id="inner spaces"),
        pytest.param(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}',
            "request", 1, "tools/call", None, id="a tool name that is no text is not a name",
        ),
    ],
)  # fmt: skip
def test_a_valid_line_is_a_frame(
    line: bytes, kind: str, id: object, method: str | None, tool: str | None
) -> None:
    found = frame(line + b"\n")
    assert (found.kind, found.id, found.method, found.tool) == (kind, id, method, tool)
    assert type(found.id) is type(id)
    assert found.data == line + b"\n"
    assert found.message == json.loads(line)
    assert found.size == len(line)


def _nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    """A frame whose deepest container is `depth` levels down; the message itself is the first."""
    body = opening * (depth - 2) + closing * (depth - 2)
    return b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":%s}}' % body.encode()


REFUSED = [
    pytest.param(b"\xef\xbb\xbf" + REQUEST, "frame-bom", (1,), id="a byte order mark"),
    pytest.param(b"[" + REQUEST + b"]", "frame-batch", (1,), id="a batch of one"),
    pytest.param(b"[" + REQUEST + b"," + REQUEST.replace(b'1,"m', b'"1","m') + b"]", "frame-batch", (1, "1"),
                 id="a batch names every id"),
    pytest.param(b"[]", "frame-batch", (), id="an empty batch"),
    pytest.param(b"5", "frame-json", (), id="a number"),
    pytest.param(b"null", "frame-json", (), id="null"),
    pytest.param(REQUEST + b" " + REQUEST, "frame-json", (1,), id="two objects on a line"),
    pytest.param(REQUEST + b"\x00", "frame-json", (1,), id="a NUL after the object"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x"', "frame-json", (1,), id="a cut object"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xff"}}', "frame-utf8", (1,),
                 id="invalid UTF-8"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xed\xa0\x80"}}', "frame-utf8", (1,),
                 id="a surrogate as UTF-8"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xc0\xaf"}}', "frame-utf8", (1,),
                 id="an overlong slash"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","\xff":1}', "frame-utf8", (1,), id="invalid UTF-8 in a key"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\\ud800"}}', "frame-surrogate", (1,),
                 id="half a surrogate pair"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"\\udc00\\ud800":1}}', "frame-surrogate", (1,),
                 id="a pair the wrong way round, in a key"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":NaN}}', "frame-nan", (1,), id="NaN"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":-Infinity}}', "frame-nan", (1,),
                 id="infinity"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1e999}}', "frame-number", (1,),
                 id="a number that becomes infinity"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"id":1,"method":"x"}', "frame-duplicate-key", (), id="two ids"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","method":"y"}', "frame-duplicate-key", (1,),
                 id="two methods"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"a":1}}', "frame-duplicate-key", (1,),
                 id="a repeated key one level down"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"l":[[{"a":{},"b":2,"a":{}}]]}}',
                 "frame-duplicate-key", (1,), id="a repeated key deep inside a list"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":1,"\\u0061":2}}', "frame-duplicate-key", (1,),
                 id="keys equal after unescaping"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"m\\u0065thod":"x","method":"y"}', "frame-duplicate-key", (1,),
                 id="an escaped second method"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"/":"\\"","\\/":"\\\\"}}', "frame-duplicate-key",
                 (1,), id="repeated keys among escaped quotes and backslashes"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"":0,"":"\\u0022"}}', "frame-duplicate-key", (1,),
                 id="empty keys repeated beside an escaped quote"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","unknown":{"a":1,"a":2}}', "frame-duplicate-key", (1,),
                 id="a repeated key in a field nobody reads"),
    pytest.param(_nested(101), "frame-depth", (1,), id="101 lists deep"),
    pytest.param(_nested(101, '{"a":', "}").replace(b":}", b":1}"), "frame-depth", (1,), id="101 objects deep"),
    pytest.param(b'{"id":1,"method":"x"}', "frame-envelope", (1,), id="no version"),
    pytest.param(b'{"jsonrpc":2.0,"id":1,"method":"x"}', "frame-envelope", (1,), id="the version as a number"),
    pytest.param(b'{"jsonrpc":"1.0","id":1,"method":"x"}', "frame-envelope", (1,), id="another version"),
    pytest.param(b'{"jsonrpc":"2.0","id":1}', "frame-envelope", (1,), id="neither call nor response"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', "frame-envelope", (1,), id="call and response"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', "frame-envelope", (1,),
                 id="result and error"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"result":null}', "frame-envelope", (1,), id="a null result"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"error":"no"}', "frame-envelope", (1,), id="an error that is text"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":"m"}}', "frame-envelope", (1,),
                 id="an error code that is true"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":5}', "frame-envelope", (1,), id="a method that is no text"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":""}', "frame-envelope", (1,), id="an empty method"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}', "frame-envelope", (1,), id="params by position"),
    pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"x","params":null}', "frame-envelope", (1,), id="null params"),
    pytest.param(b'{"jsonrpc":"2.0","id":true,"method":"x"}', "frame-id", (), id="id true"),
    pytest.param(b'{"jsonrpc":"2.0","id":1.0,"method":"x"}', "frame-id", (), id="id 1.0"),
    pytest.param(b'{"jsonrpc":"2.0","id":null,"method":"x"}', "frame-id", (), id="a request with the id null"),
    pytest.param(b'{"jsonrpc":"2.0","id":null,"result":{}}', "frame-id", (), id="a result with the id null"),
    pytest.param(b'{"jsonrpc":"2.0","result":{}}', "frame-id", (), id="a result without id"),
    pytest.param(b'{"jsonrpc":"2.0","id":[1],"method":"x"}', "frame-id", (), id="id a list"),
    pytest.param(b'{"jsonrpc":"2.0","id":%d,"method":"x"}' % (MAX_ID_NUMBER + 1), "frame-id", (),
                 id="an id that JavaScript would round"),
    pytest.param(b'{"jsonrpc":"2.0","id":"%s","method":"x"}' % (b"i" * (MAX_ID_CHARS + 1)), "frame-id", (),
                 id="an id too long to remember"),
]  # fmt: skip


@pytest.mark.threat("C3", proves="malformed frames get a typed fault that names the rule and the id")
@pytest.mark.parametrize(("line", "rule", "ids"), REFUSED)
def test_a_refused_line_names_its_rule_and_whose_it_was(
    line: bytes, rule: str, ids: tuple[object, ...]
) -> None:
    found = fault(line + b"\n")
    assert (found.rule, found.ids) == (rule, ids)
    assert [type(id) for id in found.ids] == [type(id) for id in ids]
    assert found.size == len(line)
    assert found.reason


@pytest.mark.parametrize(("line", "rule", "ids"), REFUSED)
def test_the_next_line_is_read_as_if_nothing_had_been(
    line: bytes, rule: str, ids: tuple[object, ...]
) -> None:
    items = read(line + b"\n" + REQUEST + b"\n")
    assert [type(item) for item in items] == [Fault, Frame]


def test_a_hundred_levels_pass_and_brackets_in_text_do_not_count() -> None:
    assert frame(_nested(100) + b"\n")
    assert frame(b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"%s"}}\n' % (b"[{" * 200))


def test_depth_beyond_the_interpreters_own_limit_is_a_fault() -> None:
    bomb = b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 100_000
    assert fault(bomb + b"\n", cap=1 << 20).rule == "frame-depth"


def test_crlf_is_tolerated_and_not_forwarded() -> None:
    assert frame(REQUEST + b"\r\n").data == REQUEST + b"\n"


def test_a_carriage_return_alone_ends_nothing() -> None:
    assert fault(REQUEST + b"\r" + REQUEST + b"\n").rule == "frame-json"


def test_line_separators_of_unicode_end_nothing() -> None:
    line = '{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\u2028\u2029\x85"}}'.encode()
    assert frame(line + b"\n").data == line + b"\n"


def test_blank_lines_carry_nothing() -> None:
    assert read(b"\n\r\n  \n\t\r\n") == []


def test_a_message_without_its_line_end_counts_and_a_cut_one_does_not() -> None:
    assert frame(REQUEST).data == REQUEST + b"\n"
    assert fault(REQUEST[:-1]).rule == "frame-json"


@pytest.mark.parametrize("indent", [1, 2, 4, "\t"])
def test_a_pretty_printed_message_is_one_fault_with_its_id(indent: int | str) -> None:
    pretty = json.dumps(json.loads(REQUEST), indent=indent).encode()
    found = read(pretty + b"\n" + REQUEST + b"\n")
    assert isinstance(found[0], Fault)
    assert (found[0].rule, found[0].ids, found[0].kind) == ("frame-pretty", (1,), "request")
    assert isinstance(found[1], Frame)
    assert len(found) == 2


def test_a_lone_bracket_does_not_swallow_the_next_message() -> None:
    found = read(b"{\n" + REQUEST + b"\n")
    assert [type(item) for item in found] == [Fault, Frame]


@pytest.mark.parametrize(
    ("line", "noise"),
    [
        pytest.param(b"Server listening on stdio", True, id="a banner"),
        pytest.param(b"[INFO] ready", True, id="a banner in brackets"),
        pytest.param(b"{starting}", True, id="a banner in braces"),
        pytest.param(b'{"level":30,"id":5,"msg":"started"}', True, id="a JSON log line"),
        pytest.param(b"\xff\xfe\x00", True, id="bytes"),
        pytest.param(b"12", True, id="a number"),
        pytest.param(b'{"id":5,"result":{}}', False, id="an answer that forgot its version"),
        pytest.param(
            b'loading... {"jsonrpc":"2.0","id":5,"result":{}}', False, id="a banner before a message"
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":5,"result":{"a":NaN}}', False, id="a broken answer"),
        pytest.param(b'{"jsonrpc":"2.0","id":5,"resu', False, id="a cut answer"),
    ],
)
def test_noise_is_what_does_not_look_like_a_message(line: bytes, noise: bool) -> None:  # noqa: FBT001
    assert fault(line + b"\n").noise is noise


# --- size ----------------------------------------------------------------------------------------


def _sized(
    size: int, template: bytes = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"%s"}}'
) -> bytes:
    return template % (b"x" * (size - len(template) + 2))


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_cap_is_exact(end: bytes) -> None:
    assert frame(_sized(CAP) + end).size == CAP
    assert fault(_sized(CAP + 1) + end).rule == "frame-size"


@pytest.mark.parametrize(
    ("template", "ids", "kind"),
    [
        pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"}}', (7,), "response", id="id first (Python)"),
        pytest.param(b'{"result":{"a":"%s"},"jsonrpc":"2.0","id":7}', (7,), "response", id="id last (TypeScript)"),
        pytest.param(b'{"method":"x","params":{"a":"%s"},"jsonrpc":"2.0","id":"7"}', ("7",), "request",
                     id="a request, id last"),
        pytest.param(b'{"jsonrpc":"2.0","method":"x","params":{"a":"%s"}}', (), "notification", id="a notification"),
        pytest.param(b'{"result":{"a":"%s","id":7}}', (), "response", id="an inner id is nobody's"),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"},"jsonrpc":"2.0","id":8}', (7,), "response",
                     id="the first id counts"),
        pytest.param(b'{"jsonrpc":"2.0","id":null,"result":{"a":"%s"}}', (), "response", id="a null id"),
        pytest.param(b'{"jsonrpc":"2.0","id":1.5,"result":{"a":"%s"}}', (), None, id="a fraction is not read as 1"),
    ],
)  # fmt: skip
def test_a_frame_beyond_the_cap_still_says_whose_it_was(
    template: bytes, ids: tuple[object, ...], kind: str | None
) -> None:
    found = fault(_sized(CAP + 2 * EDGE, template) + b"\n")
    assert (found.rule, found.ids, found.kind) == ("frame-size", ids, kind)


@pytest.mark.threat("S3", proves="a stream without newline holds at most the cap and costs one fault")
def test_a_stream_without_newline_does_not_grow_memory() -> None:
    import tracemalloc

    reader, chunk = FrameReader(1 << 16), b"x" * (1 << 16)
    tracemalloc.start()
    try:
        for _ in range(1000):
            assert reader.feed(chunk) == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 19
    (found,) = reader.feed(b"\n")
    assert isinstance(found, Fault)
    assert (found.rule, found.size) == ("frame-size", 1000 << 16)
    assert isinstance(reader.feed(REQUEST + b"\n")[0], Frame)


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"0,", b'"",', b'"\\"",'])
def test_a_bomb_of_tiny_values_is_refused_before_it_is_decoded(unit: bytes) -> None:
    bomb = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[' + unit * 600_000 + b"0]}}\n"
    assert fault(bomb, 10 << 20).rule == "frame-values"


def test_ten_megabytes_of_commas_in_text_are_not_values() -> None:
    text = _sized(10 << 20).replace(b"xx", b",[") + b"\n"
    assert frame(text, 10 << 20).size == 10 << 20
    escaped = text.replace(b",[,[,[", b'\\",\\\\[')
    assert frame(escaped, 10 << 20).kind == "request"


# --- however it is cut ---------------------------------------------------------------------------

STREAM = b"".join(
    [
        b"banner\n", REQUEST, b"\r\n", "é\u2028\n".encode(), b"\xff\n", b"{\n  \"jsonrpc\": \"2.0\"\n}\n",
        b'{"jsonrpc":"2.0","id":2,"result":{"a":1,"\\u0061":1}}\n', b"x" * 250, b"\n", b"y" * 299, b"\r\n",
        b"\n\r\n", b'{"jsonrpc":"2.0","id":9,"result":{}}',
    ]
)  # fmt: skip


@pytest.mark.parametrize("cap", [100, 200, 250, 298, 299, 300])
def test_split_at_every_byte_nothing_changes(cap: int) -> None:
    whole = read(STREAM, cap)
    for at in range(len(STREAM) + 1):
        reader = FrameReader(cap)
        assert [*reader.feed(STREAM[:at]), *reader.feed(STREAM[at:]), *reader.close()] == whole, at
    reader = FrameReader(cap)
    single = [item for i in range(len(STREAM)) for item in reader.feed(STREAM[i : i + 1])]
    assert [*single, *reader.close()] == whole


# --- against a reference -------------------------------------------------------------------------


class Loose(Exception):
    """The reference refuses."""


def _no_constant(name: str) -> None:
    raise Loose(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise Loose("duplicate")
    return dict(pairs)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def reference(line: bytes) -> object:
    """The slow strict reading: Python's own parser with hooks; raises where it refuses."""
    value = json.loads(line.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    if not isinstance(value, dict) or _depth(value) > 100:
        raise Loose("shape")
    return value


def accepted(line: bytes) -> bool:
    try:
        reference(line)
    except (Loose, ValueError, RecursionError):
        return False
    return True


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
    found = frame(line + b"\n", 1 << 20)
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
@given(text=texts, tight=st.booleans())
def test_a_repeated_key_is_found_wherever_it_is_and_nothing_else_is(text: str, *, tight: bool) -> None:
    line = '{"jsonrpc":"2.0","id":1,"method":"x","params":{"value":%s}}' % text
    data = (line.replace(" ", "") if tight else line).encode()
    found = only(data + b"\n", 1 << 20)
    assert isinstance(found, Frame) is accepted(data), found


SEEDS = [
    REQUEST,
    b'{"result":{"content":[{"type":"text","text":"\\ud83d\\ude00 \\"q\\" \\\\"}]},"jsonrpc":"2.0","id":3}',
    '{"jsonrpc":"2.0","id":"é","error":{"code":-1,"message":"…","data":[1.5e3,{"a":[],"b":{}}]}}'.encode(),
    b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}',
]
SPLICES = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"NaN",
    b'"id":1,', b'"a":1,"a":2', b"\\ud800", b"\xe2\x80\xa8", b"1e999", b"-", b"0", b" ", b"[" * 120, b'{"a":' * 120,
]  # fmt: skip


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


def test_our_own_errors_are_valid_frames() -> None:
    for id in (1, "1", None):
        found = frame(error_frame(id, -32603, 'a "quoted" reason', {"rule": "frame-json"}))
        assert (found.kind, found.id) == ("response", id)
        assert found.message["error"]["data"] == {"rule": "frame-json"}
