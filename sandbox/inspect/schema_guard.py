"""What it would cost to hold a value against a JSON Schema that a stranger wrote, before anybody does (P).

A schema is a program. A validator of this kind does no I/O and ends, but it may take exponential time:
`anyOf` over `anyOf`, or a definition that leads back to itself twice. So the number of times that one place
of a value is looked at is counted first, from the schema alone.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from typing import Any, Final

from sandbox.patterns import regex
from sandbox.records import dataclass

MOST_PARTS: Final = 5_000
MOST_VALUES: Final = 50_000
MOST_LOOKS: Final = 512
"""At one place of a value; a schema that looks more often has a depth to which it may be used."""
MOST_STEPS: Final = 50_000
"""Of weighing and compiling one schema: parts, looks counted, states of patterns; each 4 us at most."""
MOST_STEPS_OF_A_LIST: Final = 100_000
MOST_PATTERNS: Final = 64
LONGEST_PATTERN: Final = 1_000
DEEPEST: Final = 100

_SAME = ("not", "if", "then", "else")
_SAME_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_TABLES = ("dependentSchemas", "dependencies")
_ITEMS = ("additionalItems", "contains", "unevaluatedItems")
_MEMBERS = ("additionalProperties", "propertyNames", "unevaluatedProperties")
_ELSEWHERE = ("$dynamicRef", "$recursiveRef")
_REFERENCES = ("$ref", *_ELSEWHERE)
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COMPARISON = 8
"""Looks that the exact comparison of two numbers takes the time of."""
_UNEVALUATED = ("unevaluatedItems", "unevaluatedProperties")


class Unfit(Exception):
    """The schema cannot be used to check anything; says why in the words of a finding."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Weight:
    """What a schema costs: looks at one place, for values at most `depth` deep, and steps of its patterns.

    `steps` is what all its patterns together take for one character, `around` says that some look around,
    `options` how many values the longest enumeration has, `unique` that items are compared with each other.
    """

    looks: int
    depth: int
    steps: int = 0
    around: bool = False
    options: int = 0
    unique: bool = False


class Budget:
    """How much work the schemas of one list may still make."""

    def __init__(self, steps: int = MOST_STEPS_OF_A_LIST) -> None:
        self._left = steps

    def spend(self, steps: int) -> None:
        """Take so many; `Unfit` where they are not there any more."""
        self._left -= steps
        if self._left < 0:
            raise Unfit("protocol.schema", "is too much work together with what it stands with")


def refers_elsewhere(schema: Any) -> bool:
    """Whether some part of a schema names one that is not in it; takes no longer than reading it."""
    todo = [schema]
    while todo:
        one = todo.pop()
        if type(one) is dict:
            if any(type(at := one.get(name)) is str and at[:1] != "#" for name in _REFERENCES):
                return True
            todo += one.values()
        elif type(one) is list:
            todo += one
    return False


def weigh(schema: Any, budget: Budget | None = None) -> Weight:
    """The weight of a schema, or `Unfit`; the work is taken from the budget too, where there is one."""
    # What says nothing to a validator is copied by it all the same.
    if _size(schema, MOST_VALUES) > MOST_VALUES:
        raise Unfit("protocol.schema", f"has more than {MOST_VALUES} values")
    graph = _Graph(schema, Budget(MOST_STEPS), budget or Budget(MOST_STEPS))
    order = graph.sorted()
    looks, depth = graph.looks(order)
    if depth < 0:
        raise Unfit("protocol.schema", f"looks at one value more than {MOST_LOOKS} times")
    steps = sum(map(states, graph.patterns))
    around = any(_AROUND.search(one) for one in graph.patterns)
    return Weight(looks, depth, steps, around, graph.options, graph.unique)


_QUANTIFIER = regex(r"\{(\d{1,9})?(?:,(\d{1,9})?)?\}")
_BRACED = regex(r"\\[pPxuk]\{[^}]*\}")
_CLASS = regex(r"\[\^?\]?(?:[^\\\]]|\\.)*\]", re.DOTALL)
_CLASS_STATES = 4
_BUILT_PROPERTY = 256
_AROUND = regex(r"\(\?<?[=!]|\\[1-9k]")


def states(pattern: str, of_property: int = _CLASS_STATES) -> int:
    """At least as many states as a pattern's automaton can be in at once: what one character costs it.

    `of_property`: how many a property of Unicode counts for; it is large to build and cheap to run.
    """
    totals, last, at = [0], 0, 0
    while at < len(pattern):
        if counted := _QUANTIFIER.match(pattern, at):
            times = max(int(number or 0) for number in counted.groups())
            totals[-1] += last * max(times - 1, 0)
            last *= max(times, 1)
            at = counted.end()
            continue
        if pattern[at] == "(":
            totals.append(0)
        elif pattern[at] == ")" and len(totals) > 1:
            last = totals.pop()
            totals[-1] += last
        else:
            # A class of characters is several states, since text is read by its bytes (UTF-8).
            last = _CLASS_STATES if pattern[at] in ".[\\" else 1
            if pattern[at : at + 2] in (r"\p", r"\P"):
                last = of_property
            totals[-1] += last
        # An escape's braces, and what stands in a class, are no quantifiers.
        whole = _BRACED.match(pattern, at) or _CLASS.match(pattern, at)
        at = whole.end() if whole else at + 1 + (pattern[at] == "\\")
    return sum(totals)


