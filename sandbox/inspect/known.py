"""The secrets of a session, by name and value, found in a text however they are spelt (P).

A value that looks random is known by any `LEAST` of its letters and digits in a row, in plain, backwards, in
hexadecimal, base64 and base32, with whatever else between them. One that does not has to stand there whole,
and one that is as short as a word, as a word of its own.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import Any, Final

from sandbox.inspect.encodings import masked, overlapping
from sandbox.inspect.entropy import entropy
from sandbox.inspect.needles import LEAST, Form, alike, folded, spellings, unescaped
from sandbox.patterns import regex
from sandbox.records import dataclass

TINY: Final = 4
"""A value below this length is not looked for: it would be found everywhere."""
SHORT: Final = 8
"""A value of fewer letters and digits is looked for as it is, as a word of its own."""
WORD: Final = 12
"""So is one of up to this many that does not look random; beside that in other spellings."""
LONG: Final = 256
MOST_FORMS: Final = 2048
MOST_TRIES: Final = 1000
"""Windows of a form that are looked around in vain before something dearer is searched for."""
MOST_MEMORY: Final = 64 << 20
_RANDOM: Final = 3.0
_NAMED = regex(
    r"TOKEN|SECRET|PASSW|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL|_PAT$|_PWD$|_DSN$",
    re.IGNORECASE,
)
_PIECES = regex(r"[A-Za-z0-9+/=_-]{16,}")
KEPT: Final = bytes(int(bytes([byte]).isalnum() and byte < 128) for byte in range(256))
"""By byte, 1 for those that are left of a text when it is folded."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A secret of the session from `start` to `end` of a text, and how it is spelt there."""

    start: int
    end: int
    name: str
    encoding: str


