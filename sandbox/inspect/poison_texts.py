"""What of one part of a message is poison: patterns, hidden characters, disguised names (P)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from sandbox.inspect.confusables import mixed_words, skeleton
from sandbox.inspect.folding import fold
from sandbox.inspect.hidden import hidden, visible
from sandbox.inspect.judged import SHOWN_CHARS, Finding, pointer
from sandbox.inspect.pin_diff import LINE_END
from sandbox.inspect.poison_rules import Matcher, Rule
from sandbox.inspect.reading import Budget, Reader
from sandbox.inspect.texts import DEFINITIONS, Kind, Part, Text, texts
from sandbox.patterns import regex
from sandbox.records import dataclass
from sandbox.wire.strict import Bytes

_RUN: Final = 16
"""So many hidden characters in a row are a finding wherever they stand."""
_DISGUISE: Final = 2.0
"""What it adds to a rule's score that the words were disguised."""
_MOST: Final = 9.0
_LONG: Final = 1 << 15
_LONGEST_ROW: Final = 1 << 16
_PADDING = regex(r"\s{80,}|\n{20,}")
_CAMEL = regex("(?<=[a-z])(?=[A-Z])")
_NAMED = regex(r"[A-Za-z][\w-]{5,63}")
_ON_ONE_LINE = str.maketrans({"\n": LINE_END, "\r": " ", "\t": " "})
LONGEST_NAME: Final = 64
_TWINS = str.maketrans("1I|0", "lllo")
_CALLED: Mapping[Kind, str] = {
    "instructions": "the server's instructions", "server": "the server's own name", "result": "the result",
    "error": "the error", "elicitation": "the question to the user",
    "sampling": "the request for a completion", "request": "the request",
    "log": "a log message", "progress": "a progress message",
    "notification": "a notification", "rest": "the answer",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """One finding with what it was found in."""

    finding: Finding
    rule: Rule
    text: Text
    start: int
    end: int
    definition: bool

    @property
    def score(self) -> float:
        """What the finding weighs."""
        return self.finding.score


class Looker:
    """Looks at one part after the other; remembers names, of which no two may look alike.

    `elsewhere`: the tools of other servers, by name, with the server's; `near`: as `Reader` takes it.
    """

    def __init__(
        self, rules: Iterable[Rule], elsewhere: Callable[[], Mapping[str, str]] = dict, near: bytes = b""
    ) -> None:
        rules = tuple(rules)
        self.reader = Reader(rules, near)
        self._by_detector = {rule.detector: rule for rule in rules if rule.detector}
        self._names = [Matcher(rule) for rule in rules if rule.names]
        self._links = [Matcher(rule) for rule in rules if rule.links]
        self._elsewhere = elsewhere
        self._seen: dict[tuple[Kind, str], str] = {}
        self.begin()

    def begin(self) -> None:
        """A new message, with a budget of its own."""
        self._budget = Budget()

    def forget(self) -> None:
        """Begin with no names seen."""
        self._seen.clear()
        self.begin()

    def may_hold(self, line: Bytes) -> bool:
        """Whether a line of JSON has to be looked at text by text."""
        if b"\\" in line:
            # Behind these there may be any character, and any letter after them.
            if b"\\u" in line or b"\\\\" in line or _few_texts(line):
                return True
            for escape in (b"\\n", b"\\t", b"\\r", b"\\b", b"\\f"):
                if escape in line:
                    line = line.replace(escape, b"  ")
        return self.reader.near(line)

    def look(self, part: Part) -> list[Found]:
        """What is found in the part, each rule once a text."""
        definition = part.kind in DEFINITIONS
        found: list[Found] = []
        every = texts(part)
        for text in every:
            if text.sort != "opaque":
                found += self._in_text(part, text, definition=definition)
        if part.kind == "result" and len(every) > 1:
            found += self._across(part, every, {one.rule.id for one in found})
        if part.kind in ("tool", "prompt") and type(part.value) is dict:
            found += self._name(part)
        if self._budget.spent:
            found += self._one("unread", part, Text(part.place, "", "text"), 0, 0)
        return found

    def _in_text(self, part: Part, text: Text, *, definition: bool) -> Iterator[Found]:
        said = text.text
        # Names of members are told apart by capitals, where they have no blanks.
        read = _CAMEL.sub(" ", said) if text.sort == "key" else said
        look = self.reader.written if text.sort == "blob" else self.reader.hits
        for hit in look(read, self._budget):
            found = _found(hit.rule, part, text, hit.start, hit.end, hit.how)
            if found.score:
                yield found
        if not said.isascii() or definition or "\x1b" in said:
            yield from self._hidden(part, text, definition=definition)
        if definition:
            yield from self._in_definition(part, text)

    def _across(self, part: Part, every: list[Text], known: set[str]) -> Iterator[Found]:
        """What the texts of a tool's result say in a row, as a model reads them, and none of them alone."""
        places = ((text.place[1:2], text.place[-1], text.text) for text in every)
        row = [said for within, name, said in places if within == ("content",) and name == "text"]
        if len(row) < 2 or sum(map(len, row)) > _LONGEST_ROW:
            return
        # `opaque`: it stands nowhere, and cannot be cut out.
        joined = Text((*part.place, "content"), " ".join(row), "opaque")
        for hit in self.reader.hits(joined.text, self._budget):
            found = _found(hit.rule, part, joined, hit.start, hit.end, hit.how)
            if found.score and hit.rule.id not in known:
                yield found

    def _hidden(self, part: Part, text: Text, *, definition: bool) -> Iterator[Found]:
        if not self.reader.unseen(text.text, any=definition):
            return
        sorts: dict[str, tuple[int, int]] = {}
        for one in hidden(text.text):
            sort: str = "spelt" if one.said else one.sort
            sorts.setdefault(sort, (one.start, one.end))
            if one.end - one.start >= _RUN:
                sorts.setdefault("run", (one.start, one.end))
        for sort, (start, end) in sorts.items():
            yield from self._one(sort, part, text, start, end)

    def _in_definition(self, part: Part, text: Text) -> Iterator[Found]:
        said = text.text
        if padding := _PADDING.search(said.rstrip()):
            yield from self._one("padding", part, text, padding.start(), len(said))
        if words := mixed_words(said):
            start = said.index(words[0])
            yield from self._one("words", part, text, start, start + len(words[0]))
        if text.sort == "key":
            folded = fold(_CAMEL.sub(" ", said)).strip()
            yield from self._matched(self._names, part, text, folded)
        elif text.sort == "link" and ("icons" in text.place or text.place[-1] == "websiteUrl"):
            yield from self._matched(self._links, part, text, said)
        elif part.kind in ("tool", "instructions") and (others := self._elsewhere()):
            yield from self._others(part, text, others)

    def _matched(self, matchers: list[Matcher], part: Part, text: Text, subject: str) -> Iterator[Found]:
        for matcher in matchers:
            if matcher.span(subject.encode()) is not None:
                yield _found(matcher.rule, part, text, 0, len(text.text))

    def _others(self, part: Part, text: Text, others: Mapping[str, str]) -> Iterator[Found]:
        for word in _NAMED.finditer(text.text):
            # A name of one plain word is a word.
            if word[0] in others and not word[0].isalpha() and word[0] != part.name:
                yield from self._one("elsewhere", part, text, *word.span())
                return

    def _name(self, part: Part) -> Iterator[Found]:
        name = part.name
        text = Text((*part.place, "name"), name, "text")
        if mixed_words(name.replace("_", "")) or mixed_words(name):
            yield from self._one("name", part, text, 0, len(name))
        looks = skeleton(name).translate(_TWINS).replace("rn", "m").replace("vv", "w")
        other = self._seen.setdefault((part.kind, looks), name) if len(self._seen) < 4096 else name
        if other != name:
            yield from self._one("twin", part, text, 0, len(name))

    def _one(self, detector: str, part: Part, text: Text, start: int, end: int) -> Iterator[Found]:
        rule = self._by_detector.get(detector)
        if rule is not None:
            found = _found(rule, part, text, start, end)
            if found.score:
                yield found


def _few_texts(line: Bytes) -> bool:
    """Whether a long line is so few texts that each is looked at sooner than their escapes are replaced."""
    return len(line) > _LONG and line.count(b'"') < len(line) >> 8


def _found(rule: Rule, part: Part, text: Text, start: int, end: int, how: str = "") -> Found:
    definition = part.kind in DEFINITIONS
    score = rule.score if definition else rule.result
    if how and score:
        score = max(score, min(score + _DISGUISE, _MOST if definition else _MOST - 0.5))
    named = _subject(part)
    reason = f"{named} {rule.why}" + (f" (disguised: {how})" if how else "")
    shown = visible(text.text[max(0, start - 30) : end + 60]).translate(_ON_ONE_LINE)[:SHOWN_CHARS]
    finding = Finding("poison", f"poison.{rule.id}", pointer(text.place), reason, score, shown)
    return Found(finding, rule, text, start, end, definition)


def _subject(part: Part) -> str:
    if part.kind in _CALLED:
        return _CALLED[part.kind]
    # Whole or not at all: half a secret in it would pass for none.
    name = visible(part.name)
    return f"{part.kind} `{name}`" if len(name) <= LONGEST_NAME else f"a {part.kind}"
