"""The shapes of MCP's messages: whether a value fits one, and where it does not (P).

The notation, one shape a line: `Name = field:kind field?:kind`. Kinds: `s` text, `n` number, `i` whole
number, `b` true or false, `0` null, `*` anything, `'word'`, `[kind]` a list, `{kind}` an object whose values
are of one kind, `{}` any object, the name of a shape, and choices with `|`. A field that is not named may be
there, and an optional one may be null. Methods: who sends it (`>` a request of the client's, `<` of the
server's, `->` and `<-` notifications), name, kind of the parameters, kind of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from sandbox.patterns import regex
from sandbox.records import dataclass
from sandbox.wire.splice import Place

MOST_SLIGHT = 8
MOST_GRAVE = 64
"""More are not kept of one message; only after that many grave ones the rest is not looked at."""

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "s": (str,),
    "n": (int, float),
    "i": (int,),
    "b": (bool,),
    "0": (type(None),),
}
_WORDS: Final = {str: "text", int: "a number", float: "a number", bool: "true or false", type(None): "null"}
_WORD = regex(r"'([^']*)'")
_ROLE = "role"
"""A word that no side knows is told; here it would lift a server's text above the person's."""

Fits = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a value does not have its shape; `grave` where readers would take different things from it.

    An object or a list for a plain value, or the other way round, is grave: one reader fails, another
    shows what no inspector looked for there. What is missing, or a word or number of another kind, is not.
    """

    place: Place
    reason: str
    grave: bool = False


class Faults:
    """What was found in one message."""

    def __init__(self) -> None:
        self.grave: list[Fault] = []
        self.slight: list[Fault] = []

    def add(self, place: Place, reason: str, *, grave: bool = False) -> None:
        """Keep a fault, if there is room for one of its kind."""
        kept, most = (self.grave, MOST_GRAVE) if grave else (self.slight, MOST_SLIGHT)
        if len(kept) < most:
            kept.append(Fault(place, reason, grave))

    @property
    def full(self) -> bool:
        """Whether there are so many that nobody needs the rest."""
        return len(self.grave) >= MOST_GRAVE


class Shape:
    """One kind of value."""

    def fits(self, value: Any) -> bool:
        """Whether `value` has this shape."""
        raise NotImplementedError

    def faults(self, value: Any, place: Place, into: Faults) -> None:
        """Add what is wrong with `value`, which stands at `place`."""
        raise NotImplementedError


class Plain(Shape):
    """Anything, or any value of some types, or some words."""

    def __init__(self, types: Iterable[type] | None, words: Iterable[str] = ()) -> None:
        self.types = None if types is None else frozenset(types)
        self.words = frozenset(words)

    def fits(self, value: Any) -> bool:
        if self.types is None or type(value) in self.types:
            return True
        if type(value) is str:
            return value in self.words
        return type(value) is float and int in self.types and value.is_integer()

    def faults(self, value: Any, place: Place, into: Faults) -> None:
        if self.fits(value):
            return
        if type(value) is str and self.words:
            into.add(place, "is a word of no meaning here", grave=place[-1:] == (_ROLE,))
            return
        given = (
            "an object" if type(value) is dict else "a list" if type(value) is list else _WORDS[type(value)]
        )
        into.add(place, f"is {given} and not {self._said()}", grave=_is_compound(value))

    def _said(self) -> str:
        types = self.types or frozenset({str})
        return " or ".join(dict.fromkeys(_WORDS[type] for type in _WORDS if type in types)) or "a word"


def _values(value: Any) -> Any:
    return value.values() if type(value) is dict else value


def _steps(value: Any) -> Any:
    return value.items() if type(value) is dict else enumerate(value)


class Every(Shape):
    """A list or an object (`kind`) whose values are all of one shape; None: of any."""

    def __init__(self, kind: type, of: Shape | None) -> None:
        self.kind = kind
        self.of = of

    def fits(self, value: Any) -> bool:
        if type(value) is not self.kind:
            return False
        if self.of is None:
            return True
        fits = self.of.fits
        return all(map(fits, _values(value)))

    def faults(self, value: Any, place: Place, into: Faults) -> None:
        if type(value) is not self.kind:
            said = "an object" if self.kind is dict else "a list"
            into.add(place, f"is not {said}", grave=value is not None)
            return
        if self.of is None:
            return
        for step, inner in _steps(value):
            if into.full:
                return
            if not self.of.fits(inner):
                self.of.faults(inner, (*place, step), into)


