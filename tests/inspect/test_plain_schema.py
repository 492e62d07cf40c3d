"""A plain schema's yes is the whole validator's yes; what is not plain is left to that."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.inspect.plain_schema import plain

OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}

PLAIN = [
    pytest.param(True, 5, True, id="anything"),
    pytest.param({}, [1], True, id="no demand"),
    pytest.param({"title": "t", "x": 1} | {"title": "t"}, 1, None, id="a keyword that is not known"),
    pytest.param(OBJECT, {"a": "b"}, True, id="an object"),
    pytest.param(OBJECT, {"a": "b", "c": 1}, True, id="and more"),
    pytest.param(OBJECT, {}, False, id="without what is required"),
    pytest.param(OBJECT | {"additionalProperties": False}, {"a": "b", "c": 1}, False, id="and no more"),
    pytest.param(
        OBJECT | {"additionalProperties": {"type": "null"}}, {"a": "b", "c": None}, True, id="a table"
    ),
    pytest.param({"type": "integer"}, True, False, id="true is no number"),
    pytest.param({"type": "integer", "minimum": 0, "maximum": 9}, 10, False, id="too much"),
    pytest.param({"type": ["integer", "null"], "minimum": 3}, None, True, id="a bound is of numbers"),
    pytest.param({"type": "string", "minLength": 2}, "a", False, id="too short"),
    pytest.param({"enum": ["a", "b"]}, "b", True, id="a word"),
    pytest.param({"enum": [1, "b"]}, "b", None, id="one could equal true"),
    pytest.param({"const": "a"}, "b", False, id="another word"),
    pytest.param({"type": "array", "items": {"type": "number"}, "maxItems": 2}, [1, 2.5], True, id="a list"),
    pytest.param({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, True, id="a choice"),
    pytest.param({"$ref": "#/$defs/w", "$defs": {"w": {"type": "string"}}}, "a", True, id="a definition"),
    pytest.param({"$ref": "#/$defs/w", "$defs": {"w": {"$ref": "#/$defs/w"}}}, "a", None, id="a circle"),
    pytest.param({"$ref": "http://x/y"}, "a", None, id="elsewhere"),
    pytest.param({"type": "string", "pattern": "a"}, "a", None, id="a pattern"),
    pytest.param({"type": "object", "properties": {"a": {"not": {}}}}, {}, None, id="a negation inside"),
    pytest.param({"type": "array", "items": [{"type": "string"}]}, ["a"], None, id="a tuple of draft 7"),
    pytest.param({"type": "object", "required": True}, {}, None, id="draft 3"),
    pytest.param({"anyOf": [{"type": "string"}] * 17}, "a", None, id="too many choices"),
    pytest.param(None, {}, None, id="no schema"),
]


@pytest.mark.parametrize(("schema", "value", "says"), PLAIN)
def test_what_is_plain(schema: Any, value: Any, says: bool | None) -> None:
    fits = plain(schema)
    assert (None if fits is None else fits(value)) is says


WORDS = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.0]) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from("string integer number boolean null array object".split())


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(WORDS, inner, max_size=3),
            "required": st.lists(WORDS, max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
            "items": inner,
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 2),
            "minimum": st.integers(-2, 2),
            "maxLength": st.integers(0, 2),
            "enum": st.lists(WORDS | st.integers(0, 1), min_size=1, max_size=3, unique=True),
            "const": WORDS,
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b"]),
            "pattern": st.just("a"),
            "description": st.just("d"),
        },
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.fixed_dictionaries({"type": TYPES}), _schemas, max_leaves=6
)


@settings(max_examples=600, deadline=None)
@given(SCHEMAS, st.fixed_dictionaries({"a": SCHEMAS, "b": SCHEMAS}), VALUES)
def test_a_plain_yes_is_never_the_validators_no(schema: Any, definitions: Any, value: Any) -> None:
    if isinstance(schema, dict):
        schema = schema | {"$defs": definitions}
    fits = plain(schema)
    if fits is None or not fits(value):
        return
    try:
        whole = jsonschema_rs.Draft202012Validator(schema, offline=True)
    except ValueError:
        return  # such a schema is refused where it is listed
    assert whole.is_valid(value), (schema, value)
