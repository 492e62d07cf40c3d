"""The rules of `rules/poison.toml`, ready to be looked for: what they stand near, and what they match (P)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sandbox.inspect.folding import fold_pattern
from sandbox.inspect.poison_near import together
from sandbox.inspect.ready import ready
from sandbox.records import dataclass
from sandbox.wire.strict import Bytes

Search = Callable[[Bytes, int], tuple[int, int]]

SCHEMA: Final = 1
_KEYS: Final = frozenset(
    "id group score result why references languages words near patterns needs lacks plain links names match"
    " differ detector stands".split()
)
_GLUED = (("\u0e00", "\u0e7f"), ("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\uac00", "\ud7af"))
"""Scripts whose words stand together, or whose particles do."""
_MEMORY = 8 << 20
_AROUND = 60


class BadRules(ValueError):
    """The file of rules is wrong: says where."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `score` is what it weighs in a definition and `result` what it weighs elsewhere."""

    id: str
    group: str
    score: float
    result: float
    why: str
    references: tuple[str, ...]
    languages: tuple[str, ...]
    words: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    needs: str = ""
    lacks: str = ""
    plain: bool = False
    links: bool = False
    names: bool = False
    detector: str = ""
    match: tuple[str, ...] = ()
    differ: tuple[str, ...] = ()
    stands: bytes = b""
    """One pattern for all that it stands near (`poison_near.together`)."""

    @property
    def nears(self) -> tuple[str, ...]:
        """What it stands near."""
        return self.near or self.words

    @property
    def searched(self) -> bool:
        """Whether it is looked for in texts by its patterns."""
        return bool(self.patterns) and not self.links and not self.names


def read_rules(text: str) -> tuple[Rule, ...]:
    """The rules in the words of the file; `BadRules` names the rule and the fault."""
    import tomllib

    return _rules(tomllib.loads(text))


def _rules(tables: Mapping[str, Any]) -> tuple[Rule, ...]:
    if tables.get("schema") != SCHEMA:
        raise BadRules(f"`schema` is not {SCHEMA}")
    rules = tuple(_rule(table) for table in tables["rule"])
    ids = [rule.id for rule in rules]
    if twice := {id for id in ids if ids.count(id) > 1}:
        raise BadRules(f"two rules are called `{min(twice)}`")
    return rules


def shipped_rules() -> tuple[Rule, ...]:
    """The rules that come with the program."""
    return _rules(ready("poison"))


def shipped() -> tuple[tuple[Rule, ...], bytes]:
    """The same, and one pattern for all that texts are read for, which takes 20 ms to make (`anything`)."""
    tables = ready("poison")
    near: str = tables["near"]
    return _rules(tables), near.encode("latin-1")


def version() -> str:
    """The version of the shipped rules."""
    return str(ready("poison")["version"])


def _rule(table: Mapping[str, Any]) -> Rule:
    id = str(table.get("id"))
    if unknown := set(table) - _KEYS:
        raise BadRules(f"rule `{id}`: unknown key `{min(unknown)}`")
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    values.setdefault("result", max(0, table["score"] - 2))
    values["stands"] = _stands(values)
    rule = Rule(**values)
    if bool(rule.patterns) == bool(rule.detector):
        raise BadRules(f"rule `{id}`: either `patterns` or `detector`")
    return rule


def _stands(values: Mapping[str, Any]) -> bytes:
    """As `scripts/build-rules` wrote it, or made now."""
    if "stands" in values:
        written: str = values["stands"]
        return written.encode("latin-1")
    return together(values.get("near") or values.get("words", ()))


class Matcher:
    """The patterns of one rule, compiled when first needed."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._search: Search | None = None
        self._around: tuple[Search | None, Search | None] = (None, None)

    def span(self, text: bytes) -> tuple[int, int] | None:
        """Where the first match stands in `text`, folded unless the rule is plain."""
        if self._search is None:
            self._search = self._compile()
        start, end = self._search(text, 0)
        if start < 0:
            return None
        needs, lacks = self._around
        around = text[max(0, start - _AROUND) : end + _AROUND]
        if (needs and needs(around, 0)[0] < 0) or (lacks and lacks(around, 0)[0] >= 0):
            return None
        return start, end

    def _compile(self) -> Search:
        rule = self.rule
        self._around = (
            search_for(expanded(rule, rule.needs)) if rule.needs else None,
            search_for(expanded(rule, rule.lacks)) if rule.lacks else None,
        )
        return search_for("|".join(f"(?:{expanded(rule, pattern)})" for pattern in rule.patterns))


def expanded(rule: Rule, pattern: str) -> str:
    """The pattern with its shorthands written out, for folded text unless the rule is plain."""
    if rule.plain or rule.links:
        return pattern
    stems = [fold_pattern(word.rstrip("!")) for word in rule.words]
    ended = [
        stem if word.endswith("!") else f"{stem}[^ ]*" for stem, word in zip(stems, rule.words, strict=True)
    ]
    glued = not pattern.isascii() and any(first <= char <= last for char in pattern for first, last in _GLUED)
    pattern = fold_pattern(pattern)
    pattern = pattern.replace("{w0}", f"(?:{'|'.join(stems)})").replace("{w}", f"(?:{'|'.join(ended)})")
    pattern = re.sub(r"<(\d+)c>", r".{0,\1}", pattern)
    pattern = re.sub(r"<(\d+)>", r"(?:[^ ]+ ){0,\1}", pattern)
    return pattern if glued or pattern.startswith("^") else f" {pattern}"


def search_for(pattern: str | bytes) -> Search:
    """A search from a place on for the first match, -1 for none; in bytes a pattern is of Latin-1."""
    import re2
    from re2 import _re2

    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False
    options.never_capture = True
    if isinstance(pattern, bytes):
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        # The error quotes the whole pattern, which may be all of them in one.
        raise BadRules(f"no pattern: {str(error)[:80]}") from None
    # Half the cost of the module's own: no match object is made.
    match, anywhere = compiled._regexp.Match, _re2.RE2.Anchor.UNANCHORED

    def search(text: Bytes, start: int) -> tuple[int, int]:
        found: tuple[int, int] = match(anywhere, text, start, len(text))[0]
        return found

    # What is compiled has to live as long as what searches with it.
    search.compiled = compiled  # type: ignore[attr-defined]
    return search