class _Node:
    """One subschema: which others look at the same value, and which at the values inside it."""

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.same: list[_Node] = []
        self.named: list[tuple[str | int, _Node]] = []
        self.items: list[_Node] = []
        self.members: list[_Node] = []


class _Graph:
    def __init__(self, root: Any, *budgets: Budget) -> None:
        self._root = root
        self._budgets = budgets
        self._nodes: dict[int, _Node] = {}
        self._todo: list[tuple[dict[str, Any], _Node]] = []
        self.patterns: list[str] = []
        self.options = 0
        self.unique = False
        self.root = self._node(root)
        self._anchors: dict[str, Any] | None = None
        while self._todo:
            self._read(*self._todo.pop())

    def _spend(self, steps: int) -> None:
        for budget in self._budgets:
            budget.spend(steps)

    def _node(self, schema: Any) -> _Node:
        if type(schema) is not dict:
            return _Node(1)
        node = self._nodes.get(id(schema))
        if node is None:
            if len(self._nodes) >= MOST_PARTS:
                raise Unfit("protocol.schema", f"has more than {MOST_PARTS} parts")
            node = self._nodes[id(schema)] = _Node(_cost(schema))
            self._spend(1 + len(schema))
            self._todo.append((schema, node))
        return node

    def _read(self, schema: dict[str, Any], node: _Node) -> None:
        if any(name in schema for name in _ELSEWHERE):
            raise Unfit("protocol.schema", "has references that only its use decides")
        if schema is not self._root and "$id" in schema:
            raise Unfit("protocol.schema", "has another schema with an address of its own inside")
        self._count_patterns(schema)
        self.options = max(self.options, len(_listed(schema.get("enum"))))
        self.unique |= schema.get("uniqueItems") is True
        node.same += [self._node(schema[name]) for name in _SAME if name in schema]
        for name in _SAME_LISTS:
            node.same += [self._node(one) for one in _listed(schema.get(name))]
        for name in _SAME_TABLES:
            node.same += [self._node(one) for one in _tabled(schema.get(name)).values()]
        if "$ref" in schema:
            node.same.append(self._node(self._target(schema["$ref"])))
        self._read_inner(schema, node)
        if any(name in schema for name in _UNEVALUATED):
            # What was evaluated is found out by looking once more.
            node.same += node.same

    def _read_inner(self, schema: dict[str, Any], node: _Node) -> None:
        node.named += [(name, self._node(one)) for name, one in _tabled(schema.get("properties")).items()]
        node.named += [(at, self._node(one)) for at, one in enumerate(_listed(schema.get("prefixItems")))]
        items = schema.get("items", True)
        if type(items) is list:
            node.named += [(at, self._node(one)) for at, one in enumerate(items)]
        else:
            node.items.append(self._node(items))
        node.items += [self._node(schema[name]) for name in _ITEMS if name in schema]
        node.members += [self._node(one) for one in _tabled(schema.get("patternProperties")).values()]
        node.members += [self._node(schema[name]) for name in _MEMBERS if name in schema]

    def _count_patterns(self, schema: dict[str, Any]) -> None:
        patterns = [*_tabled(schema.get("patternProperties"))]
        if type(schema.get("pattern")) is str:
            patterns.append(schema["pattern"])
        self.patterns += patterns
        if len(self.patterns) > MOST_PATTERNS or any(len(one) > LONGEST_PATTERN for one in patterns):
            raise Unfit("protocol.schema", "has too many patterns, or one that is too long")
        self._spend(sum(states(one, _BUILT_PROPERTY) for one in patterns))

    def _target(self, reference: Any) -> Any:
        if type(reference) is not str or not reference.startswith("#"):
            raise Unfit("protocol.reference", "refers to a schema elsewhere, which is never fetched")
        found = self._pointed(reference[1:]) if reference[1:2] in ("", "/") else self._anchor(reference[1:])
        if found is None:
            raise Unfit("protocol.schema", "refers to a part of itself that is not there")
        return found

    def _pointed(self, pointer: str) -> Any:
        from urllib.parse import unquote  # brings `ipaddress`, and few schemas refer to anything

        at = self._root
        for step in pointer.split("/")[1:]:
            name = unquote(step).replace("~1", "/").replace("~0", "~")
            if type(at) is list and name.isdecimal() and int(name[:6]) < len(at):
                at = at[int(name[:6])]
            elif type(at) is dict and name in at:
                at = at[name]
            else:
                return None
        return at if type(at) in (dict, bool) else None

    def _anchor(self, name: str) -> Any:
        if self._anchors is None:
            self._anchors = {}
            todo = [self._root]
            while todo:
                one = todo.pop()
                if type(one) is dict and type(one.get("$anchor")) is str:
                    self._anchors[one["$anchor"]] = one
                todo += one.values() if type(one) is dict else one if type(one) is list else ()
        return self._anchors.get(name)

    def sorted(self) -> list[_Node]:
        """All parts, each before those that look at the same value; a circle of them would never end."""
        order: list[_Node] = []
        state: dict[int, int] = {}
        todo = [(node, False) for node in self._nodes.values()]
        while todo:
            node, left = todo.pop()
            if left:
                state[id(node)] = 2
                order.append(node)
            elif (seen := state.get(id(node))) is None:
                state[id(node)] = 1
                todo.append((node, True))
                todo += [(one, False) for one in node.same if state.get(id(one)) != 2]
            elif seen == 1:
                raise Unfit("protocol.schema", "leads back to itself without end")
        return order[::-1]

    def looks(self, order: list[_Node]) -> tuple[int, int]:
        """How often one place is looked at, at most, and to which depth that holds."""
        rank = {id(node): at for at, node in enumerate(order)}
        seen: set[_State] = set()
        states: set[_State] = {((rank[id(self.root)], 1),)} if id(self.root) in rank else set()
        most = 1
        for depth in range(DEEPEST + 1):
            seen |= states
            following: set[_State] = set()
            for state in states:
                total, steps = _looked(order, rank, state, following)
                most = max(most, min(total, MOST_LOOKS))
                self._spend(steps)
                if total > MOST_LOOKS:
                    return most, depth - 1
            states = following - seen
            if not states:
                break
        return most, DEEPEST


