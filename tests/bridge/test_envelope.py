"""What a server sends becomes lines of one JSON object each, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.bridge import envelope
from sandbox.bridge.envelope import Malformed, Message

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(
    st.one_of(st.text(), st.sampled_from(["id", "method", "params", "result"])), VALUES, max_size=5
)
STYLES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"indent": 1}, {"ensure_ascii": False}, {"separators": (" ,\r\n", "\n:\r")}]
)


@settings(max_examples=50)
@given(OBJECTS, STYLES)
def test_an_object_becomes_one_line_that_says_the_same(value: dict[str, Any], style: dict[str, Any]) -> None:
    (message,) = envelope.read(json.dumps(value, **style).encode("utf-8", "surrogatepass"))
    assert message.line.count(b"\n") == 1
    assert message.line.endswith(b"\n")
    assert b"\r" not in message.line
    assert json.loads(message.line) == value


@settings(max_examples=30)
@given(st.lists(OBJECTS, max_size=3), STYLES)
def test_a_batch_becomes_a_line_for_each(values: list[dict[str, Any]], style: dict[str, Any]) -> None:
    messages = envelope.read(json.dumps(values, **style).encode("utf-8", "surrogatepass"))
    assert [json.loads(message.line) for message in messages] == values


@given(st.one_of(st.binary(max_size=60), OBJECTS.map(lambda value: json.dumps(value).encode()[:-1])))
def test_other_bytes_become_nothing_or_objects(data: bytes) -> None:
    try:
        messages = envelope.read(data)
    except Malformed:
        return
    assert all(isinstance(json.loads(message.line), dict) for message in messages)


@pytest.mark.parametrize(
    ("text", "id", "method"),
    [
        pytest.param('{"id":1,"method":"a"}', 1, "a", id="a request"),
        pytest.param('{"id":"1","result":{}}', "1", None, id="a response"),
        pytest.param('{"method":"a"}', None, "a", id="a notification"),
        pytest.param('{"id":1.5,"result":{}}', None, None, id="an id that none can have"),
        pytest.param('{"id":{"a":1},"result":{}}', None, None, id="an id that is an object"),
        pytest.param('{"id":true,"result":{}}', None, None, id="an id that is true"),
        pytest.param('{"id":1,"method":7}', None, None, id="a method that is a number"),
        pytest.param('{"id":null,"error":{}}', None, None, id="an error that answers nobody"),
    ],
)
def test_whose_a_message_is(text: str, id: int | str | None, method: str | None) -> None:
    (message,) = envelope.read(text.encode())
    assert (message.id, message.method) == (id, method)
    assert message.line == text.encode() + b"\n"


def test_an_error_is_given_to_who_waits() -> None:
    message = Message(b'{"id":null,"error":{"code":-32022,"message":"\\n"}}\n', None, None)
    said = envelope.error_of(message, "seven")
    assert said is not None
    assert json.loads(said) == {
        "jsonrpc": "2.0", "id": "seven", "error": {"code": -32022, "message": "\n"}
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"result":{}}', id="a result"),
        pytest.param(b'{"error":"no"}', id="a text"),
        pytest.param(b'{"error":{"code":"1","message":"a"}}', id="a code that is a text"),
        pytest.param(b'{"error":{"code":1}}', id="no words"),
        pytest.param(b'{"error":{"code":1,"message":null}}', id="no words but null"),
    ],
)
def test_what_is_no_error_is_given_to_nobody(line: bytes) -> None:
    assert envelope.error_of(Message(line, None, None), 1) is None
