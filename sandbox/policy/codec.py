"""Policies to JSON values and back: only our own frozen dataclasses, every field present and of its type."""

from __future__ import annotations

import sys
import types
from functools import cache

from sandbox.hints import Any, Literal, origin
from sandbox.policy.model import Policy
from sandbox.records import is_record, names

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from typing import TypeVar

    _R = TypeVar("_R")


def encode(value: object) -> Any:
    """JSON values: a record is the list of its fields' values, in order."""
    if is_record(value):
        return [encode(getattr(value, name)) for name in names(value)]
    if isinstance(value, tuple):
        return [encode(one) for one in value]
    return value


def decode(value: object) -> Policy:
    """The policy that `encode` wrote; ValueError for anything else."""
    return decode_as(Policy, value)


def decode_as(kind: type[_R], value: object) -> _R:
    """The record of that class which `encode` wrote; ValueError for anything else."""
    record = _decode(kind, value)
    assert isinstance(record, kind)  # noqa: S101 - for the type checker
    return record


def _decode(hint: Any, value: object) -> object:
    kind = origin(hint)
    if is_record(hint):
        return _instance(hint, value)
    if kind is tuple:
        return _tuple(hint.__args__, value)
    if kind is Literal:
        # By type as well: `True == 1`.
        if any(type(value) is type(one) and value == one for one in hint.__args__):
            return value
    elif kind is types.UnionType:
        return None if value is None else _decode(hint.__args__[0], value)
    elif hint is float and type(value) in (float, int):
        return value
    elif type(value) is hint:
        return value
    raise ValueError(f"not a value of {hint}")


def _instance(hint: Any, value: object) -> object:
    hints = _hints(hint)
    if not isinstance(value, list) or len(value) != len(hints):
        raise ValueError(f"not the fields of {hint}")
    return hint(*map(_decode, hints, value))


def _tuple(items: tuple[Any, ...], value: object) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    if items[1:] == (...,):
        return tuple([_decode(items[0], one) for one in value])
    if len(items) != len(value):
        raise ValueError("a list of another length")
    return tuple(map(_decode, items, value))


@cache
def _hints(hint: Any) -> tuple[Any, ...]:
    """What `typing.get_type_hints` finds, at a fifth of its time: most fields are of few types."""
    return tuple(_meant(text, hint.__module__) for text in hint.__annotations__.values())


@cache
def _meant(annotation: str, module: str) -> Any:
    return eval(annotation, vars(sys.modules[module]))  # noqa: S307 - our own source's words
