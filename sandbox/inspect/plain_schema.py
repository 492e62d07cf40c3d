"""The JSON Schemas that most tools have, checked without a library: no import, no memory, a microsecond (P).

What is built here only ever says yes for sure; a no, and every schema that is not as plain as this, is for
the whole validator. So nothing here has to tell two faults apart, and a keyword that is not known here
makes a schema one that this file does not build.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sandbox.records import dataclass

Fits = Callable[[Any], bool]

MOST_PARTS: Final = 400
MOST_CHOICES: Final = 16
"""All choices of a schema together bound how often one value is looked at."""

_SAID: Final = frozenset(
    "$schema $comment $defs definitions title description default examples example deprecated readOnly "
    "writeOnly format contentEncoding contentMediaType enumNames nullable".split()
)
"""Keywords that say something and demand nothing (JSON Schema 2020-12, Validation 7, 8.2, 9)."""
_TYPES: Final[dict[str, frozenset[type]]] = {
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "null": frozenset({type(None)}),
    "number": frozenset({int, float}),
    "integer": frozenset({int}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}
_BOUNDS: Final[dict[str, str]] = {
    "minimum": "least",
    "maximum": "most",
    "minLength": "shortest",
    "maxLength": "longest",
    "minItems": "fewest",
    "maxItems": "most items",
}


class _NotPlain(Exception):
    """The schema is for the whole validator."""


def plain(schema: Any) -> Fits | None:
    """Whether a value certainly fits `schema`, as a function; None where that is not for this file."""
    try:
        return _Builder(schema).build(schema, ())
    except _NotPlain:
        return None


class _Builder:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._parts = 0
        self._choices = 0

    def build(self, schema: Any, through: tuple[str, ...]) -> Fits:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise _NotPlain
        if schema is True:
            return _anything
        if type(schema) is not dict:
            raise _NotPlain
        if "$ref" in schema:
            return self._referred(schema, through)
        if "anyOf" in schema:
            return self._any(schema, through)
        return self._one(schema, through)

    def _referred(self, schema: dict[str, Any], through: tuple[str, ...]) -> Fits:
        """A reference into the schema itself; one that comes back to itself is not plain."""
        at = schema["$ref"]
        if type(at) is not str or at in through or schema.keys() - _SAID - {"$ref"}:
            raise _NotPlain
        return self.build(_definition(self._root, at), (*through, at))

    def _any(self, schema: dict[str, Any], through: tuple[str, ...]) -> Fits:
        options = schema["anyOf"]
        if schema.keys() - _SAID - {"anyOf"} or type(options) is not list or not options:
            raise _NotPlain
        self._choices += len(options)
        if self._choices > MOST_CHOICES:
            raise _NotPlain
        built = tuple(self.build(option, through) for option in options)
        if len(built) == 2:
            first, second = built
            return lambda value: first(value) or second(value)
        return lambda value: any(fits(value) for fits in built)

    def _one(self, schema: dict[str, Any], through: tuple[str, ...]) -> Fits:
        types = _types(schema.get("type"))
        rules = {name: value for name, value in schema.items() if name not in _SAID and name != "type"}
        if not rules:
            return _anything if types is None else _of(types)
        words = _words(rules)
        if words is not None and not rules and (types is None or str in types):
            return lambda value: type(value) is str and value in words
        if words is None and types == _TYPES["object"]:
            return self._object(rules, through)
        if words is None and types == _TYPES["array"]:
            return self._array(rules, through)
        if words is None and types is not None and not types & {list, dict}:
            return _bounded(types, _Bounds(rules))
        raise _NotPlain

    def _object(self, rules: dict[str, Any], through: tuple[str, ...]) -> Fits:
        fields = rules.pop("properties", {})
        required = rules.pop("required", [])
        rest = rules.pop("additionalProperties", True)
        if rules or type(fields) is not dict or not _are_words(required):
            raise _NotPlain
        built = {name: self.build(field, through) for name, field in fields.items()}
        others = None if rest is True else _nothing if rest is False else self.build(rest, through)
        return _record(built, frozenset(required), others)

    def _array(self, rules: dict[str, Any], through: tuple[str, ...]) -> Fits:
        bounds = _Bounds({name: rules.pop(name) for name in ("minItems", "maxItems") if name in rules})
        item = self.build(rules.pop("items", True), through)
        if rules:
            raise _NotPlain
        least, most = bounds.fewest, bounds.most_items
        return lambda value: (
            type(value) is list and least <= len(value) <= most and all(item(inner) for inner in value)
        )


@dataclass(frozen=True, slots=True)
class _Limits:
    least: float
    most: float


class _Bounds:
    """The limits of a plain value, or of a list's length."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        if rules.keys() - _BOUNDS.keys() or not all(type(limit) in (int, float) for limit in rules.values()):
            raise _NotPlain
        self.number = _Limits(rules.get("minimum", -_ENDLESS), rules.get("maximum", _ENDLESS))
        self.length = _Limits(rules.get("minLength", 0), rules.get("maxLength", _ENDLESS))
        self.fewest = rules.get("minItems", 0)
        self.most_items = rules.get("maxItems", _ENDLESS)


_ENDLESS: Final = float("inf")


def _anything(value: Any) -> bool:
    return True


def _nothing(value: Any) -> bool:
    return False


def _of(types: frozenset[type]) -> Fits:
    # A float is whole or not by its value: that is for the whole validator.
    return lambda value: type(value) in types


def _bounded(types: frozenset[type], bounds: _Bounds) -> Fits:
    number, length = bounds.number, bounds.length

    def fits(value: Any) -> bool:
        kind = type(value)
        if kind not in types:
            return False
        if kind is str:
            return length.least <= len(value) <= length.most
        return kind in (bool, type(None)) or number.least <= value <= number.most

    return fits


def _record(fields: dict[str, Fits], required: frozenset[str], others: Fits | None) -> Fits:
    def fits(value: Any) -> bool:
        if type(value) is not dict:
            return False
        for name, inner in value.items():
            check = fields.get(name, others)
            if check is not None and not check(inner):
                return False
        return value.keys() >= required

    return fits


def _types(given: Any) -> frozenset[type] | None:
    """The types that `type` names; None where it is absent."""
    if given is None:
        return None
    names = given if type(given) is list else [given]
    if not _are_words(names) or not all(name in _TYPES for name in names):
        raise _NotPlain
    return frozenset().union(*(_TYPES[name] for name in names))


def _words(rules: dict[str, Any]) -> frozenset[str] | None:
    """The words of `enum` or `const`, taken out of the rules; a number could equal `true` here."""
    options = rules.pop("enum", None)
    if "const" in rules:
        options = [rules.pop("const")] if options is None else None
    if options is None:
        return None
    if not _are_words(options):
        raise _NotPlain
    return frozenset(options)


def _are_words(value: Any) -> bool:
    return type(value) is list and all(type(one) is str for one in value)


def _definition(root: Any, at: str) -> Any:
    """What stands at `#/$defs/Name`; longer and escaped ways are not plain."""
    steps = at.split("/")
    if len(steps) != 3 or steps[0] != "#" or "~" in at or "%" in at or "$id" in root:
        raise _NotPlain
    table = root.get(steps[1])
    if type(table) is not dict or steps[2] not in table:
        raise _NotPlain
    return table[steps[2]]
