"""The words of type hints that a start loads mean to pydantic what `typing`'s mean."""

from __future__ import annotations

import types
import typing

import pytest
from pydantic import TypeAdapter, ValidationError

from sandbox.hints import Any, Literal, origin

Ours = typing.cast(typing.Any, Literal)  # a type checker sees typing's, of which half of this is untrue


def test_the_same_values_are_the_same_hint() -> None:
    assert Ours["a", "b"] is Ours["a", "b"]
    assert Ours["a", "b"] is not Ours["b", "a"]
    assert Ours["a"].__args__ == ("a",)
    assert Ours[0, 1] is not Ours[False, True]  # `True == 1`


def test_it_is_part_of_a_union() -> None:
    union = Ours["a"] | None
    assert origin(union) is types.UnionType
    assert union.__args__ == (Ours["a"], type(None))


@pytest.mark.parametrize(
    ("hint", "made_of"),
    [
        pytest.param(Ours["a", "b"], Ours, id="values"),
        pytest.param(tuple[str, ...], tuple, id="a tuple"),
        pytest.param(str | None, types.UnionType, id="a union"),
        pytest.param(str, type, id="a class"),
        pytest.param(Any, type, id="anything"),
    ],
)
def test_what_a_hint_is_made_of(hint: object, made_of: object) -> None:
    assert origin(hint) is made_of


@pytest.mark.parametrize("values", [("a", "b"), (0, 1, 2), (True,), ("a", 1, None)])
@pytest.mark.parametrize("value", ["a", "b", "", 0, 1, 2, True, False, None, ["a"]])
def test_pydantic_takes_what_it_takes_for_typings(values: tuple[object, ...], value: object) -> None:
    assert judged(Ours[values], value) == judged(typing.Literal[values], value)


def judged(hint: Any, value: object) -> tuple[object, ...]:
    """The schema, and what becomes of the value, by type as well."""
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    try:
        taken = adapter.validate_python(value)
    except ValidationError as refused:
        return adapter.json_schema(), refused.errors()
    return adapter.json_schema(), type(taken), taken
