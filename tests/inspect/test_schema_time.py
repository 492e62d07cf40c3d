"""Schemas and values that a stranger makes dear: checked in bounded time, or not checked at all."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from sandbox.inspect.arguments import Schema

SECONDS = 8.0
MANY = 60_000

DEAR: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "choices of numbers": ({"anyOf": [{"const": at + 0.5} for at in range(50)]}, [49.5] * MANY),
    "listed numbers": ({"enum": [at + 0.5 for at in range(4000)]}, [4000.5] * 4000),
    "bounds": ({"anyOf": [{"maximum": at + 0.5} for at in range(60)]}, [99.5] * MANY),
    "division": ({"multipleOf": 1e-300}, [1e300] * MANY),
}


@pytest.mark.parametrize("name", DEAR)
def test_items_are_held_to_a_dear_schema_in_bounded_time(name: str) -> None:
    schema, values = DEAR[name]
    bounded({"type": "array", "items": schema}, values)


def test_long_numbers_that_have_to_differ_take_bounded_time() -> None:
    bounded({"type": "array", "uniqueItems": True}, [10**400 + at for at in range(2000)])


def bounded(schema: dict[str, Any], values: list[Any]) -> None:
    began = time.process_time()
    Schema(schema).check(values, len(json.dumps(values)))
    assert time.process_time() - began < SECONDS


def test_what_a_tool_has_is_checked_all_the_same() -> None:
    rating = {"type": "number", "minimum": 0.5, "maximum": 5, "enum": [0.5, 1.0, 2.5, 5]}
    tags = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}
    schema = {"type": "object", "properties": {"rating": rating, "tags": tags}}
    assert Schema(schema).check({"rating": 2.5, "tags": ["a", "b"]}, 40) == ()
    assert Schema(schema).check({"rating": 3.5}, 40)
    assert Schema(schema).check({"tags": ["a", "a"]}, 40)
