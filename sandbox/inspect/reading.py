"""Reads texts for poison: where to look, how a text reads once it is undisguised, which rules match (P)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from sandbox.inspect.confusables import disguised, skeleton
from sandbox.inspect.encoded import decoded, turned
from sandbox.inspect.first_look import MOST, Question
from sandbox.inspect.folding import fold, span, unleet
from sandbox.inspect.hidden import without
from sandbox.inspect.poison_near import CONTROLS, anything, digits, dressed, split, unseen, worst, writings
from sandbox.inspect.poison_rules import Matcher, Rule
from sandbox.wire.strict import Bytes

WINDOW: Final = 1280
STEP: Final = 768
"""Bytes that are read at once, and how far on the next ones begin: what matches is shorter than the rest."""
LONGEST_RUN: Final = 1 << 14
MOST_READ: Final = 4 << 20
"""Bytes of one message that are matched against rules; what lies beyond is a finding of its own."""
Holds = Callable[[Bytes], bool]


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

    def __init__(self, rules: Iterable[Rule], near: bytes = b"") -> None:
        """`near`: what `anything` makes of these rules or of more, where that is known already."""
        rules = [rule for rule in rules if rule.searched]
        pattern = near or anything(near for rule in rules for near in rule.nears)
        self._near = Question(lambda: b"(?i)" + pattern, lambda: holds(pattern))
        self.questions = (self._near,)
        """What every text is asked."""
        self._writing = _once(writings)
        self._digits = _once(digits)
        self._closely = _once(lambda: unseen() + b"|" + dressed())
        self._split = _once(split)
        self._dressed = _once(dressed)
        self._unseen = _once(unseen)
        self._worst = _once(worst)
        self._groups = [_Group([rule for rule in rules if rule.group == name]) for name in _names(rules)]

    def warm(self) -> Iterator[None]:
        """Makes what most texts of words need, a piece a step; beside `hits` some is made twice at worst."""
        self._near.made()
        yield
        for group in self._groups:
            yield from group.warm()
        for search in (self._digits, self._writing):
            search(b"")
            yield

    def near(self, data: Bytes) -> bool:
        """Whether a text, or a line of JSON without escapes, has to be looked at; if not, no rule matches."""
        return bool(self._near(data)) or (not data.isascii() and self._closely(data))

    def unseen(self, text: str, *, any: bool) -> bool:
        """Whether the text may hold hidden characters: of any sort, or of those that weigh in any text."""
        if len(text) <= MOST and text.isascii() and CONTROLS.isdisjoint(text):
            return False
        return self._unseen(text.encode()) if any else self._worst(text.encode())

    def written(self, text: str, budget: Budget) -> list[Hit]:
        """What matches in a text that is bytes in base64, once it is read."""
        return [*self._read(text.encode(), budget)]

    def hits(self, text: str, budget: Budget) -> list[Hit]:
        """What matches in the text, as it stands and undisguised; a rule is found once."""
        data = text.encode()
        if not self.near(data):
            return []
        found = {hit.rule.id: hit for hit in self._matches(data, budget)}
        for hit in self._undisguised(text, data, budget):
            found.setdefault(hit.rule.id, hit)
        return [*found.values()]

    def _undisguised(self, text: str, data: bytes, budget: Budget) -> Iterator[Hit]:
        if not data.isascii():
            if self._split(data):
                yield from self._again(without(text), "hidden characters between", budget)
            if self._dressed(data) and disguised(plain := without(text)):
                yield from self._again(skeleton(plain), "look-alike letters", budget)
        if self._digits(data):
            yield from self._again(unleet(text), "digits for letters", budget)
        yield from self._read(data, budget)

    def _read(self, data: bytes, budget: Budget) -> Iterator[Hit]:
        for start, piece in self._written(data, budget):
            for run in (*decoded(piece), *turned(piece)):
                for hit in self._again(run.text, run.how, budget):
                    yield Hit(hit.rule, start + run.start, start + run.end, run.how)

    def _written(self, data: bytes, budget: Budget) -> Iterator[tuple[int, str]]:
        """The pieces of a text that may be written for machines, whole runs, with their first character."""
        if not self._writing(data):
            return
        chars = _Chars(data)
        end = 0
        for low, window in _windows(data):
            if low + len(window) <= end or not self._writing(window):
                continue
            start, end = _whole(data, max(low, end), low + len(window))
            if not budget.take(end - start):
                return
            yield chars.before(start), data[start:end].decode(errors="ignore")

    def _again(self, text: str, how: str, budget: Budget) -> Iterator[Hit]:
        for hit in self._matches(text.encode(), budget):
            yield Hit(hit.rule, hit.start, hit.end, hit.how or how)

    def _matches(self, data: bytes, budget: Budget) -> Iterator[Hit]:
        known: set[str] = set()
        chars = _Chars(data)
        for low, window in _windows(data):
            if not self._near(window):
                continue
            if not budget.take(len(window)):
                return
            matchers = [one for group in self._groups for one in group.near(window)]
            if matchers := [one for one in matchers if one.rule.id not in known]:
                for hit in _in_window(window.decode(errors="ignore"), matchers, chars.before(low)):
                    known.add(hit.rule.id)
                    yield hit


class _Group:
    """The rules of one group, with one search for what any of them stands near."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._any: Holds | None = None
        self._each: list[tuple[Holds, Matcher]] = []

    def warm(self) -> Iterator[None]:
        self._whole()
        yield
        self._parts()
        yield

    def near(self, window: bytes) -> list[Matcher]:
        """The rules that stand near something in the window."""
        if not self._whole()(window):
            return []
        return [matcher for near, matcher in self._parts() if near(window)]

    def _whole(self) -> Holds:
        if self._any is None:
            self._any = holds(b"|".join(rule.stands for rule in self._rules))
        return self._any

    def _parts(self) -> list[tuple[Holds, Matcher]]:
        if not self._each:
            self._each = [(holds(rule.stands), Matcher(rule)) for rule in self._rules]
        return self._each


