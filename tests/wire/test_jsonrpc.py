"""The frame reader against everything that may come down a pipe."""

from __future__ import annotations

import json

import pytest

from sandbox.wire.jsonrpc import Fault, Frame, FrameReader, error_frame
from sandbox.wire.salvage import EDGE
from tests.wire.refused import REFUSED, REQUEST, nested

CAP = 4096


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
        pytest.param(
            b'{"jsonrpc":"2.0","id":"1","method":"ping"}', "request", "1", "ping", None, id="text id"
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":0,"method":"ping"}', "request", 0, "ping", None, id="id zero"),
        pytest.param(
            b'{"jsonrpc":"2.0","id":"","method":"ping"}', "request", "", "ping", None, id="empty id"
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
            "notification",
            None,
            "notifications/initialized",
            None,
            id="a notification",
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":7,"result":{}}', "response", 7, None, None, id="a result"),
        pytest.param(
            b'{"result":{},"jsonrpc":"2.0","id":7}', "response", 7, None, None, id="members in any order"
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"m"}}',
            "response",
            None,
            None,
            None,
            id="an error may have the id null",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}',
            "response",
            None,
            None,
            None,
            id="an error may have no id",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","id":1,"method":"x","future":[1],"params":{"new":null}}',
            "request",
            1,
            "x",
            None,
            id="unknown fields pass",
        ),
        pytest.param(
            b' {"jsonrpc" : "2.0", "id":1, "method":"x"}\t', "request", 1, "x", None, id="inner spaces"
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}',
            "request",
            1,
            "tools/call",
            None,
            id="a tool name that is no text is not a name",
        ),
    ],
)
def test_a_valid_line_is_a_frame(
    line: bytes, kind: str, id: object, method: str | None, tool: str | None
) -> None:
    found = frame(line + b"\n")
    assert (found.kind, found.id, found.method, found.tool) == (kind, id, method, tool)
    assert type(found.id) is type(id)
    assert found.data == line + b"\n"
    assert found.message == json.loads(line)
    assert found.size == len(line)


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
    assert frame(nested(100) + b"\n")
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
def test_noise_is_what_does_not_look_like_a_message(line: bytes, noise: bool) -> None:
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
        pytest.param(
            b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"}}', (7,), "response", id="id first (Python)"
        ),
        pytest.param(
            b'{"result":{"a":"%s"},"jsonrpc":"2.0","id":7}', (7,), "response", id="id last (TypeScript)"
        ),
        pytest.param(
            b'{"method":"x","params":{"a":"%s"},"jsonrpc":"2.0","id":"7"}',
            ("7",),
            "request",
            id="a request, id last",
        ),
        pytest.param(
            b'{"jsonrpc":"2.0","method":"x","params":{"a":"%s"}}', (), "notification", id="a notification"
        ),
        pytest.param(b'{"result":{"a":"%s","id":7}}', (), "response", id="an inner id is nobody's"),
        pytest.param(
            b'{"jsonrpc":"2.0","id":7,"result":{"a":"%s"},"jsonrpc":"2.0","id":8}',
            (7,),
            "response",
            id="the first id counts",
        ),
        pytest.param(b'{"jsonrpc":"2.0","id":null,"result":{"a":"%s"}}', (), "response", id="a null id"),
        pytest.param(
            b'{"jsonrpc":"2.0","id":1.5,"result":{"a":"%s"}}', (), None, id="a fraction is not read as 1"
        ),
    ],
)
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
    bomb = b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":[' + unit * 800_000 + b"0]}}\n"
    assert fault(bomb, 10 << 20).rule == "frame-values"


def test_ten_megabytes_of_commas_in_text_are_not_values() -> None:
    text = _sized(10 << 20).replace(b"xx", b",[") + b"\n"
    assert frame(text, 10 << 20).size == 10 << 20
    escaped = text.replace(b",[,[,[", b'\\",\\\\[')
    assert frame(escaped, 10 << 20).kind == "request"


# --- however it is cut ---------------------------------------------------------------------------

STREAM = b"".join(
    [
        b"banner\n",
        REQUEST,
        b"\r\n",
        "é\u2028\n".encode(),
        b"\xff\n",
        b'{\n  "jsonrpc": "2.0"\n}\n',
        b'{"jsonrpc":"2.0","id":2,"result":{"a":1,"\\u0061":1}}\n',
        b"x" * 250,
        b"\n",
        b"y" * 299,
        b"\r\n",
        b"\n\r\n",
        b'{"jsonrpc":"2.0","id":9,"result":{}}',
    ]
)


@pytest.mark.parametrize("cap", [100, 200, 250, 298, 299, 300])
def test_split_at_every_byte_nothing_changes(cap: int) -> None:
    whole = read(STREAM, cap)
    for at in range(len(STREAM) + 1):
        reader = FrameReader(cap)
        assert [*reader.feed(STREAM[:at]), *reader.feed(STREAM[at:]), *reader.close()] == whole, at
    reader = FrameReader(cap)
    single = [item for i in range(len(STREAM)) for item in reader.feed(STREAM[i : i + 1])]
    assert [*single, *reader.close()] == whole


def test_our_own_errors_are_valid_frames() -> None:
    for id in (1, "1", None):
        found = frame(error_frame(id, -32603, 'a "quoted" reason', {"rule": "frame-json"}))
        assert (found.kind, found.id) == ("response", id)
        assert found.message["error"]["data"] == {"rule": "frame-json"}
