"""Our records are the standard library's dataclasses in everything that we use of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from sandbox import records


def example(maker: Any) -> Any:
    """The same class, once by the library and once by us."""

    @maker.dataclass(frozen=True, slots=True)
    class Example:
        """What it is."""

        name: str
        size: int = 3
        parts: dict[str, int] = maker.field(default_factory=dict)

        def __post_init__(self) -> None:
            if self.size < 0:
                raise ValueError("negative")

        @property
        def double(self) -> int:
            return self.size * 2

    return Example


OURS, STANDARD = example(records), example(dataclasses)
BOTH = pytest.mark.parametrize("made", [pytest.param(OURS, id="ours"), pytest.param(STANDARD, id="standard")])


@BOTH
def test_values_by_place_by_name_and_by_default(made: Any) -> None:
    one = made("a", parts={"x": 1})
    assert (one.name, one.size, one.parts, one.double) == ("a", 3, {"x": 1}, 6)
    assert made("a").parts is not made("a").parts
    assert one == made("a", 3, {"x": 1}) != made("b")
    assert one != ("a", 3, {"x": 1})
    assert repr(one).endswith("Example(name='a', size=3, parts={'x': 1})")


@BOTH
@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param((), {}, id="a field without a value"),
        pytest.param(("a", 1, {}, 4), {}, id="a value too many"),
        pytest.param(("a",), {"name": "b"}, id="two values for one field"),
        pytest.param(("a",), {"nome": "b"}, id="no such field"),
    ],
)
def test_wrong_values_are_type_errors(
    made: Any, values: tuple[object, ...], named: dict[str, object]
) -> None:
    with pytest.raises(TypeError):
        made(*values, **named)


@BOTH
def test_nothing_changes_afterwards(made: Any) -> None:
    one = made("a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "b"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.name
    with pytest.raises((AttributeError, TypeError)):
        one.other = 1
    assert not hasattr(one, "__dict__")
    with pytest.raises(ValueError, match="negative"):
        made("a", -1)


@BOTH
def test_the_librarys_own_functions_work(made: Any) -> None:
    one = made("a", 1, {"x": 1})
    assert dataclasses.is_dataclass(one)
    assert [(f.name, f.type) for f in dataclasses.fields(made)] == [
        ("name", "str"),
        ("size", "int"),
        ("parts", "dict[str, int]"),
    ]
    assert dataclasses.fields(made)[1].default == 3
    assert dataclasses.asdict(one) == {"name": "a", "size": 1, "parts": {"x": 1}}
    assert dataclasses.replace(one, size=2) == made("a", 2, {"x": 1})
    assert copy.copy(one) == copy.deepcopy(one) == one


def test_ours_are_replaced_hashed_matched_and_copied() -> None:
    @records.dataclass(frozen=True, slots=True)
    class Pair:
        left: int
        right: int = 0

    assert records.replace(Pair(1), right=2) == Pair(1, 2)
    assert len({Pair(1), Pair(1, 0), Pair(2)}) == 2
    match Pair(4, 5):
        case Pair(left, right):
            assert (left, right) == (4, 5)
    assert records.names(Pair) == records.names(Pair(1)) == ("left", "right")
    assert records.is_record(Pair(1))
    assert not records.is_record((1, 0))
    with pytest.raises(TypeError):
        records.replace(Pair(1), middle=2)
    assert records.replace(STANDARD("a"), size=2) == STANDARD("a", 2)


@records.dataclass(slots=True)
class Open:
    """One that may change."""

    items: list[int] = records.field(default_factory=list)


def test_one_that_is_not_frozen_changes_and_has_no_hash() -> None:
    one = Open()
    one.items = [1]
    assert one == Open([1])
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes
