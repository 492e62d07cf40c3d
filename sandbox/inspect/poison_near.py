"""What rules stand near, as patterns over the bytes of a text (P).

They say where to look and nothing else: what they find too much costs time, what they overlook is lost. So
an accent is any accent or none, and whatever stands between two words is a blank.
"""

from __future__ import annotations

import codecs
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final

from sandbox.inspect.confusables import FOREIGN, LOOKS, unmarked

_BLANK = rb"[^a-z0-9]+"
_REST = rb"[a-z\x80-\xff]*"
_BEGIN = rb"(?:^|[^a-z])"
_DIGITS = {"a": b"4@", "e": b"3", "i": b"1!|", "l": b"1|", "o": b"0", "s": b"5$", "t": b"7"}
_ACCENTED = rb"[\xc3-\xc5\xc8].|\xe1[\xba\xbb]."

SPELT: Final = (
    "ignore ", "gnore all", "disregard", "instructions", "previous", "system prompt", "password",
    "do not tell", "credentials", "~/.ssh", "id_rsa", "curl http", "api_key", "the user", "you must",
    "<important>", "assistant",
)  # fmt: skip
"""What is looked for in base64 and hex; a message that holds none of it is not decoded."""
_PLAIN = (
    "ignore",
    "disregard",
    "previous",
    "instructions",
    "system",
    "prompt",
    "password",
    "secret",
    "reveal",
)
_TURNED = ("ignore", "disregard", "previous", "instructions", "system prompt", "password")

# In UTF-8: everything of `hidden.CLASS`; marks above letters and styled letters.
_HIDDEN = (
    rb"\xf3\xa0[\x80-\x87].|\xe2\x80[\x8b-\x8f\xaa-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf|\xef\xb8[\x80-\x8f]"
    rb"|\xe1\xa0[\x8b-\x8e]|\xcd\x8f|\xe1\x85[\x9f\xa0]|\xe3\x85\xa4|\xef\xbe\xa0"
    rb"|\xe2\xa0\x80|\xc2[\x80-\x9f\xad]|\xef\xbf[\xb9-\xbb]|\xe1\x9e[\xb4\xb5]|\xd8\x9c"
)
_DRESSED = (
    rb"\xcc[\x80-\xbf]|\xcd[\x80-\xaf]|\xef\xbc[\xa1-\xba]|\xef\xbd[\x81-\x9a]|\xe2\x92[\xb6-\xbf]|\xe2\x93[\x80-\xa9]"
    rb"|\xf0\x9d[\x90-\x9f]|\xf0\x9f\x84[\xb0-\xbf]|\xf0\x9f\x85|\xf0\x9f\x86[\x80-\x89]"
)
# At home nowhere, however much emoji and scripts need of the others.
_WORST = (
    rb"\xf3\xa0[\x80-\x81]|\xe2\x80[\xad\xae]|(?:\xe2\x80[\x8b-\x8d]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf){16}"
    rb"|(?:\xef\xb8[\x80-\x8f]|\xf3\xa0[\x84-\x87].){3}|\xcd\x8f{16}|(?:\xc2\xad){16}|\x1b|\xc2[\x9b\x9d]"
)
CONTROLS: Final = frozenset(map(chr, (*range(9), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F)))
"""What no reader sees of a text of ASCII."""
_CONTROLS = rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"


def near_pattern(near: str) -> bytes:
    """The pattern of Latin-1 bytes for one entry of `near` or `words`."""
    if near.startswith("re:"):
        return near[3:].encode()
    begin = _BEGIN if _is_word(near) else b""
    return begin + b"".join(_byte_pattern(char) for char in near.rstrip("!"))


def anything(nears: Iterable[str]) -> bytes:
    """One pattern for all that a text is read for: these, words with digits for letters, and writings."""
    return b"|".join((together(nears), writings(), digits()))


def together(nears: Iterable[str]) -> bytes:
    """One pattern for all of them; those that begin as words do have that beginning in common.

    The words of a group are not written out: RE2 would take three times as long to make an automaton of them.
    """
    patterns = sorted({near_pattern(one) for near in nears for one in _by_beginning(near)})
    begun = [one.removeprefix(_BEGIN) for one in patterns if one.startswith(_BEGIN)]
    words = [_BEGIN + b"(?:" + b"|".join(begun) + b")"] if begun else []
    return b"|".join((*words, *(one for one in patterns if not one.startswith(_BEGIN))))


