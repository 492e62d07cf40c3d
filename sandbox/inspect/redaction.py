"""Takes credentials and a session's own secrets out of a text, however spelt, and says what they were (P)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from sandbox.inspect.credentials import Credentials, Hit
from sandbox.inspect.encodings import Run, escaped_runs, packed_runs, plain_pieces
from sandbox.inspect.entropy import entropy, looks_random
from sandbox.inspect.known import Known, Seen
from sandbox.inspect.marks import Marks
from sandbox.inspect.needles import Form
from sandbox.patterns import regex
from sandbox.records import dataclass

LEAST_NAMED: Final = 12
MOST_NAMED: Final = 256
_NAMED = regex(
    r"passw(?:or)?d|passphrase|secret|(?:api|access|private|encryption|signing|master)_?-?key"
    r"|(?:^|access|auth|refresh|api|bot|client|id|oauth|personal|deploy|service|session|webhook)_?-?token$"
    r"|credential|^pwd$",
    re.IGNORECASE,
)
DEPTH: Final = 3
"""Spellings in spellings that are undone."""
MOST: Final = 10_000
"""Secrets in one text; whoever writes more loses all that follows."""
MOST_RUNS: Final = 100_000
"""Stretches of a text with a secret in it that are read in another spelling; what follows is lost too."""
_PACKED: Final = ("base64", "hex")
_FORWARD: Final = ("token", "key")
_TOO_MANY: Final = "many"


@dataclass(frozen=True, slots=True)
class Found:
    """One secret that was found: its rule, what it is in words, how it was spelt; never its value."""

    rule: str
    name: str
    group: str
    upward: str
    encoding: str = "plain"

    @property
    def reason(self) -> str:
        """In words."""
        return self.name if self.encoding == "plain" else f"{self.name} ({self.encoding})"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a text that is to go."""

    start: int
    end: int
    found: Found


TOO_MANY = Found(_TOO_MANY, f"more than {MOST} secrets", "known", "deny")


