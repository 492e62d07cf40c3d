"""Spellings in which a text may hold another: base64, hexadecimal, escapes, backwards; all linear (P).

A *run* is a stretch of a text that is written in one of them. It knows what it says and how to spell
something else in its place, so that what is base64 stays base64 for whoever decodes it.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import a2b_base64, a2b_hex
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from sandbox.inspect.needles import LEVELS
from sandbox.inspect.needles import unescaped as undo
from sandbox.patterns import regex
from sandbox.records import dataclass

LEAST_RUN: Final = 16
HEX_TEXT: Final = rb"(?:[2-7][0-9a-fA-F]){16}"
"""Sixteen characters of a text in hexadecimal: a hash has a high nibble elsewhere within a few bytes.

One pattern for all, and not each literal's: those begin with digits, and every number that is read would make
the automaton grow by some states, at a microsecond each.
"""
PIECE: Final = 1 << 18
OVERLAP: Final = 1024
LONGEST: Final = 16
"""Bytes of an escape, at most."""
_STARTS: Final = (b"%", b"\\", b"&", b"\x1b")
_TELLING: Final = 4
_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_TO_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_BREAKS: Final = (b"\\r\\n", b"\\n", b"\r\n", b"\n")
_PLAIN: Final = rb"[A-Za-z0-9_.~+/=:@-]"
_ESCAPE: Final = (
    rb"(?:%(?:25)*[2-7][0-9a-fA-F]|\\{1,4}u00[2-7][0-9a-fA-F]|\\{1,2}x[2-7][0-9a-fA-F]"
    rb"|&#(?:x[2-7][0-9a-fA-F]|\d{2,3});)"
)
_ANY_ESCAPE = regex(rb"%[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|&(?:#\w{2,5}|[a-z]{2,6});|\x1b\[[0-9;:?]*[A-Za-z]")
_BASE64: Final = rb"[A-Za-z0-9+/_-]{16,}(?:(?:\\r\\n|\\n|\r?\n)[A-Za-z0-9+/_-]{4,})*={0,2}"
_HEX: Final = rb"[0-9a-fA-F]{16,}"


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of a text, from `start` to `end`, that says `inner`; `spell` writes another in its place."""

    start: int
    end: int
    inner: bytes
    encoding: str
    spell: Callable[[bytes], bytes]


@cache
def _compiled(pattern: bytes) -> Any:
    import re2  # costs 5 ms: for the first message that has something to decode

    return re2.compile(pattern)


def packed_runs(text: bytes, places: list[int]) -> Iterator[Run]:
    """Every reading of the stretches of base64 and of hexadecimal that these places, in order, lie in."""
    for pattern, read in ((_BASE64, _base64), (_HEX, _hex)):
        for start, end in _around(text, pattern, places):
            yield from read(text[start:end], start)


def _around(text: bytes, pattern: bytes, places: list[int]) -> Iterator[tuple[int, int]]:
    left = iter(places)
    place = next(left, None)
    for found in _compiled(pattern).finditer(text):
        start, end = found.span()
        while place is not None and place < start:
            place = next(left, None)
        if place is None:
            return
        if place < end:
            yield start, end


def _base64(spelt: bytes, start: int) -> Iterator[Run]:
    """The readings of a stretch of base64 or base64url from each of four places in it."""
    whole = spelt
    for line_break in _BREAKS:
        if line_break in whole:
            whole = whole.replace(line_break, b"")
    url, padded = b"-" in whole or b"_" in whole, whole.endswith(b"=")
    standard = whole.rstrip(b"=").translate(_URL_SAFE)
    for skipped in range(4):
        text = standard[skipped:]
        cut = len(text) - (len(text) % 4 == 1)
        if cut < LEAST_RUN:
            return
        inner = a2b_base64(text[:cut] + b"=" * (-cut % 4))
        head, tail = whole[:skipped], text[cut:]

        def spell(other: bytes, head: bytes = head, tail: bytes = tail) -> bytes:
            made = b64encode(other) if padded or url else b64encode(other).rstrip(b"=")
            return head + (made.translate(_TO_URL_SAFE).rstrip(b"=") if url else made) + tail

        yield Run(start, start + len(spelt), inner, "base64", spell)


def _hex(spelt: bytes, start: int) -> Iterator[Run]:
    """The readings of hexadecimal digits from the first and from the second."""
    for skipped in (0, 1):
        end = len(spelt) - (len(spelt) - skipped) % 2
        inner = a2b_hex(spelt[skipped:end])
        yield Run(start + skipped, start + end, inner, "hex", lambda other: other.hex().encode())