_State = tuple[tuple[int, int], ...]
"""Which parts look at one place, by rank, and how often each."""


def _looked(
    order: list[_Node], rank: dict[int, int], state: _State, following: set[_State]
) -> tuple[int, int]:
    """The looks at a place in this state, and the work of counting; adds the states of places inside it.

    A place inside is an item or a member, and has one name: what other names lead to never meets there.
    """
    counts = dict(state)
    todo = [*counts]
    heapq.heapify(todo)
    total = steps = 0
    named: dict[str | int, Counter[int]] = {}
    items: Counter[int] = Counter()
    members: Counter[int] = Counter()
    while todo and total <= MOST_LOOKS:
        at = heapq.heappop(todo)
        node, count = order[at], counts[at]
        total += count * node.cost
        steps += 1 + len(node.same) + len(node.named)
        for one in node.same:
            if (then := rank.get(id(one))) is not None:
                if then not in counts:
                    heapq.heappush(todo, then)
                counts[then] = counts.get(then, 0) + count
        for group, inside in ((items, node.items), (members, node.members)):
            for one in inside:
                if id(one) in rank:
                    group[rank[id(one)]] += count
        for name, one in node.named:
            if id(one) in rank:
                named.setdefault(name, Counter())[rank[id(one)]] += count
    for name, counted in named.items():
        following.add(_frozen(counted + (items if type(name) is int else members)))
    following.update(_frozen(group) for group in (items, members) if group)
    return total, steps


def _frozen(counted: Counter[int]) -> _State:
    return tuple(sorted(counted.items()))


def _cost(schema: dict[str, Any]) -> int:
    """One, and more for what takes longer than a look: comparing with many values, dividing, many names."""
    options = [*_listed(schema.get("enum")), *([schema["const"]] if "const" in schema else [])]
    compared = 0 if all(type(one) is str for one in options) else sum(map(_size, options))
    named = sum(len(_listed(names)) for names in _tabled(schema.get("dependentRequired")).values())
    bounded = _COMPARISON * sum(name in schema for name in _BOUNDS)
    return 1 + compared + bounded + named + (_division(schema["multipleOf"]) if "multipleOf" in schema else 0)


def _division(by: Any) -> int:
    """Exact division takes the validator up to 16 us, and 45 us by what is very small or large."""
    if type(by) not in (int, float) or not 1e-6 <= abs(by) <= 1e15:
        return MOST_LOOKS
    return 100 if type(by) is int else 300


def _size(value: Any, most: int = MOST_LOOKS) -> int:
    """How many values there are in a value, up to `most` and one; numbers with a fraction are dear."""
    found, todo = 0, [value]
    while todo and found <= most:
        one = todo.pop()
        found += _COMPARISON if type(one) is float else 1
        todo += one.values() if type(one) is dict else one if type(one) is list else ()
    return found


def _listed(value: Any) -> list[Any]:
    return value if type(value) is list else []


def _tabled(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}