class Redaction:
    """What is looked for in one session; `credentials` is asked for its rules at the first text."""

    def __init__(self, credentials: Callable[[], Credentials], known: Known, marks: Marks) -> None:
        self._load = credentials
        self._rules: Credentials | None = None
        self.known = known
        self.marks = marks

    @property
    def rules(self) -> Credentials:
        """The rules, once they are needed."""
        if self._rules is None:
            self._rules = self._load()
        return self._rules

    def worth(self, data: bytes) -> bool:
        """Whether anything may be in this; costs one pass, two where the session has secrets."""
        return bool(self.rules.match(data)) or (bool(self.known) and self.known.worth(data))

    def clean(self, text: str) -> tuple[str, list[Found]]:
        """The text without secrets, and what they were; the text itself where there are none."""
        data = text.encode("utf-8", "surrogatepass")
        if not self.worth(data):
            return text, []
        made, found = self._clean(data, DEPTH)
        return (made.decode("utf-8", "surrogatepass"), found) if found else (text, found)

    def clean_known(self, text: str) -> tuple[str, list[Found]]:
        """The text without the session's own secrets; nothing else is looked for."""
        data = text.encode("utf-8", "surrogatepass")
        found: list[Found] = []
        if self.known and self.known.worth(data):
            spans = _bounded(map(_known, self.known.find(data)), len(data))
            data = self._without(spans, data, found)
        return (data.decode("utf-8", "surrogatepass"), found) if found else (text, found)

    def named(self, name: str, text: str) -> tuple[str, list[Found]]:
        """The same of a text that is the value of `name`, where that says that it is a secret."""
        rule = self.rules.by_name
        value = text.encode("utf-8", "surrogatepass")
        if rule is None or not (LEAST_NAMED <= len(value) <= MOST_NAMED) or not _NAMED.search(name):
            return text, []
        if entropy(value) < rule.entropy or any(c.isspace() for c in text) or not looks_random(value):
            return text, []
        found = Found(rule.id, rule.name, rule.group, rule.upward)
        return self.marks.of(rule.id, rule.group, value).decode(), [found]

    def _clean(self, data: bytes, depth: int) -> tuple[bytes, list[Found]]:
        """Plain first, then what is packed and escaped, and last what only the known values' forms see."""
        numbers, packed, escaped = self.rules.worth(self.rules.match(data) or ())
        known = [*_bounded(map(_known, self.known.find(data)), len(data))] if self.known else []
        apart = [span for span in known if span.found.encoding in _PACKED]
        found: list[Found] = []
        plain = [span for span in known if span.found.encoding not in _PACKED]
        data = self._without([*plain, *self._spans(data, numbers, backwards=packed)], data, found)
        if depth and (packed or apart):
            data = self._within_bounds(data, found)
            data = self._runs(packed_runs(data, self._places(data)), data, depth, found)
        if depth and escaped and any(map(self.worth, plain_pieces(data))):
            data = self._runs(escaped_runs(data), data, depth, found)
        if apart:
            left = _bounded(map(_known, self.known.find(data)), len(data))
            data = self._without(left, data, found)
        return data, found

    def spans(self, data: bytes) -> list[Span]:
        """Where in a text secrets stand that no spelling hides."""
        numbers, packed, _ = self.rules.worth(self.rules.match(data) or ())
        known = _bounded(map(_known, self.known.find(data)), len(data)) if self.known else ()
        return _apart([*known, *self._spans(data, numbers, backwards=packed)])

    def _spans(self, data: bytes, numbers: Iterable[int], *, backwards: bool) -> Iterator[Span]:
        yield from _bounded(map(_credential, self.rules.find(data, sorted(numbers))), len(data))
        if backwards:
            yield from self._backwards(data)

    def _backwards(self, data: bytes) -> Iterator[Span]:
        turned = data[::-1]
        numbers, _, _ = self.rules.worth(self.rules.match(turned) or ())
        wanted = sorted(number for number in numbers if self.rules.rules[number].group in _FORWARD)
        for span in _bounded(map(_credential, self.rules.find(turned, wanted)), len(data)):
            start, end, was = len(data) - span.end, len(data) - span.start, span.found
            yield Span(start, end, Found(was.rule, was.name, was.group, was.upward, "reversed"))

    def _within_bounds(self, data: bytes, found: list[Found]) -> bytes:
        """The text up to where more begins that may be packed than is looked at: chance makes none."""
        for count, place in enumerate(self.rules.hidden(data)):
            if count >= MOST:
                return self._without([Span(place, len(data), TOO_MANY)], data, found)
        return data

    def _places(self, data: bytes) -> list[int]:
        """Where something packed may begin."""
        places = [*self.rules.hidden(data)]
        places += [seen.start for seen in self.known.find(data) if seen.encoding in _PACKED]
        return sorted(places)

    def _runs(self, runs: Iterable[Run], data: bytes, depth: int, found: list[Found]) -> bytes:
        """The text with every run that holds a secret spelt anew without it."""
        kept: list[bytes] = []
        at = 0
        for count, run in enumerate(runs):
            if count > MOST_RUNS:
                found.append(TOO_MANY)
                return b"".join((*kept, data[at : run.start]))
            if run.start < at or not self.worth(run.inner):
                continue
            inner, inside = self._clean(run.inner, depth - 1)
            if inside:
                kept += [data[at : run.start], run.spell(inner)]
                at = run.end
                found += [_spelt(one, run.encoding) for one in inside]
        return b"".join((*kept, data[at:]))

    def _without(self, spans: Iterable[Span], data: bytes, found: list[Found]) -> bytes:
        kept, at = [], 0
        for span in _apart(spans):
            value = data[span.start : span.end]
            kept += [data[at : span.start], self.marks.of(span.found.rule, span.found.group, value)]
            at = span.end
            found.append(span.found)
        return b"".join((*kept, data[at:]))


def _apart(spans: Iterable[Span]) -> list[Span]:
    """From the left, none overlapping another: of two the one that begins first, and of those the longest."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
        elif span.end > kept[-1].end:
            kept[-1] = Span(kept[-1].start, span.end, kept[-1].found)
    return kept


def _bounded(spans: Iterator[Span], size: int) -> Iterator[Span]:
    for count, span in enumerate(spans):
        if count >= MOST:
            yield Span(span.start, size, TOO_MANY)
            return
        yield span


def known_span(form: Form) -> Found:
    """What a spelling of one of the session's secrets is told as."""
    return _session_secret(form.sighting.name, form.sighting.encoding)


def _known(seen: Seen) -> Span:
    return Span(seen.start, seen.end, _session_secret(seen.name, seen.encoding))


def _session_secret(name: str, encoding: str) -> Found:
    return Found(name, f"the session's secret `{name}`", "known", "log", encoding)


def _credential(hit: Hit) -> Span:
    rule = hit.rule
    return Span(hit.start, hit.end, Found(rule.id, rule.name, rule.group, rule.upward))


def _spelt(found: Found, encoding: str) -> Found:
    both = encoding if found.encoding in ("plain", encoding) else f"{encoding} of {found.encoding}"
    return Found(found.rule, found.name, found.group, found.upward, both)


def told(found: Sequence[Found]) -> list[Found]:
    """Each kind once, in order of appearance."""
    return [*dict.fromkeys(found)]
