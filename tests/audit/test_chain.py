import hashlib
import json

import pytest

from sandbox.audit import chain

TIME = "2026-11-22T08:00:06.123456Z"


def written(count: int, session: str = "s1") -> list[bytes]:
    state = chain.begin(session, "github")
    lines = []
    for number in range(count):
        line, state = chain.append(state, "relay.request", "", chain.encode({"id": number}), TIME)
        lines.append(line)
    return lines


def test_a_line_has_the_documented_fields_in_order_and_nothing_else():
    (line,) = written(1)
    value = json.loads(line)
    assert tuple(value) == chain.FIELDS
    assert line == json.dumps(value, separators=(",", ":")).encode() + b"\n"
    assert (value["schema"], value["seq"], value["session"], value["server"]) == (1, 1, "s1", "github")


def test_the_hash_covers_the_bytes_of_the_file_before_it():
    (line,) = written(1)
    body, _, tail = line.partition(b',"hash":"sha256:')
    assert hashlib.sha256(body + b"}").hexdigest().encode() + b'"}\n' == tail


def test_each_line_carries_the_hash_of_the_line_before_and_the_first_the_genesis():
    values = [json.loads(line) for line in written(3)]
    assert [value["prev"] for value in values] == [
        chain.genesis("s1"),
        values[0]["hash"],
        values[1]["hash"],
    ]


def test_two_sessions_begin_differently():
    assert chain.genesis("s1") != chain.genesis("s2")


def test_control_characters_and_surrogates_are_escaped_in_the_file():
    detail = chain.encode({"name": "\x1b[31m\n\udc80\u202e"})
    line, _ = chain.append(chain.begin("s", "\x1b]0;x\x07"), "relay.noise", "", detail, TIME)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line


def test_nan_is_not_json_and_is_refused():
    with pytest.raises(ValueError, match="JSON compliant"):
        chain.encode({"x": float("nan")})


def test_a_line_longer_than_a_reader_takes_is_refused():
    with pytest.raises(ValueError, match="bytes"):
        chain.append(chain.begin("s", "g"), "spec", "", chain.encode({"x": "y" * chain.LINE_MAX}), TIME)


@pytest.mark.parametrize("closed", [True, False])
def test_a_head_survives_its_record(closed: bool):
    state = chain.State("s" * 64, "g", 2**63, chain.genesis("x"))
    record = chain.head_record(state, closed=closed)
    assert len(record) == chain.HEAD_SIZE
    assert chain.parse_head(record) == chain.Head(state.session, state.seq, state.hash, closed)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b"", id="an empty head"),
        pytest.param(b"[]", id="a head that is no object"),
        pytest.param(b"{}", id="a head without fields"),
        pytest.param(chain.head_record(chain.begin("s", ""), closed=False)[:-1], id="a cut head"),
        pytest.param(chain.head_record(chain.begin("s", ""), closed=False) + b" ", id="a longer head"),
        pytest.param(b'{"session":"s","seq":true,"hash":"","closed":false}', id="a boolean for a number"),
    ],
)
def test_anything_else_is_no_head(record: bytes):
    assert chain.parse_head(record) is None
