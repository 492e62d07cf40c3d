"""A schema is weighed before it is used: circles, bombs and what is elsewhere stop there, in bounded time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.inspect.arguments import Schema
from sandbox.inspect.schema_guard import MOST_LOOKS, Unfit, states, weigh


def chain(length: int, width: int) -> dict[str, Any]:
    """Definitions of which each tries the next several times: `width ** length` looks at one value."""
    steps = {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{j}"}] * width} for i, j in pairwise(range(length + 1))}
    return {"$ref": "#/$defs/a0", "$defs": steps | {f"a{length}": {"type": "string"}}}


NODE = {"$ref": "#/$defs/n"}
TREE = {"$defs": {"n": {"type": "object", "properties": {"l": NODE, "r": NODE, "c": {"items": NODE}}}}} | NODE
BOTH = {"anyOf": [{"properties": {"and": {"items": NODE}}}, {"properties": {"or": {"items": NODE}}}]}
TWICE = {"anyOf": [{"properties": {"a": NODE}}, {"properties": {"a": NODE}}]}

UNFIT = [
    pytest.param({"$ref": "http://example.org/x.json"}, "protocol.reference", id="elsewhere by http"),
    pytest.param({"$ref": "file:///etc/passwd"}, "protocol.reference", id="elsewhere in files"),
    pytest.param({"properties": {"a": {"$ref": "x.json#/a"}}}, "protocol.reference", id="beside it"),
    pytest.param({"properties": {"a": {"$ref": 5}}}, "protocol.reference", id="no reference at all"),
    pytest.param({"$ref": "#"}, "protocol.schema", id="itself"),
    pytest.param({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
                 "protocol.schema", id="a circle"),
    pytest.param({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"not": {"$ref": "#/$defs/a"}}]}}},
                 "protocol.schema", id="a circle through a negation"),
    pytest.param({"$ref": "#/$defs/gone"}, "protocol.schema", id="a part that is not there"),
    pytest.param({"$dynamicRef": "#n"}, "protocol.schema", id="decided by its use"),
    pytest.param({"properties": {"a": {"$id": "http://x/y"}}}, "protocol.schema", id="an address inside"),
    pytest.param(chain(30, 2), "protocol.schema", id="two to the thirty"),
    pytest.param(chain(3, 30), "protocol.schema", id="thirty to the three"),
    pytest.param({"enum": [{"a": i} for i in range(5000)]}, "protocol.schema", id="many objects to compare"),
    pytest.param({"properties": {str(i): {"properties": {}} for i in range(9000)}}, "protocol.schema",
                 id="huge"),
    pytest.param({"enum": [i + 0.5 for i in range(600)]}, "protocol.schema", id="many numbers to compare"),
    pytest.param({"const": {"a": [0] * 600}}, "protocol.schema", id="a large value to compare"),
    pytest.param({"multipleOf": 1e-300}, "protocol.schema", id="a division without end"),
    pytest.param({"dependentRequired": {f"x{i}": ["a"] * 30 for i in range(30)}}, "protocol.schema",
                 id="names that need names"),
    pytest.param({"x-own": [[] for _ in range(60_000)]}, "protocol.schema", id="much that says nothing"),
    pytest.param({"pattern": "a" * 2000}, "protocol.schema", id="a long pattern"),
    pytest.param({"properties": {str(i): {"pattern": "a"} for i in range(100)}}, "protocol.schema",
                 id="many patterns"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "rule"), UNFIT)
def test_what_must_not_be_used_is_found_in_no_time(schema: Any, rule: str) -> None:
    took = []
    for _ in range(3):  # the collector walks all that other tests have left, whosever turn it is
        began = time.process_time()
        with pytest.raises(Unfit) as caught:
            weigh(schema)
        took.append(time.process_time() - began)
        assert caught.value.rule == rule
    assert min(took) < 0.3


def test_such_a_schema_would_indeed_take_the_validator_forever() -> None:
    took = []
    for length in (8, 14):
        validator = jsonschema_rs.Draft202012Validator(chain(length, 2))
        took.append(min(_seconds(validator) for _ in range(3)))
    assert took[1] > 8 * took[0]


def _seconds(validator: jsonschema_rs.Draft202012Validator) -> float:
    began = time.process_time()
    assert list(validator.iter_errors(5))
    return time.process_time() - began


FIT = [
    pytest.param({"$ref": "#/$defs/n"} | TREE, id="a tree"),
    pytest.param({"$defs": {"n": BOTH}} | NODE, id="an expression"),
    pytest.param({"$defs": {"n": {"$anchor": "x", "type": "string"}}, "$ref": "#x"}, id="by an anchor"),
    pytest.param({"$defs": {"a/b": {"type": "string"}}, "$ref": "#/$defs/a~1b"}, id="an escaped way"),
    pytest.param({"properties": {"$ref": {"type": "string"}}}, id="a field of that name"),
    pytest.param({"definitions": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/definitions/a"}}},
                 id="draft 7"),
    pytest.param({"properties": {str(i): {"type": "string"} for i in range(1000)}}, id="many fields"),
]  # fmt: skip


@pytest.mark.parametrize("schema", FIT)
def test_schemas_that_are_in_use_may_be_used_to_any_depth(schema: Any) -> None:
    weight = weigh(schema)
    assert weight.depth == 100
    assert weight.looks <= 16


def test_a_definition_that_comes_back_twice_is_used_as_deep_as_it_is_cheap() -> None:
    weight = weigh({"$defs": {"n": TWICE}} | NODE)
    assert 4 <= weight.depth < 12
    assert weight.looks <= MOST_LOOKS
    schema = Schema({"$defs": {"n": TWICE | {"type": "object"}}} | NODE)
    flat: Any = {"a": 5}
    assert schema.check(flat, 100)
    for _ in range(40):
        flat = {"a": flat}
    began = time.process_time()
    assert not schema.check(flat, 400)
    assert time.process_time() - began < 0.2


PATTERNS = [
    ("a{1000}", 1000), ("(a{100}){100}", 10_000), ("^a{1,63}$", 64), (r"\p{L}{3}", 12), ("[{}9]{2}", 8),
    (r"\{2000\}", 10), ("(((", 0), ("a)", 1), ("a{,5}", 5), ("a{2}{3}", 6), ("", 0),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "least"), PATTERNS)
def test_a_pattern_weighs_what_its_repetitions_make_of_it(pattern: str, least: int) -> None:
    assert least <= states(pattern) <= 4 * least + 8


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="a(){}[]0123456789,\\^$.*+?|p", max_size=1000))
def test_any_text_can_be_weighed_as_a_pattern(pattern: str) -> None:
    began = time.process_time()
    assert states(pattern) >= 0
    assert time.process_time() - began < 0.3


DEAR = [
    pytest.param("[01]*1[01]{%d}x", "01", id="many states at once"),
    pytest.param(r".*\w{%d}x", "a", id="of letters"),
    pytest.param(r"(?:.*a){%d}", "ab1 ", id="repeated"),
    pytest.param(r"(?=.*x)(?!.*y)a{1,%d}", "a", id="looking around"),
]


@pytest.mark.parametrize("times", [10, 300, 3000])
@pytest.mark.parametrize(("pattern", "text"), DEAR)
def test_a_pattern_takes_bounded_time_whatever_it_and_the_text_are(
    pattern: str, text: str, times: int
) -> None:
    schema = Schema({"type": "string", "pattern": pattern % times})
    for size in (1 << 10, 1 << 12, 1 << 14, 1 << 17, 1 << 20):
        value = (text * size)[:size]
        began = time.process_time()
        schema.check(value, size)
        assert time.process_time() - began < 1.5, size


def test_nothing_is_fetched() -> None:
    import socket
    from threading import Thread

    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)

        def listen() -> None:
            try:
                server.accept()[0].close()
            except TimeoutError:
                return
            heard.append("fetched")

        thread = Thread(target=listen)
        thread.start()
        at = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        for schema in ({"$ref": at}, {"$schema": at, "type": "object"}, {"$id": at, "$ref": "y"}):
            Schema(schema).check({"a": 1}, 10)
        thread.join()
    assert not heard