class Record(Shape):
    """An object with named fields."""

    def __init__(self) -> None:
        self.types: dict[str, frozenset[type]] = {}
        self.inner: dict[str, Fits] = {}
        self.shapes: dict[str, Shape] = {}
        self.required: frozenset[str] = frozenset()
        self.tags: dict[str, str] = {}
        """Fields that hold one word: which of several records this is."""
        self.folded: set[str] = set()
        """The fields' names as a reader has them that minds no case."""

    def field(self, name: str, shape: Shape, *, optional: bool) -> None:
        """Give it a field."""
        self.shapes[name] = shape
        self.folded.add(name.casefold())
        if not optional:
            self.required |= {name}
        if not isinstance(shape, Plain):
            self.inner[name] = _or_null(shape) if optional else shape.fits
        elif len(shape.words) == 1 and not shape.types and not optional:
            self.tags[name] = next(iter(shape.words))
        elif shape.types and not shape.words and int not in shape.types:
            self.types[name] = shape.types | {type(None)} if optional else shape.types
        elif shape.types is not None:
            self.inner[name] = _or_null(shape) if optional else shape.fits

    def fits(self, value: Any) -> bool:
        if type(value) is not dict:
            return False
        types, tags, inner = self.types, self.tags, self.inner
        for name, held in value.items():
            if name in types:
                if type(held) not in types[name]:
                    return False
            elif name in tags:
                if held != tags[name]:
                    return False
            elif name in inner:
                if not inner[name](held):
                    return False
            elif name.casefold() in self.folded and name not in self.shapes:
                return False
        return value.keys() >= self.required

    def faults(self, value: Any, place: Place, into: Faults) -> None:
        if type(value) is not dict:
            into.add(place, "is not an object", grave=value is not None)
            return
        for name in value.keys() - self.shapes.keys():
            if name.casefold() in self.folded:
                # Go's encoding/json takes it for the field, and the last one wins.
                into.add((*place, name), "is spelt like one of the protocol's but for its case", grave=True)
        for name in sorted(self.required - value.keys()):
            into.add((*place, name), "is missing")
        for name, shape in self.shapes.items():
            if into.full:
                return
            held = value.get(name)
            if name in value and not (held is None and name not in self.required) and not shape.fits(held):
                shape.faults(held, (*place, name), into)


class Choice(Shape):
    """One of several shapes."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        shapes = list(shapes)
        plain = [shape for shape in shapes if isinstance(shape, Plain)]
        types = [type for shape in plain for type in shape.types or ()]
        self.plain = Plain(types, [word for shape in plain for word in shape.words])
        self.lists = [shape for shape in shapes if isinstance(shape, Every) and shape.kind is list]
        self.objects = [shape for shape in shapes if shape not in plain and shape not in self.lists]
        self.tag, self.tagged = _tagged(self.objects)

    def fits(self, value: Any) -> bool:
        if type(value) is dict:
            chosen = self._chosen(value)
            return False if chosen is None else chosen.fits(value)
        if type(value) is list:
            return any(shape.fits(value) for shape in self.lists)
        return self.plain.fits(value)

    def faults(self, value: Any, place: Place, into: Faults) -> None:
        if type(value) is dict and self.objects:
            chosen = self._chosen(value)
            if chosen is not None:
                chosen.faults(value, place, into)
                return
            word = value.get(self.tag)
            into.add((*place, self.tag), "names no kind that is known here", grave=_is_compound(word))
        elif type(value) is list and self.lists:
            self.lists[0].faults(value, place, into)
        elif self.plain.types or self.plain.words:
            self.plain.faults(value, place, into)
        else:
            into.add(place, "is of another kind", grave=value is not None)

    def _chosen(self, value: dict[str, Any]) -> Shape | None:
        """The object shape that `value` is to have; None: it names one that is not known."""
        if self.tag:
            word = value.get(self.tag)
            return self.tagged.get(word) if type(word) is str else None
        for shape in self.objects:
            if shape.fits(value):
                return shape
        return max(self.objects, key=lambda shape: _likeness(shape, value), default=None)


def _or_null(shape: Shape) -> Fits:
    fits = shape.fits
    return lambda value: value is None or fits(value)


def _is_compound(value: Any) -> bool:
    return type(value) in (dict, list)


def _likeness(shape: Shape, value: dict[str, Any]) -> int:
    """How many of the fields that a shape has to have are there."""
    return len(shape.required & value.keys()) if isinstance(shape, Record) else 0


def _tagged(shapes: list[Shape]) -> tuple[str, dict[str, Shape]]:
    """The field whose word tells the shapes apart, and the shape of each word; empty where there is none."""
    records = [shape for shape in shapes if isinstance(shape, Record)]
    for name in ("type", "method"):
        if len(records) == len(shapes) > 1 and all(name in shape.tags for shape in records):
            return name, {shape.tags[name]: shape for shape in records}
    return "", {}


class Method:
    """The shapes of one method's messages; `optional`: it may be sent without parameters."""

    def __init__(self, params: Shape, result: Shape | None, *, optional: bool) -> None:
        self.params = params
        self.result = result
        self.optional = optional


