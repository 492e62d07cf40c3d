"""Whether a value looks drawn at random, as credentials do, or made up by a person or for an example (P)."""

from __future__ import annotations

import re
from collections import Counter
from math import log2
from typing import Final

from sandbox.patterns import regex

WORDY: Final = 0.4
"""Of a random value, at most this part lies in runs of five or more letters as words have them."""
LEAST_PASSWORD: Final = 6
_MADE_UP = regex(
    rb"example|sample|placeholder|dummy|your[_-]|your$|[_-]here|x{4}|\*{3}|\.{3}|0{8}|1{8}|1234567|7654321"
    rb"|abcdefg|change[_-]?me|redacted|insert[_-]|replace[_-]|(?:^|[_-])fake|lorem|foobar|deadbeef",
    re.IGNORECASE,
)
_WORDS = regex(rb"[A-Z]?[a-z]{4,}|[A-Z]{5,}")
_DOTTED = regex(rb"[A-Za-z_]\w*(?:(?:\.|::|->)[A-Za-z_]\w*)+")
_SEPARATORS = regex(rb"[-_.:/ ]")
_UUID = regex(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = regex(rb"[0-9a-f]+|[0-9A-F]+")
_REFERENCE = regex(rb"[$%<{*]|https?:|[./~]|(?:os|env|process|config|self|this|args)[.\[]", re.IGNORECASE)
_HASHES: Final = (32, 40, 56, 64, 96, 128)
_DEFAULTS = frozenset(
    b"password passwd pass pwd secret postgres mysql mariadb mongo redis root admin guest user username test"
    b" testing demo changeme mysecretpassword mypassword hunter2 letmein default none null undefined"
    b" yourpassword token string".split()
)


def entropy(value: bytes) -> float:
    """Bits per byte of the value, as its own bytes are spread (Shannon); 0 of nothing."""
    size = len(value)
    return -sum(count / size * log2(count / size) for count in Counter(value).values())


def made_up(value: bytes) -> bool:
    """Whether a value says itself that it is none, as in documentation: `…EXAMPLE`, `xxxx`, `your-key`."""
    return _MADE_UP.search(value) is not None


def stands_for_another(value: bytes) -> bool:
    """Whether a password is a reference, a mask, or one of those that everybody has."""
    lower = value.lower()
    if len(value) < LEAST_PASSWORD:
        return True
    return lower in _DEFAULTS or len(set(lower)) < 3 or _REFERENCE.match(value) is not None or made_up(value)


def looks_random(value: bytes) -> bool:
    """Whether letters and digits are mixed as no word, path, name or number mixes them.

    A UUID names things more often than it opens them, and is none.
    """
    if made_up(value) or _REFERENCE.match(value) or _UUID.fullmatch(value) or b"://" in value:
        return False
    if _HEX.fullmatch(value):
        return len(value) in _HASHES and not value.isdigit()
    digits = sum(byte in b"0123456789" for byte in value)
    if (_DOTTED.fullmatch(value) and _WORDS.search(value)) or _is_composed(value):
        return False
    letters = sum(chr(byte).isalpha() for byte in value)
    if not digits or letters < 4 or digits + letters < 0.7 * len(value):
        return False
    return _in_words(value) <= WORDY * len(value)


def _is_composed(value: bytes) -> bool:
    """Whether a value is mostly words with something between: `x-amz-content-sha256`, `A_DATA_BASE64`."""
    parts = _SEPARATORS.split(value)
    words = sum(part.isalpha() and (part.islower() or part.isupper()) and len(part) > 2 for part in parts)
    return len(parts) > 2 and 2 * words >= len(parts)


def _in_words(value: bytes) -> int:
    return sum(len(found) for found in _WORDS.findall(value))