def escaped_runs(text: bytes) -> Iterator[Run]:
    """Every word in which letters, digits or what else credentials are made of are written as escapes."""
    pattern = b"%b*%b(?:%b|%b)*" % (_PLAIN, _ESCAPE, _PLAIN, _ESCAPE)
    for found in _compiled(pattern).finditer(text):
        start, end = found.span()
        inner = unescaped(text[start:end]) if end - start < PIECE else plainly(text[start:end])
        if len(inner) != end - start:
            yield Run(start, end, inner, "escapes", lambda other: other)


def masked(text: bytes) -> bytes:
    """The text with spaces for escapes and colours, as long as before: their letters are none of a word's."""
    if b"\\" in text:
        for escape in (b"\\n", b"\\r", b"\\t"):
            text = text.replace(escape, b"  ")
    if b"%" in text or b"\\u" in text or b"&" in text or b"\x1b" in text:
        text = b"".join([_ANY_ESCAPE.sub(_spaces, piece) for piece in _pieces(text)])
    return text


def _pieces(text: bytes) -> Iterator[bytes]:
    """The text in pieces that cut no escape: what is made of millions of them at once takes memory."""
    at = 0
    while at < len(text):
        end = at + PIECE
        if end < len(text):
            end = max([text.rfind(start, end - LONGEST, end) for start in _STARTS] + [end - LONGEST])
        yield text[at:end]
        at = end


def _spaces(found: re.Match[bytes]) -> bytes:
    return b" " * len(found[0])


def plain_pieces(text: bytes) -> Iterator[bytes]:
    """What a text says once all its escapes are undone, in pieces: ten times as fast as run by run."""
    return map(plainly, overlapping(text))


def overlapping(text: bytes) -> Iterator[bytes]:
    """The text in pieces, of which each repeats the beginning of the next; one of a short text."""
    if len(text) <= PIECE:
        return iter((text,))
    return (text[at : at + PIECE + OVERLAP] for at in range(0, len(text), PIECE))


def plainly(text: bytes) -> bytes:
    """A text with all its escapes undone, also those that no credential has."""
    for _ in range(LEVELS):
        undone = undo(text)
        if b"&#" in undone:
            for code in range(0x20, 0x7F):
                undone = undone.replace(b"&#%d;" % code, b"%c" % code)
                undone = undone.replace(b"&#x%02x;" % code, b"%c" % code)
        if len(undone) == len(text):
            return text
        text = undone
    return text


def unescaped(word: bytes) -> bytes:
    """The word with escapes undone, each as often as it was made; others than of a credential's stay."""
    kept: list[bytes] = []
    at = 0
    for found in _compiled(_ESCAPE).finditer(word):
        start, end = found.span()
        byte = bytes([_code(word[start:end])])
        if byte.isalnum() or byte in b"_.~+/=:@-":
            kept += (word[at:start], byte)
            at = end
    return b"".join((*kept, word[at:]))


def _code(escape: bytes) -> int:
    if escape.startswith(b"&#"):
        digits = escape[2:-1]
        return int(digits[1:], 16) if digits[:1] == b"x" else int(digits) & 0xFF
    return int(escape[-2:], 16)


def quoted(literal: bytes) -> bytes:
    """A pattern of RE2's that matches this and nothing else."""
    return b"".join(b"\\x%02x" % byte for byte in literal)


def cores(literal: bytes) -> Iterator[bytes]:
    """Patterns of a literal backwards, and in base64 wherever it begins there.

    None of one that chance would find in any picture.
    """
    if len(literal) < _TELLING:
        return
    if len(literal) > _TELLING or not literal.isalnum():
        yield quoted(literal[::-1])
    for before in range(3):
        yield b"".join(_characters(literal, before))


def _characters(literal: bytes, before: int) -> Iterator[bytes]:
    """The characters of base64 that hold the literal, with `before` bytes ahead of it in its group of three.

    Of the first and the last one only some bits are the literal's: all that have them may stand there.
    """
    start, end = 8 * before, 8 * (before + len(literal))
    bits = f"{int.from_bytes(literal, 'big'):0{8 * len(literal)}b}"
    filled = "?" * start + bits + "?" * (-end % 6)
    return (_either(filled[at : at + 6]) for at in range(start // 6 * 6, end, 6))


@cache
def _either(bits: str) -> bytes:
    """A class of the characters that have these bits; `?` stands for any."""
    fit = [_both(byte) for number, byte in enumerate(_ALPHABET) if _fits(f"{number:06b}", bits)]
    return b"[" + b"".join(fit) + b"]"


def _fits(number: str, bits: str) -> bool:
    return all(wanted in ("?", digit) for wanted, digit in zip(bits, number, strict=True))


def _both(byte: int) -> bytes:
    return {43: b"+\\-", 47: b"/_"}.get(byte, bytes([byte]))