class Shapes:
    """The shapes of a text in the notation; each is built when it is asked for first.

    `without` names methods, and words of `type`, that are left out.
    """

    def __init__(self, text: str, without: frozenset[str] = frozenset()) -> None:
        self._lines: dict[str, list[str]] = {}
        self._built: dict[str, Shape] = {}
        self._without = without
        self._methods: dict[tuple[str, str], list[str]] = {}
        self._method_built: dict[tuple[str, str], Method] = {}
        for line in text.replace("\n  ", " ").splitlines():
            first, second, *rest = line.split(" ")
            if second == "=":
                self._lines[first] = rest
            elif second not in without:
                self._methods[first, second] = rest

    def method(self, mark: str, name: str) -> Method | None:
        """The shapes of a method that this side may send; None where the revision has none of that name."""
        key = mark, name
        built = self._method_built.get(key)
        if built is None and key in self._methods:
            params, *result = self._methods[key]
            shape = self.shape(params.rstrip("?"))
            answer = self.shape(result[0]) if result else None
            built = self._method_built[key] = Method(shape, answer, optional=params.endswith("?"))
        return built

    def has(self, mark: str, name: str) -> bool:
        """Whether this side may send `name`."""
        return (mark, name) in self._methods

    def methods(self) -> Iterator[tuple[str, str]]:
        """Every method with the mark of who sends it."""
        yield from self._methods

    def shape(self, kind: str) -> Shape:
        """The shape of a kind as the notation writes it."""
        built = self._built.get(kind)
        if built is None:
            options = _split(kind)
            if len(options) == 1:
                built = self._one(kind)
            else:
                known = [one for one in options if not self._left_out(one)]
                built = Choice(self.shape(one) for one in known)
            self._built[kind] = built
        return built

    def _one(self, kind: str) -> Shape:
        if kind == "*":
            return Plain(None)
        if kind in _KINDS:
            return Plain(_KINDS[kind])
        if word := _WORD.fullmatch(kind):
            return Plain((), [word.group(1)])
        if kind[0] in "[{":
            return Every(list if kind[0] == "[" else dict, self.shape(kind[1:-1]) if kind[1:-1] else None)
        return self._record(kind)

    def _record(self, name: str) -> Shape:
        record = self._built[name] = Record()
        for field in self._lines[name]:
            named, _, kind = field.partition(":")
            record.field(named.removesuffix("?"), self.shape(kind), optional=named.endswith("?"))
        return record

    def _left_out(self, kind: str) -> bool:
        return any(f"type:'{word}'" in self._lines.get(kind, ()) for word in self._without)


def _split(kind: str) -> list[str]:
    """The choices of a kind."""
    found, depth = [""], 0
    for character in kind:
        depth += (character in "[{") - (character in "]}")
        if character == "|" and not depth:
            found.append("")
        else:
            found[-1] += character
    return found
