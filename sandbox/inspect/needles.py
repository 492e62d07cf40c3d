"""Finds values of this session, canaries of its decoys above all, in bytes in any common spelling (P).

Every value is looked for in one folded text, letters and digits without case, so that line breaks, dots,
separators, escaped slashes and UTF-16 hide nothing. A piece of 16 letters and digits of a value is enough:
so many are no chance, and the other half may have gone another way.

What it does not see: encryption, also TLS that is not ended here; compression; ciphers as simple as rot13;
one encoding in another, but for the escapes of URLs and JSON; pieces of a value with other letters or digits
between them, such as the sizes of HTTP chunks. So a sighting is evidence of a theft, and none is no proof.
"""

from __future__ import annotations

import math
import re
from base64 import b32encode, b32hexencode, b64encode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal

from sandbox.patterns import regex
from sandbox.records import dataclass

LEAST = 16
"""Letters and digits of a value that must be seen together."""
LEVELS = 3
"""Escapes in escapes: `%2541` is two."""

Encoding = Literal["plain", "reversed", "hex", "base64", "base32", "url", "unicode"]
"""`base64` is also base64url: the bits of letters and digits never make the two characters that differ."""

_VALUE = regex(r"[A-Za-z0-9/+_=-]+", re.ASCII)
_DIGITS, _UPPER, _LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
_HEXDIGITS = f"{_DIGITS}abcdefABCDEF"
OTHERS: Final = bytes(set(range(256)) - set(f"{_DIGITS}{_UPPER}{_LOWER}".encode()))
FOLD: Final = bytes.maketrans(_UPPER.encode(), _LOWER.encode())
_HEX = {pair.encode(): bytes.fromhex(pair) for pair in (a + b for a in _HEXDIGITS for b in _HEXDIGITS)}
_WORD = 8


@dataclass(frozen=True, slots=True)
class Sighting:
    """A canary that was seen, by its name, and how it was spelt; never the value."""

    name: str
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Form:
    """One spelling of one value, folded; `least` characters of it stand for `LEAST` of the value."""

    text: bytes
    least: int
    sighting: Sighting


class Needles:
    """The canaries of a session, in every spelling that is looked for."""

    def __init__(self, canaries: Mapping[str, str]) -> None:
        """`canaries`: name and value, 16 or more letters and digits and perhaps some of `/+_-=`."""
        self._forms = [form for name, value in canaries.items() for form in _forms(name, value)]
        # Between zeros, which no folded text has: no match runs from one form into the next.
        self._all = b"\0" + b"".join(form.text + b"\0" for form in self._forms)
        self._starts = [match.start() for match in re.finditer(rb"[^\0]+", self._all)]
        self._words = frozenset(_words_at_every_place(form.text for form in self._forms))
        self.longest = max((len(form.text) for form in self._forms), default=0)
        """Characters of the longest spelling, folded."""

    def find(self, data: bytes) -> Sighting | None:
        """The first canary in `data`, plain, reversed or encoded, its escapes undone up to `LEVELS` times."""
        found = self.find_unescaped(data)
        for _ in range(LEVELS):
            if found is not None:
                return found
            plain = unescaped(data)
            if len(plain) == len(data):
                return None
            data, escape = plain, _escape_of(data)
            found = _by_escape(self.find_unescaped(data), escape)
        return found

    def in_name(self, labels: tuple[bytes, ...]) -> Sighting | None:
        """The canary in a name that is looked up, however the dots cut it."""
        return self.find_unescaped(b"".join(labels))

    def find_unescaped(self, data: bytes) -> Sighting | None:
        """As `find`, for data that has no escapes."""
        text = data.translate(FOLD, OTHERS)
        # Of 15 characters anywhere, 8 are one of these words: a set answers for all forms in one pass.
        words = memoryview(text)[: len(text) & -_WORD].cast("Q")
        if self._words.isdisjoint(words):
            return None
        for at, word in enumerate(words):
            if word in self._words:
                found = self._around(text, at * _WORD, data)
                if found is not None:
                    return found
        return None

    def _around(self, text: bytes, at: int, data: bytes) -> Sighting | None:
        """The form of which enough stands around the word at `at`."""
        word = text[at : at + _WORD]
        place = self._all.find(word)
        while place >= 0:
            form = self._forms[bisect_right(self._starts, place) - 1]
            left, right = alike(text, at, self._all, place)
            if right - left >= form.least:
                return _spelt(form.sighting, data.translate(None, OTHERS)[left:right], data)
            place = self._all.find(word, place + 1)
        return None