def _by_beginning(near: str) -> list[str]:
    """The entry, or two where it may begin as a word does and in a script that has no such beginnings."""
    end = near.find(")")
    if not near.startswith("(") or "(" in near[1:end]:
        return [near]
    words = [first for first in near[1:end].split("|") if _is_word(first)]
    others = [first for first in near[1:end].split("|") if not _is_word(first)]
    rest = near[end + 1 :]
    return [f"({'|'.join(firsts)}){rest}" for firsts in (words, others) if firsts]


def _is_word(near: str) -> bool:
    first = near.lstrip("(")[:1]
    return first.isascii() and first.isalpha()


def unseen() -> bytes:
    """Characters that no reader sees."""
    return _HIDDEN + b"|" + _CONTROLS


def worst() -> bytes:
    """Those among them that weigh in any text."""
    return _WORST


def split() -> bytes:
    """A hidden character after a letter, where it may part a word."""
    return rb"(?:[a-z]|[\xe3-\xed][\x80-\xbf]{2}|[\xd0-\xdf].)(?:%b)" % _HIDDEN


def dressed() -> bytes:
    """Letters that pass for others."""
    foreign = b"|".join(_escaped(char.encode()) for char in FOREIGN)
    return b"|".join((_DRESSED, b"[a-z](?:%b)" % foreign, b"(?:%b)[a-z]" % foreign))


def writings() -> bytes:
    """What may be text that is written for machines alone (`encoded`)."""
    return b"|".join((
        rb"(?:%[0-9a-f]{2}){3}", rb"%20[a-z]+%20", rb"&#x?[0-9a-f]+;&#", rb"\\u\{?[0-9a-f]{4}\}?\\u",
        rb"(?:^|[^a-z0-9])[a-z](?:[ .*_-]+[a-z0-9@$!]){6}(?:[^a-z]|$)",
        *(_hex(word) for word in SPELT), *(_turned(word) for word in _TURNED),
        b"(?-i:" + b"|".join(sorted({run for word in SPELT for run in _base64(word)})) + b")",
    ))  # fmt: skip


def digits() -> bytes:
    """Telling words with a digit or a sign for a letter of theirs at least once."""
    return b"|".join(form for word in _PLAIN for form in _with_digits(word))


def _with_digits(word: str) -> Iterator[bytes]:
    for at, char in enumerate(word):
        if char in _DIGITS:
            rest = (b"[" + _DIGITS.get(other, b"") + other.encode() + b"]" for other in word[at + 1 :])
            yield word[:at].encode() + b"[" + _DIGITS[char] + b"]" + b"".join(rest)


def _byte_pattern(char: str) -> bytes:
    if char == " ":
        return _BLANK
    if char == "*":
        return _REST
    if char == "(":
        return b"(?:"
    if char in ")|?":
        return char.encode()
    if char.isascii():
        return _escaped(char.encode())
    if "\xc0" <= char <= "\u024f" or "\u1ea0" <= char <= "\u1eff":
        return b"(?:" + _escaped(unmarked(char).translate(LOOKS).encode()) + b"|" + _ACCENTED + b")"
    forms = {char.lower(), char.upper()}
    return b"(?:" + b"|".join(_escaped(form.encode()) for form in sorted(forms)) + b")"


def _escaped(data: bytes) -> bytes:
    return b"".join(
        b"%c" % byte if chr(byte).isalnum() and byte < 128 else b"\\x%02x" % byte for byte in data
    )


def _hex(word: str) -> bytes:
    return b"[ :,]?".join(b"%02x" % byte for byte in word.encode())


def _turned(word: str) -> bytes:
    return _escaped(word[::-1].encode()) + b"|" + _escaped(codecs.encode(word, "rot13").encode())


def _base64(word: str) -> Iterator[bytes]:
    """What stays the same of a word in base64, wherever in a run it stands, for three ways to write it."""
    for form in (word, word.upper(), word[:1].upper() + word[1:]):
        for before in range(3):
            whole = b64encode(b"\0" * before + form.encode()).rstrip(b"=")
            bits = 8 * (before + len(form))
            start = -(-8 * before // 6)
            yield _escaped(whole[start : bits // 6])
