"""The credentials that anybody's eye would know: rules from `rules/credentials.toml`, matched by RE2 (P).

Of a text, one pass of one automaton says which rules are worth a look; only those run. RE2 takes time linear
in the text whatever the pattern and whoever wrote the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Final, Literal

from sandbox.inspect.checksums import CHECKS
from sandbox.inspect.encodings import HEX_TEXT, cores, masked, quoted
from sandbox.inspect.entropy import entropy, made_up
from sandbox.inspect.first_look import Question
from sandbox.inspect.ready import ready
from sandbox.patterns import regex
from sandbox.records import dataclass

Group = Literal["key", "token", "session", "context", "card"]
Upward = Literal["deny", "log"]

_KNOWN_KEYS = frozenset(
    "id name group anchors look pattern entropy check upward example see glued".split()
)  # an unknown key is an error: it would be a rule that does less than it says
SHORT: Final = 1 << 11
"""Bytes of a text that is searched twice: a second pass costs less than the states that one would make."""
MOST_MEMORY: Final = 16 << 20
"""Bytes that the automaton may grow to; beyond it forgets and begins anew."""
BY_NAME: Final = "assignment"
_GROUP: Final = regex(rb"(?<!\\)\((?!\?)")
_AFTER: Final = rb"(?:\b|_)"
"""A name may go before a credential: `key_sk-…`."""
_BEGINS: Final = (
    rb"(?:\b|_|\\[nrtbf]|%[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|(?:\x1b|\\u001[bB])\[[0-9;:?]{0,12}[A-Za-z])"
)
"""Where a word begins: also after an escape or a colour, whose last letter is none of it."""
_ENCODED: Final = -1
_ESCAPED: Final = -2
_SPELT_OUT: Final = (
    rb"\\u00[2-7][0-9a-fA-F]|\\x[2-7][0-9a-fA-F]|&#(?:x[2-7]|\d{2,3};)"
    rb"|%(?:25)*(?:2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF])"
)
"""Escapes of what needs none."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of credential, as `rules/credentials.toml` explains."""

    id: str
    name: str
    group: Group
    anchors: tuple[bytes, ...]
    looks: tuple[bytes, ...]
    pattern: bytes
    entropy: float
    check: str
    upward: Upward
    example: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A credential from `start` to `end` of a text."""

    start: int
    end: int
    rule: Rule


def parse(text: str) -> tuple[Rule, ...]:
    """The rules in the text of a rule file; a key that it does not know is an error."""
    import tomllib

    return tuple(_rule(table) for table in tomllib.loads(text)["rule"])


def hidden(rules: Iterable[Rule]) -> bytes:
    """One pattern for all places at which one of these may begin in another spelling."""
    every = {core for rule in rules for anchor in rule.anchors for core in cores(anchor)}
    return b"|".join((*sorted(every), HEX_TEXT))


def _rule(table: dict[str, Any]) -> Rule:
    if unknown := table.keys() - _KNOWN_KEYS:
        raise ValueError(f"rule `{table.get('id')}` has the unknown key `{min(unknown)}`")
    anchors = tuple(anchor.encode() for anchor in table.get("anchors", ()))
    looks = tuple(look.encode() for look in table.get("look", ())) or tuple(map(quoted, anchors))
    pattern = table["pattern"].encode()
    if table.get("glued", False):
        pattern, looks = pattern.removeprefix(rb"\b"), tuple(look.removeprefix(rb"\b") for look in looks)
    elif pattern.startswith(rb"\b"):
        rest = pattern[2:]
        pattern = _AFTER + (rest if _GROUP.search(rest) else b"(" + rest + b")")
    return Rule(
        table["id"], table["name"], table["group"], anchors, looks, pattern,
        float(table.get("entropy", 0.0)), table.get("check", ""), table["upward"], table["example"],
    )  # fmt: skip


def _look(rule: Rule) -> bytes:
    """One pattern for what the rule is worth a look at; in common, a beginning is compiled once."""
    begun = [look[2:] for look in rule.looks if look.startswith(rb"\b")]
    words = [_BEGINS + b"(?:" + b"|".join(begun) + b")"] if begun else []
    return b"|".join((*words, *(look for look in rule.looks if not look.startswith(rb"\b"))))


def _searched(texts: Sequence[bytes]) -> Any:
    """A search for all of them at once, which gives the numbers of those that are somewhere in a text."""
    import re2

    options = re2.Options()
    options.max_mem = MOST_MEMORY
    made = re2.Set.SearchSet(options)
    for text in texts:
        made.Add(text)
    made.Compile()
    # Without the wrapper around it, which takes as long as a short message.
    return getattr(made, "_set", made).Match


class Credentials:
    """The rules; what they search with is made when it is needed. `shipped()` gives those of the package."""

    def __init__(self, rules: Sequence[Rule], elsewhere: bytes = b"") -> None:
        """`elsewhere`: what `hidden` makes of these rules or of more, where that is known already."""
        self.rules = tuple(rules)
        self._patterns: dict[int, Any] = {}
        looks = [(_look(rule), at) for at, rule in enumerate(self.rules) if rule.looks]
        self._hidden = elsewhere or hidden(self.rules)
        looks += [(_SPELT_OUT, _ESCAPED), (self._hidden, _ENCODED)]
        self._texts = texts = [text for text, _ in looks]
        self._wanted = [meaning for _, meaning in looks]
        # Together these two grow new states with every number that a message counts up.
        self._plain = Question(lambda: b"|".join(texts[:-1]), lambda: _searched(texts[:-1]))
        self._coded = Question(lambda: texts[-1], lambda: _searched(texts[-1:]))
        self.questions = self._plain, self._coded
        """What every short text is asked."""
        self._joint: Any = None

        self.by_name = next((rule for rule in rules if rule.id == BY_NAME), None)
        """The rule of values that are known by the name they have."""

    def match(self, text: bytes) -> list[int]:
        """Numbers for `worth`; none of a text that neither holds nor hides anything of ours."""
        if len(text) <= SHORT:
            found: list[int] = self._plain(text) or []
            return [*found, len(self._wanted) - 1] if self._coded(text) else found
        if self._joint is None:
            self._joint = _searched(self._texts)
        found = self._joint(text)
        return found

    def warm(self) -> Iterator[None]:
        """Makes what short texts are asked, a piece a step."""
        for question in self.questions:
            question.made()
            yield

    def worth(self, matched: Sequence[int]) -> tuple[set[int], bool, bool]:
        """What was matched: rules by number, whether one may be encoded, whether there are escapes."""
        found = {self._wanted[number] for number in matched}
        return {one for one in found if one >= 0}, _ENCODED in found, _ESCAPED in found

    def find(self, text: bytes, rules: Sequence[int]) -> Iterator[Hit]:
        """Every credential of these rules in the text; they may overlap."""
        if rules:
            text = masked(text)
        for number in rules:
            rule = self.rules[number]
            for found in self._compiled(number).finditer(text):
                start, end = _span(found)
                if self._is_one(rule, text, start, end):
                    yield Hit(start, end, rule)

    def hidden(self, text: bytes) -> Iterator[int]:
        """Where in the text something begins that may be a credential in base64, hexadecimal or backwards."""
        for found in self._compiled(_ENCODED).finditer(text):
            yield found.start()

    def _compiled(self, number: int) -> Any:
        pattern = self._patterns.get(number)
        if pattern is None:
            import re2

            text = self._hidden if number == _ENCODED else self.rules[number].pattern
            pattern = self._patterns[number] = re2.compile(text)
        return pattern

    def _is_one(self, rule: Rule, text: bytes, start: int, end: int) -> bool:
        value = text[start:end]
        if rule.group != "key" and rule.entropy and entropy(value) < rule.entropy:
            return False
        if rule.group in ("token", "context") and made_up(value):
            return False
        return not rule.check or CHECKS[rule.check](value, text[max(0, start - 96) : start])


def _span(found: Any) -> tuple[int, int]:
    """The first group that matched, or all of it where the pattern has none."""
    for group in range(1, len(found.groups()) + 1):
        start, end = found.span(group)
        if start >= 0 and end > start:
            return int(start), int(end)
    start, end = found.span()
    return int(start), int(end)


@cache
def shipped() -> Credentials:
    """The rules of the package; read once a process."""
    held = ready("credentials")
    return Credentials(tuple(map(_rule, held["rule"])), held["hidden"].encode("latin-1"))