class _Chars:
    """How many characters stand before a byte; asked with bytes that only grow."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._ascii = data.isascii()
        self._at = self._count = 0

    def before(self, at: int) -> int:
        if self._ascii:
            return at
        self._count += len(self._data[self._at : at].decode(errors="ignore"))
        self._at = at
        return self._count


def _windows(data: bytes) -> Iterator[tuple[int, bytes]]:
    for low in range(0, max(1, len(data) - WINDOW + STEP), STEP):
        # On the first byte of a character, so that nothing is counted or read as half.
        while low and low < len(data) and data[low] & 0xC0 == 0x80:
            low -= 1
        yield low, data[low : low + WINDOW]


def _whole(data: bytes, start: int, end: int) -> tuple[int, int]:
    """From the blank before `start` to the one after `end`, if there are any near."""
    before = data.rfind(b" ", max(0, start - LONGEST_RUN), start) + 1
    after = data.find(b" ", end, end + LONGEST_RUN)
    start = before or max(0, start - LONGEST_RUN)
    while start < len(data) and data[start] & 0xC0 == 0x80:
        start += 1
    return start, min(len(data), end + LONGEST_RUN) if after < 0 else after


def holds(pattern: bytes) -> Holds:
    """Whether bytes hold the pattern (Latin-1, any case), told by an automaton that only goes forward.

    RE2's search for the place goes back as well, for which an automaton of thousands of words has no room.
    """
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 8 << 20
    options.log_errors = False
    one = re2.Set.SearchSet(options)
    one.Add(b"(?i)" + pattern)
    one.Compile()
    match = one._set.Match
    return lambda data: bool(match(data))


def _once(pattern: Callable[[], bytes]) -> Holds:
    """The same, compiled when it is first asked: most sessions never ask most of them."""
    made: list[Holds] = []

    def search(data: Bytes) -> bool:
        if not made:
            made.append(holds(pattern()))
        return made[0](data)

    return search


def _names(rules: list[Rule]) -> list[str]:
    return sorted({rule.group for rule in rules})


def _in_window(piece: str, matchers: list[Matcher], shift: int) -> Iterator[Hit]:
    folded = fold(piece)
    for matcher in matchers:
        plain = matcher.rule.plain
        subject = piece if plain else folded
        place = matcher.span(subject.encode())
        if place is not None:
            start, end = _in_chars(subject, place)
            if not plain:
                start, end = span(piece, folded, start, end)
            yield Hit(matcher.rule, shift + start, shift + end)


def _in_chars(text: str, place: tuple[int, int]) -> tuple[int, int]:
    if text.isascii():
        return place
    data = text.encode()
    return len(data[: place[0]].decode(errors="ignore")), len(data[: place[1]].decode(errors="ignore"))
