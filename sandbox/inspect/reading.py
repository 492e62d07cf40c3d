"""Reads texts for poison: where to look, how a text reads once it is undisguised, which rules match (P)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from sandbox.inspect.confusables import disguised, skeleton
from sandbox.inspect.encoded import decoded, turned
from sandbox.inspect.folding import fold, span, unleet
from sandbox.inspect.hidden import without
from sandbox.inspect.poison_near import digits, escapes, unseen, writings
from sandbox.inspect.poison_rules import Matcher, Rule, search_for, triggers

BEFORE: Final = 240
AFTER: Final = 360
"""Bytes around a place that a rule stands near, in which its patterns are looked for."""
MOST_READ: Final = 1 << 20
"""Bytes of one message that are matched against rules; what lies beyond is a finding of its own."""


class Hit(NamedTuple):
    """A rule that matches, the characters of the text that do, and how they were disguised (empty: not)."""

    rule: Rule
    start: int
    end: int
    how: str = ""


class Budget:
    """What may still be read of one message."""

    def __init__(self, most: int = MOST_READ) -> None:
        self.left = most
        self.spent = False

    def take(self, amount: int) -> bool:
        """Whether so much may be read."""
        self.left -= amount
        self.spent |= self.left < 0
        return not self.spent


class Reader:
    """Finds what rules match; compiled once for a session."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        import re2

        near = triggers(rules)
        matchers = {rule.id: Matcher(rule) for rule, _ in near}
        self._matchers = [matchers[rule.id] for rule, _ in near]
        whole = [pattern for _, pattern in near]
        closely = (*whole, unseen(), writings(), digits(), escapes())
        self.near = search_for(b"(?i)" + b"|".join(b"(?:" + pattern + b")" for pattern in closely))
        """Where a text, or a line of JSON, has to be looked at: where it finds nothing, no rule does."""
        self._writing = search_for(b"(?i)" + writings())
        self._digits = search_for(b"(?i)" + digits())
        self._unseen = search_for(b"(?i)" + unseen())
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.max_mem = 8 << 20
        options.log_errors = False
        self._which = re2.Set.SearchSet(options)
        for pattern in whole:
            self._which.Add(b"(?i)" + pattern)
        self._which.Compile()

    def hits(self, text: str, budget: Budget) -> list[Hit]:
        """What matches in the text, as it stands and undisguised; a rule is found once."""
        data = text.encode()
        if self.near(data, 0)[0] < 0:
            return []
        found = {hit.rule.id: hit for hit in self._matches(text, data, budget)}
        for hit in self._undisguised(text, data, budget):
            found.setdefault(hit.rule.id, hit)
        return [*found.values()]

    def unseen(self, text: str) -> bool:
        """Whether the text may hold a hidden character or a letter in disguise."""
        return self._unseen(text.encode(), 0)[0] >= 0

    def _undisguised(self, text: str, data: bytes, budget: Budget) -> Iterator[Hit]:
        if not data.isascii() and self._unseen(data, 0)[0] >= 0:
            plain = without(text)
            if plain != text:
                yield from self._again(plain, "hidden characters between", budget)
            if disguised(plain):
                yield from self._again(skeleton(plain), "look-alike letters", budget)
        if self._digits(data, 0)[0] >= 0:
            yield from self._again(unleet(text), "digits for letters", budget)
        if self._writing(data, 0)[0] >= 0:
            for run in (*decoded(text), *turned(text)):
                for hit in self._again(run.text, run.how, budget):
                    yield Hit(hit.rule, run.start, run.end, run.how)

    def _again(self, text: str, how: str, budget: Budget) -> Iterator[Hit]:
        for hit in self._matches(text, text.encode(), budget):
            yield Hit(hit.rule, hit.start, hit.end, hit.how or how)

    def _matches(self, text: str, data: bytes, budget: Budget) -> Iterator[Hit]:
        ascii = text.isascii()
        for low, high in self._windows(data):
            window = data[low:high]
            which = self._which.Match(window)
            if not which:
                continue
            if not budget.take(high - low):
                return
            piece = window.decode(errors="ignore")
            start = low if ascii else len(data[:low].decode(errors="ignore"))
            yield from self._in_window(piece, which, start)

    def _in_window(self, piece: str, which: list[int], shift: int) -> Iterator[Hit]:
        folded = fold(piece)
        for matcher in dict.fromkeys(self._matchers[at] for at in which):
            plain = matcher.rule.plain
            subject = piece if plain else folded
            place = matcher.span(subject.encode())
            if place is not None:
                start, end = _in_chars(subject, place)
                if not plain:
                    start, end = span(piece, folded, start, end)
                yield Hit(matcher.rule, shift + start, shift + end)

    def _windows(self, data: bytes) -> Iterator[tuple[int, int]]:
        """The bytes around everything that a rule may stand near, overlapping ones as one."""
        start, end = self.near(data, 0)
        while start >= 0:
            low, high = max(0, start - BEFORE), end + AFTER
            while True:
                # Empty matches there are none; from its end on, what begins inside is part of the window.
                start, end = self.near(data, max(end, start + 1))
                if start < 0 or start - BEFORE > high:
                    break
                high = max(high, end + AFTER)
            yield low, min(high, len(data))


def _in_chars(text: str, place: tuple[int, int]) -> tuple[int, int]:
    if text.isascii():
        return place
    data = text.encode()
    return len(data[: place[0]].decode(errors="ignore")), len(data[: place[1]].decode(errors="ignore"))
