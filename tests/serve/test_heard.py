"""A child's output is read as the strict reader reads it, however it is cut, and at little cost."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.serve.heard import LINE_MAX, Heard, Lines, Strange
from sandbox.wire.jsonrpc import Frame, FrameReader

KEYS = st.one_of(st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=12))
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=4),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
META = st.one_of(JSON, st.fixed_dictionaries({"io.modelcontextprotocol/subscriptionId": KEYS | JSON}))
PARAMS = st.fixed_dictionaries(
    {}, optional={"progressToken": KEYS | JSON, "requestId": KEYS | JSON, "_meta": META, "more": JSON}
)
METHODS = st.sampled_from(["notifications/progress", "notifications/cancelled", "x"])
MESSAGES = st.one_of(
    st.fixed_dictionaries({"id": KEYS, "result": PARAMS}),
    st.fixed_dictionaries({"id": KEYS, "error": st.just({"code": -32601, "message": ""})}),
    st.fixed_dictionaries({"method": METHODS, "params": PARAMS}),
    st.fixed_dictionaries({"id": KEYS, "method": METHODS, "params": PARAMS}),
)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"


def _key(value: object) -> int | str | None:
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


@given(MESSAGES)
def test_it_is_understood_as_the_strict_reader_understands_it(message: dict[str, Any]) -> None:
    heard, (frame,) = Heard(_line(message)), FrameReader().feed(_line(message))
    if not isinstance(frame, Frame):
        return  # an id that no relay passes on
    assert (heard.kind, heard.id, heard.method) == (frame.kind, frame.id, frame.method)
    params = message.get("params", {})
    meta = message.get("result", params).get("_meta")
    if frame.kind != "response":
        assert heard.token == _key(params.get("progressToken"))
        assert heard.request == _key(params.get("requestId"))
    told = meta.get("io.modelcontextprotocol/subscriptionId") if isinstance(meta, dict) else None
    assert heard.subscription == _key(told)
    assert heard.result == message.get("result")
    assert heard.code == message.get("error", {}).get("code")


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(1, 40), min_size=1))
def test_how_it_is_cut_makes_no_difference(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    whole, lines, found = b"".join(map(_line, messages)), Lines(), list[bytes]()
    at = 0
    while at < len(whole):
        size = cuts[at % len(cuts)]
        found += [one.data for one in lines.feed(whole[at : at + size])]
        at += size
    assert found == [_line(one) for one in messages]


@pytest.mark.parametrize(
    "line", [b"\n", b"x\n", b"[]\n", b'{"method":1}\n', b"{}x\n", b'{"id":1}{}\n', b"\xff\n"]
)
def test_what_no_relay_writes_ends_the_child(line: bytes) -> None:
    with pytest.raises(Strange):
        Lines().feed(line)


def test_a_line_without_end_is_bounded() -> None:
    lines = Lines()
    assert lines.feed(b"x" * LINE_MAX) == []
    with pytest.raises(Strange):
        lines.feed(b"x")


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param({"params": {f"k{n}": n for n in range(100_000)}}, id="many names"),
        pytest.param({"params": {"a": [[]] * 200_000}}, id="many lists"),
        pytest.param({"params": {"_meta": {"progressToken": "x" * 4_000_000}}}, id="a long token"),
    ],
)
def test_a_hostile_message_costs_no_more_than_to_pass_over_it(hostile: dict[str, Any]) -> None:
    line = _line({"method": "notifications/progress", **hostile})
    strict, light = [], []
    for _ in range(3):
        began = time.thread_time()
        FrameReader().feed(line)
        strict.append(time.thread_time() - began)
        began = time.thread_time()
        heard = Heard(line)
        assert heard.token is None
        assert heard.subscription is None
        light.append(time.thread_time() - began)
    assert min(light) < min(strict) / 2
