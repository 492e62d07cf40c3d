"""The tools that a server has listed, and whether arguments and results keep to their schemas (P).

A schema is the server's own word about itself, so it is a stranger's: it is weighed before it is used
(`schema_guard`), compiled by an engine whose patterns take linear time, and fetches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from sandbox.inspect.plain_schema import Fits, plain
from sandbox.inspect.schema_guard import Budget, Unfit, Weight, weigh
from sandbox.patterns import regex
from sandbox.records import dataclass
from sandbox.wire.splice import Place

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError, Validator

MOST_TOOLS: Final = 4096
MOST_BYTES: Final = 16 << 20
"""Of the lists whose schemas are kept; a session's tools are a tenth of a percent of that."""
MOST_TOLD: Final = 4
MOST_READ: Final = 64
MOST_NAMES: Final = 1000

_WORD: Final = regex(r"[A-Za-z_$][\w$.-]{0,47}", re.ASCII)

_PLAIN_BYTES: Final = 16 << 10
"""Of a larger message the whole validator is the faster one."""
_WORK: Final = 64 << 20
"""Looks, or steps of patterns, times bytes: half a second at the very most."""
_AROUND_BYTES: Final = 4 << 10
"""What looks around may read all of a text once more at each of its characters."""
_UNIQUE_BYTES: Final = 64 << 10
"""Items that have to differ are compared each with each where they are long numbers."""
_DETAIL: Final = 4 << 20
"""Looks times bytes up to which every fault is looked for: each holds a copy of what it is about."""
_ERRORS: Final = 100_000
"""Looks times values times options: every fault holds a copy of all options."""
_PATTERN_SIZE: Final = 4 << 20
_BACKTRACKS: Final = 10_000