class Known:
    """The values of one session; without any, `match` is None of every text."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._forms: list[Form] = []
        self._exact: dict[bytes, str] = {}
        for name, value in values.items():
            for part, whole in parts(value):
                self._take(name, part, whole)
        self._texts = b"\0" + b"".join(form.text + b"\0" for form in self._forms)
        self._starts = [found.start() for found in re.finditer(rb"[^\0]+", self._texts)]
        self._windows = sorted({window for form in self._forms for window in _windows(form)})
        self._longest = max((len(form.text) for form in self._forms), default=0)
        self._search: Any = None
        self._whole: Any = None
        self._words: Any = None

    def __bool__(self) -> bool:
        return bool(self._forms or self._exact)

    @property
    def longest(self) -> int:
        """Letters and digits of the longest spelling."""
        return self._longest

    def _take(self, name: str, value: str, whole: bool) -> None:
        raw = value.encode("utf-8", "surrogateescape")
        size = len(folded(raw))
        word = size < SHORT or (whole and size <= WORD)
        if word:
            from urllib.parse import quote

            for spelt in {raw, quote(value, safe="").encode(), raw.hex().encode()}:
                self._exact[spelt] = name
        if size < SHORT or len(self._forms) >= MOST_FORMS:
            return
        forms = spellings(name, raw, size if whole else min(LEAST, size))
        plain = ("plain", "reversed") if word else ()
        self._forms += [
            form for form in forms if len(form.text) >= form.least and form.sighting.encoding not in plain
        ]

    def worth(self, text: bytes) -> bool:
        """Whether a look for spans is worth it; this one costs as little as can be."""
        if b"\\" in text or b"%" in text:
            return any(map(self._worth, map(unescaped, overlapping(text))))
        return self._worth(text)

    def _worth(self, text: bytes) -> bool:
        return self.worth_folded(folded(text)) or bool(self._exact and self._word(text) is not None)

    def worth_folded(self, text: bytes) -> bool:
        """The same of letters and digits alone, in lower case."""
        if self._search is None:
            if not self._windows:
                return False
            import re2

            self._search = re2.compile(b"|".join(self._windows)).search
        return self._search(text) is not None

    def _word(self, text: bytes) -> Any:
        if self._words is None:
            import re2

            literals = b"|".join(map(_escaped, sorted(self._exact, key=len, reverse=True)))
            self._words = re2.compile(rb"(?:[^A-Za-z0-9_]|\A)(%b)(?:[^A-Za-z0-9_]|\z)" % literals)
        return self._words.search(text)

    def find(self, text: bytes) -> Iterator[Seen]:
        """Every place of a value in the text, from the left; none overlaps another."""
        yield from self._in_words(text)
        text = masked(text)
        kept: array[int] | None = None
        for form, left, right in self.find_folded(folded(text)):
            if kept is None:
                kept = array("L", compress(range(len(text)), text.translate(KEPT)))
            yield Seen(kept[left], kept[right - 1] + 1, form.sighting.name, form.sighting.encoding)

    def find_folded(self, text: bytes) -> Iterator[tuple[Form, int, int]]:
        """The same in letters and digits alone, in lower case: the form, from where and to where."""
        if not self.worth_folded(text):
            return
        at = 0
        while (found := self._next(text, at)) is not None:
            yield found
            at = found[2]

    def _in_words(self, text: bytes) -> Iterator[Seen]:
        if not self._exact or self._word(text) is None:
            return
        for found in self._words.finditer(text):
            start, end = found.span(1)
            yield Seen(start, end, self._exact[text[start:end]], "plain")

    def _next(self, text: bytes, at: int) -> tuple[Form, int, int] | None:
        """The next form of which enough stands in the folded text after `at`."""
        tries, search = 0, self._search
        while (found := search(text, at)) is not None:
            best = self._around(text, found.start(), found.end())
            if best is not None:
                return best[0], max(best[1], at), best[2]
            at, tries = found.start() + 1, tries + 1
            if tries == MOST_TRIES:
                search = self._enough()
        return None

    def _enough(self) -> Any:
        """Searches for what is enough of a form: slower to make than windows, and never in vain."""
        if self._whole is None:
            import re2

            pieces = sorted({piece for form in self._forms for piece in _pieces(form)})
            options = re2.Options()
            options.max_mem = MOST_MEMORY
            self._whole = re2.compile(b"|".join(pieces), options).search
        return self._whole

    def _around(self, text: bytes, start: int, end: int) -> tuple[Form, int, int] | None:
        """The form that has most in common with the text around a window of one."""
        window, best = text[start:end], None
        place = self._texts.find(window)
        while place >= 0:
            form = self._forms[bisect_right(self._starts, place) - 1]
            left, right = alike(text, start, self._texts, place, len(window))
            if right - left >= form.least and (best is None or right - left > best[2] - best[1]):
                best = form, left, right
            place = self._texts.find(window, place + 1)
        return best


def _windows(form: Form) -> Iterator[bytes]:
    """Pieces of a form of which one lies in every `least` characters of it."""
    text, least = form.text, form.least
    if len(text) <= least:
        yield text
        return
    size = (least + 1) // 2
    step = least - size + 1
    for at in range(0, len(text) - size + 1, step):
        yield text[at : at + size]
    yield text[-size:]


def _pieces(form: Form) -> Iterator[bytes]:
    """All that is just enough of a form."""
    for at in range(len(form.text) - form.least + 1):
        yield form.text[at : at + form.least]


def _escaped(literal: bytes) -> bytes:
    return b"".join(b"\\x%02x" % byte for byte in literal)


def parts(value: str) -> Iterator[tuple[str, bool]]:
    """What of a value is secret, and whether only the whole of it says so.

    Of an address it is the password, of a file (a service account's JSON, a key's lines) what looks random.
    """
    if len(value) < TINY:
        return
    if password := _password(value):
        from urllib.parse import unquote

        yield from parts(password)
        if unquote(password) != password:
            yield from parts(unquote(password))
        yield value, True
    elif len(value) > LONG or any(character.isspace() for character in value.strip()):
        pieces = [piece for piece in _PIECES.findall(value) if _is_random(piece)]
        yield from ((piece, False) for piece in pieces)
        if not pieces or len(value) <= LONG:
            yield value[: 4 * LONG], True
    else:
        yield value, not _is_random(value)


def _password(value: str) -> str:
    if "://" not in value:
        return ""
    from urllib.parse import urlsplit  # most secrets are no addresses

    try:
        return urlsplit(value).password or ""
    except ValueError:
        return ""


def _is_random(value: str) -> bool:
    raw = value.encode("utf-8", "surrogateescape")
    mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
    return mixed and entropy(raw) >= _RANDOM


def granted(env: Mapping[str, str]) -> dict[str, str]:
    """Of the variables that a server gets, those that are secrets by their names."""
    return {name: value for name, value in env.items() if _NAMED.search(name) and len(value) >= SHORT}
