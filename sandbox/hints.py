"""`Any` and `Literal` as `typing` has them, for a start, where its import costs 2.5 ms.

A type checker sees the real ones. At run time a `Literal[...]` is a class that knows its values
(`__args__`), so that `Literal[...] | None` is a union as any other, and that pydantic takes for the real
one; everything else that reads hints at run time is ours (`policy.codec`, `supply.lock_text`).
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from typing import Any as Any
    from typing import ClassVar
    from typing import Literal as Literal
else:
    Any = object

    class Literal:
        """`Literal["a", "b"]`: a subclass with those values, the same one for the same values."""

        __args__ = ()
        _made: ClassVar = {}

        def __class_getitem__(cls, values):
            args = values if isinstance(values, tuple) else (values,)
            key = *args, *map(type, args)  # `True == 1`
            if key not in cls._made:
                cls._made[key] = type("Literal", (cls,), {"__args__": args, "__origin__": Literal})
            return cls._made[key]

        @classmethod
        def __get_pydantic_core_schema__(cls, _source, handler):
            import typing

            return handler(typing.Literal[cls.__args__])


def origin(hint: Any) -> Any:
    """What a hint is made of: `tuple`, `Literal`, `types.UnionType`, and `type` for a plain class."""
    return getattr(hint, "__origin__", type(hint))