# --- the spellings of a value ------------------------------------------------------------------------


def _forms(name: str, value: str) -> Iterator[Form]:
    plain = value.encode("ascii", "replace")
    if not _VALUE.fullmatch(value) or len(folded(plain)) < LEAST:
        raise ValueError(f"canary `{name}` is no {LEAST} or more letters and digits, with `/+_-=` at most")
    yield from spellings(name, plain, LEAST)


def spellings(name: str, plain: bytes, least: int) -> Iterator[Form]:
    """The folded spellings of a value; `least` of its characters stand for all of it."""
    directions: tuple[tuple[bytes, Encoding], ...] = ((plain, "plain"), (plain[::-1], "reversed"))
    for raw, direction in directions:
        yield Form(folded(raw), least, Sighting(name, direction))
        yield Form(raw.hex().encode(), 2 * least, Sighting(name, "hex"))
        yield from aligned(raw, b64encode, 6, least, Sighting(name, "base64"))
        for encode in (b32encode, b32hexencode):
            yield from aligned(raw, encode, 5, least, Sighting(name, "base32"))


def aligned(
    raw: bytes, encode: Callable[[bytes], bytes], bits: int, least: int, sighting: Sighting
) -> Iterator[Form]:
    """The characters that `raw` alone decides, with each number of bytes before it in its group of bytes."""
    for before in range(math.lcm(8, bits) // 8):
        text = encode(bytes(before) + raw)
        core = text[-(-8 * before // bits) : 8 * (before + len(raw)) // bits]
        # What `least` bytes decide wherever they begin.
        yield Form(folded(core), (8 * least - bits + 1) // bits, sighting)


def folded(text: bytes) -> bytes:
    return text.translate(FOLD, OTHERS)


def _words_at_every_place(texts: Iterable[bytes]) -> Iterator[int]:
    for text in texts:
        for at in range(len(text) - _WORD + 1):
            yield memoryview(text[at : at + _WORD]).cast("Q")[0]


def alike(text: bytes, at: int, all_: bytes, place: int, size: int = _WORD) -> tuple[int, int]:
    """From where to where `text` around the `size` bytes at `at` is as the forms are around `place`."""
    left, right = 0, size
    while left < at and text[at - left - 1] == all_[place - left - 1]:
        left += 1
    while at + right < len(text) and text[at + right] == all_[place + right]:
        right += 1
    return at - left, at + right


def _spelt(sighting: Sighting, seen: bytes, data: bytes) -> Sighting:
    """Folding makes hexadecimal of `%41%42`; they are told apart again here."""
    escaped = any(b"%%%b%%" % seen[at : at + 2] in data for at in (0, 1))
    return Sighting(sighting.name, "url") if sighting.encoding == "hex" and escaped else sighting


# --- escapes -----------------------------------------------------------------------------------------


def unescaped(data: bytes) -> bytes:
    """`data` with the escapes of URLs and of JSON undone, once; as long as before if there are none."""
    if b"%" in data:
        data = _hex_after(data, b"%")
    if b"\\" in data:
        for marker in (b"\\u00", b"\\x"):
            data = _hex_after(data, marker)
        # Line breaks of wrapped base64: no value has one.
        for escape in (b"\\n", b"\\r", b"\\t"):
            data = data.replace(escape, b"")
    return data


def _hex_after(data: bytes, marker: bytes) -> bytes:
    # Several times as fast as a regular expression, where there are many escapes and where there are none.
    first, *rest = data.split(marker)
    pieces = [first]
    for piece in rest:
        byte = _HEX.get(piece[:2])
        pieces += (marker, piece) if byte is None else (byte, piece[2:])
    return b"".join(pieces)


def _escape_of(data: bytes) -> Encoding:
    return "url" if b"%" in data else "unicode"


def _by_escape(found: Sighting | None, escape: Encoding) -> Sighting | None:
    return Sighting(found.name, escape) if found and found.encoding == "plain" else found
