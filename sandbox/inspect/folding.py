"""Text as rules compare it: lower case, plain letters, one blank between words (P)."""

from __future__ import annotations

import re

from sandbox.inspect.confusables import skeleton
from sandbox.patterns import regex

# Spelt out, since `\W` holds the vowel signs of Devanagari and Thai: they are parts of words.
_BETWEEN = (
    r"\x00-\x20!-/:-@\[-`{-\xbf\u2000-\u206f\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_GAP = regex(f"[{_BETWEEN}]+")
_WORD = regex(f"[^{_BETWEEN}]+")
_LEET = str.maketrans("013457@$!|", "oieastasii")


def fold(text: str) -> str:
    """The words of `text`, each with a blank before it, and one after the last."""
    plain = text.lower() if text.isascii() else skeleton(text.lower()).lower()
    return f" {_GAP.sub(' ', plain)} ".replace("  ", " ")


def unleet(text: str) -> str:
    """`1gn0re` as `ignore`; numbers stay numbers."""
    return re.sub(r"[\w@$!|]+", _spelt, text)


def span(text: str, folded: str, start: int, end: int) -> tuple[int, int]:
    """Where in `text` stands what `folded[start:end]` says, whole words."""
    words = [word.span() for word in _WORD.finditer(text)]
    if not words:
        return 0, len(text)
    last = len(words) - 1
    first = min(folded[:start].strip().count(" ") + (folded[:start].strip() != ""), last)
    final = min(first + folded[start:end].strip().count(" "), last)
    return words[first][0], words[final][1]


def fold_pattern(pattern: str) -> str:
    """A pattern whose letters are folded as those of the text; what is ASCII may be syntax and stays."""
    return "".join(char if char.isascii() else skeleton(char.lower()).lower() for char in pattern)


def _spelt(word: re.Match[str]) -> str:
    said = word[0]
    return said.translate(_LEET) if any(char.isalpha() for char in said) else said