_TAKEN: Final = frozenset(
    "additionalProperties unevaluatedProperties format contentEncoding contentMediaType".split()
)
_UNDECIDED: Final = frozenset({"OneOfMultipleValid", "BacktrackLimitExceeded", "RegexEngineFailure"})
_OLD_DRAFTS: Final = {"draft-04": 4, "draft-06": 6, "draft-07": 7, "2019-09": 2019}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a value is not what the schema says; `slight` where servers and SDKs commonly take it anyway.

    The place and the name of what is `missing` are the sender's words and the schema's; the reason is ours.
    """

    place: Place
    reason: str
    slight: bool
    missing: str = ""


_MISFIT: Final = Mismatch((), "does not fit the tool's schema", slight=False)


class Schema:
    """One schema of a server's, compiled when it is first needed; `trouble` says why it cannot be."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._plain: Fits | None = None
        self._fresh = True
        self._weight: Weight | None = None
        self._whole: Validator | None = None
        self.trouble: Unfit | None = None

    def check(self, value: Any, size: int) -> tuple[Mismatch, ...]:
        """Where `value`, from a message of `size` bytes, does not fit; nothing where that cannot be told."""
        if self._fresh:
            self._fresh, self._plain = False, plain(self._raw)
        if size <= _PLAIN_BYTES and self._plain is not None and self._plain(value):
            return ()
        if self.compile() is not None or not self._affordable(value, size):
            return ()
        whole, weight = self._whole, self._weight
        if whole is None or weight is None or whole.is_valid(value):
            return ()
        if weight.looks * size > _DETAIL or not _few(value, _ERRORS // (weight.looks * (1 + weight.options))):
            return (_MISFIT,)
        found = tuple(islice(self._mismatches(whole.iter_errors(value)), MOST_READ))
        wrong = tuple(one for one in found if not one.slight)
        if not wrong and len(found) == MOST_READ:
            # What is slight is not let hide what is not.
            return (_MISFIT,)
        return (wrong or found)[:MOST_TOLD]

    def names(self) -> frozenset[str]:
        """What the schema calls members, as far as it is a plain word that may be repeated."""
        found: set[str] = set()
        todo = [self._raw]
        while todo and len(found) < MOST_NAMES:
            one = todo.pop()
            if type(one) is dict:
                found.update(name for name in _fields(one) if _WORD.fullmatch(name))
                todo += one.values()
            elif type(one) is list:
                todo += one
        return frozenset(found)

    def compile(self, budget: Budget | None = None) -> Unfit | None:
        """Why this schema cannot be used, or None; the work is taken from the budget."""
        if self.trouble is None and self._whole is None:
            try:
                self._weight = weigh(self._raw, budget)
                self._whole = _compiled(self._raw)
            except Unfit as unfit:
                self.trouble = unfit
        return self.trouble

    def _affordable(self, value: Any, size: int) -> bool:
        weight = self._weight
        if weight is None or max(weight.looks, 2 * weight.steps) * size > _WORK:
            return False
        if (weight.around and size > _AROUND_BYTES) or (weight.unique and size > _UNIQUE_BYTES):
            return False
        return weight.depth >= 100 or _no_deeper(value, weight.depth)

    def _mismatches(self, errors: Iterable[ValidationError]) -> Iterator[Mismatch]:
        for error in errors:
            place = tuple(error.instance_path)
            yield Mismatch(place, _reason(error), self._slight(error), getattr(error.kind, "property", ""))

    def _slight(self, error: ValidationError) -> bool:
        """Whether servers commonly take such a value although their schema does not.

        Schemas that libraries derive from types are stricter than the parsers that they derive from the
        same types: those fill defaults in, drop what they do not know, and read a number out of a string.
        """
        name = error.kind.name
        if name in _TAKEN or type(error.kind).__name__ in _UNDECIDED:
            return True
        if name == "type":
            return _is_coerced(error.instance, error.kind.value if hasattr(error.kind, "value") else None)
        if name == "required":
            return self._has_default(error)
        if name in ("anyOf", "oneOf"):
            branches = getattr(error.kind, "context", None) or ()
            return any(branch and all(map(self._slight, branch)) for branch in branches)
        return False

    def _has_default(self, error: ValidationError) -> bool:
        at: Any = self._raw
        for step in error.schema_path[:-1]:
            at = at.get(step) if isinstance(at, dict) else _item(at, step)
        missing = getattr(error.kind, "property", None)
        fields = at.get("properties") if isinstance(at, dict) else None
        field = fields.get(missing) if isinstance(fields, dict) else None
        return isinstance(field, dict) and "default" in field


class Tool:
    """One listed tool: the schema of its arguments and that of its result, where it has one."""

    def __init__(self, arguments: Any, result: Any) -> None:
        self.arguments = Schema(arguments)
        self.result = None if result is None else Schema(result)


class Tools:
    """The tools listed so far; `whole` once a list was read from its first page to its last."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._bytes = 0
        self._listed: set[str] = set()
        self._next: str | None = None
        self.whole = False

    def learn(self, tools: list[Any], size: int, cursor: str | None, following: str | None) -> None:
        """Remember one page of the list, of `size` bytes, asked for with `cursor`, if there is room."""
        if cursor is None:
            self._listed = set()
        elif cursor != self._next:
            # A page out of order: of this walk it cannot be told what it has seen.
            following = ""
        self._next = following
        self._bytes += size
        if self._bytes > MOST_BYTES:
            # What is listed now counts; what earlier lists said of other tools is forgotten.
            self._tools, self._bytes = {}, size
        for tool in tools:
            if type(tool) is dict and type(tool.get("name")) is str and len(self._tools) < MOST_TOOLS:
                self._tools[tool["name"]] = Tool(tool.get("inputSchema"), tool.get("outputSchema"))
                self._listed.add(tool["name"])
        self.whole = following is None and len(self._tools) < MOST_TOOLS

    def changed(self) -> None:
        """The server says that its list is another now."""
        self.whole = False

    def get(self, name: str | None) -> Tool | None:
        """A listed tool."""
        return None if name is None else self._tools.get(name)

    def lacks(self, name: str | None) -> bool:
        """Whether the server's own list, read whole, has no tool of that name."""
        return self.whole and name not in self._listed


def _compiled(raw: Any) -> Validator:
    """The validator of a weighed schema."""
    import jsonschema_rs as engine

    draft = _draft(engine, raw)
    linear = engine.RegexOptions(size_limit=_PATTERN_SIZE)
    bounded = engine.FancyRegexOptions(backtrack_limit=_BACKTRACKS, size_limit=_PATTERN_SIZE)
    for options in (linear, bounded):
        try:
            made: Validator = draft(raw, validate_formats=False, pattern_options=options, offline=True)
            return made
        except (ValueError, engine.ReferencingError):
            continue
    raise Unfit("protocol.schema", "is no valid JSON Schema")


def _draft(engine: Any, raw: Any) -> Any:
    """The class of the draft that `$schema` names; of none, that of MCP (2025-11-25, JSON Schema Usage)."""
    named = raw.get("$schema") if type(raw) is dict else None
    number = next((n for text, n in _OLD_DRAFTS.items() if type(named) is str and text in named), 2020)
    return {
        4: engine.Draft4Validator,
        6: engine.Draft6Validator,
        7: engine.Draft7Validator,
        2019: engine.Draft201909Validator,
        2020: engine.Draft202012Validator,
    }[number]


def _fields(schema: dict[str, Any]) -> list[str]:
    fields = schema.get("properties")
    return [*fields] if type(fields) is dict else []


def _no_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = (
            [
                inner
                for one in level
                for inner in (one.values() if type(one) is dict else one)
                if type(inner) in (dict, list)
            ]
            if level and type(level[0]) in (dict, list)
            else []
        )
        if not level:
            return True
    return False


def _few(value: Any, most: int) -> bool:
    """Whether there are not more than `most` values in a value."""
    todo = [value]
    while todo and most >= 0:
        one = todo.pop()
        most -= 1
        todo += one.values() if type(one) is dict else one if type(one) is list else ()
    return most >= 0


def _item(at: Any, step: Any) -> Any:
    return at[step] if isinstance(at, list) and isinstance(step, int) and step < len(at) else None


def _is_coerced(value: Any, wanted: Any) -> bool:
    """Whether parsers commonly read `value` as one of the types wanted; null stands for an absent value."""
    if value is None:
        return True
    if type(value) is not str:
        return False
    text, types = value.strip(), wanted if isinstance(wanted, list) else [wanted]
    if "array" in types or "object" in types:
        return text[:1] in ("[", "{")
    return text.lower() in ("true", "false") if "boolean" in types else _is_number(text)


def _is_number(text: str) -> bool:
    try:
        float(text[:64])
    except ValueError:
        return False
    return True


_SAID: Final = {
    "type": "is not of the type",
    "required": "lacks",
    "additionalProperties": "has what is not known",
    "unevaluatedProperties": "has what is not known",
    "enum": "is none of the values allowed",
    "const": "is not the one value allowed",
    "pattern": "does not match the pattern",
    "minimum": "is less than",
    "maximum": "is more than",
    "exclusiveMinimum": "is not more than",
    "exclusiveMaximum": "is not less than",
    "minLength": "is shorter than",
    "maxLength": "is longer than",
    "minItems": "has fewer items than",
    "maxItems": "has more items than",
    "minProperties": "has fewer members than",
    "maxProperties": "has more members than",
    "multipleOf": "is no multiple of",
    "uniqueItems": "has the same item twice",
    "anyOf": "fits none of the choices",
    "oneOf": "fits none or several of the choices",
    "not": "is what is ruled out",
}
_WITH: Final = frozenset(
    "type minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems maxItems "
    "minProperties maxProperties multipleOf".split()
)
"""Keywords whose own value is said too, a type or a number; never what was checked, which may be a secret."""


def _reason(error: ValidationError) -> str:
    name = error.kind.name
    words = _SAID.get(name, "does not fit the tool's schema")
    if name not in _WITH:
        return words
    value = error.kind.value
    return f"{words} `{', '.join(map(str, value)) if isinstance(value, list) else value}`"
