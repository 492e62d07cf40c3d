"""`dataclass`, `field` and `replace` as the standard library has them, without its cost at every start.

The library's decorator compiles six methods a class and imports `inspect`: for the fifty classes between
a client and a running server that is a third of our own start. Here one set of methods serves all, and
`dataclasses.fields`, `asdict` and `replace` work on the result. Only what we use exists: fields with
defaults and factories, `frozen`, `slots`, `__post_init__`; no inheritance of fields.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it; importing that costs milliseconds too
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import Any

_MISSING: Any = object()


class _Field:
    """A default that is made anew for each instance."""

    __slots__ = ("factory",)

    def __init__(self, factory: Any) -> None:
        self.factory = factory


class _StandardFields:
    """`__dataclass_fields__`, made by the standard library the first time that somebody asks."""

    def __get__(self, instance: object, owner: type) -> dict[str, Any]:
        import dataclasses

        made: list[Any] = []
        for name, default in names_and_defaults(owner):
            options: dict[str, Any] = {}
            if isinstance(default, _Field):
                options = {"default_factory": default.factory}
            elif default is not _MISSING:
                options = {"default": default}
            made.append((name, owner.__annotations__[name], dataclasses.field(**options)))
        standard: Any = dataclasses.make_dataclass(owner.__name__, made)
        found: dict[str, Any] = standard.__dataclass_fields__
        type.__setattr__(owner, "__dataclass_fields__", found)
        return found


def names_and_defaults(cls: Any) -> tuple[tuple[str, Any], ...]:
    """The fields of a class of ours, in order."""
    found: tuple[tuple[str, Any], ...] = cls.__record__
    return found


def is_record(value: object) -> bool:
    """True for a class that `dataclass` made, and for its instances."""
    return hasattr(value, "__record__")


def names(value: object) -> tuple[str, ...]:
    """The names of the fields, in order."""
    return tuple(name for name, _ in names_and_defaults(value))


# --- the methods that all of them share ------------------------------------------------------------


def _init(self: Any, *values: Any, **named: Any) -> None:
    cls = type(self)
    setters = cls.__record_setters__
    if len(values) > len(setters):
        raise TypeError(f"{cls.__name__}() takes {len(setters)} arguments, {len(values)} were given")
    for setter, value in zip(setters, values, strict=False):
        setter(self, value)
    for at in range(len(values), len(setters)):
        name, default = cls.__record__[at]
        if name in named:
            value = named.pop(name)
        elif default is _MISSING:
            raise TypeError(f"{cls.__name__}() needs `{name}`")
        else:
            value = default.factory() if type(default) is _Field else default
        setters[at](self, value)
    if named:
        raise TypeError(f"{cls.__name__}() has no field, or two values, for {', '.join(named)}")
    if cls.__record_post__ is not None:
        cls.__record_post__(self)


def _values(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name, _ in type(self).__record__])


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name, _ in type(self).__record__)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _setattr(self: Any, name: str, _value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _setstate(self: Any, state: tuple[Any, ...]) -> None:
    for setter, value in zip(type(self).__record_setters__, state, strict=True):
        setter(self, value)


_SHARED = {"__repr__": _repr, "__eq__": _eq, "__getstate__": _values, "__setstate__": _setstate}
_FROZEN = {"__hash__": _hash, "__setattr__": _setattr, "__delattr__": _delattr}


# --- the decorator ---------------------------------------------------------------------------------


def _make(cls: Any, frozen: bool) -> Any:
    namespace = dict(cls.__dict__)
    own = tuple(namespace.get("__annotations__", {}))
    record = tuple([(name, namespace.pop(name, _MISSING)) for name in own])
    for implied in ("__dict__", "__weakref__"):
        namespace.pop(implied, None)
    shared = {**_SHARED, **_FROZEN} if frozen else {**_SHARED, "__hash__": None}
    namespace = {
        **shared, **namespace,
        "__slots__": own, "__match_args__": own, "__init__": _init, "__record__": record,
        "__record_post__": namespace.get("__post_init__"),
        "__dataclass_fields__": _StandardFields(),
    }  # fmt: skip
    made: Any = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    # The slots' own descriptors: they also set what `__setattr__` refuses to.
    made.__record_setters__ = tuple([made.__dict__[name].__set__ for name in own])
    return made


if not TYPE_CHECKING:

    def dataclass(*, frozen: bool = False, slots: bool = False) -> Any:
        """The decorator; every class has slots."""
        if not slots:
            raise TypeError("records have slots: write `slots=True`")
        return lambda cls: _make(cls, frozen)

    def field(*, default_factory: Any) -> Any:
        """A field whose default is made by a call."""
        return _Field(default_factory)

    def replace(record: Any, /, **changes: Any) -> Any:
        """A copy of `record`, ours or the library's, with some fields changed."""
        if not is_record(record):
            import dataclasses

            return dataclasses.replace(record, **changes)
        current = {name: getattr(record, name) for name, _ in type(record).__record__}
        return type(record)(**{**current, **changes})
