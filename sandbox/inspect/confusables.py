# ruff: noqa: RUF001, RUF002 - letters that look like others are what this file is about
"""Letters that look like others: what a text looks like, and where a word is made of two scripts (P).

The pairs are facts of Unicode's confusables.txt, cut down to what passes for a Latin letter; styled letters
(fullwidth, mathematical, circled) fold by NFKC.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Final, Literal

from sandbox.patterns import regex

_PAIRS = (
    "аaвbсcеeнhіiјjкkӏlмmоoрpѕsтtуyхxԁdԛqԝwһhѵvгrпnьbёeґrүyұyөoәe"  # Cyrillic
    "АAВBСCЕEНHІIЈJКKӀIМMОOРPЅSТTУYХXԀDԚQԜWҺhѴVЁE"
    "αaβbεeηnιiκkνvοoρpτtυuχxγyωwϲcϳjѡw"  # Greek
    "ΑAΒBΕEΖZΗHΙIΚKΜMΝNΟOΡPΤTΥYΧXϹCͿJ"
    "օoսuհhոnցgզqտmքpյjլlռnԁdֆf"  # Armenian
    "ꭰdᎪAᏴBᏟCᎠDᎬEᏀGᎻHᎥiᎫJᏦKᏞLᎷMᏢPᎡRᏚSᎢTᏙVᎳWᏃZ"  # Cherokee
    "ıiɩiɪiɑaɡgʏyʀrɴnʟlʜhɢgʙbᴀaᴄcᴅdᴇeᴊjᴋkᴍmᴏoᴘpᴛtᴜuᴠvᴡwᴢzꜰfꜱsøołlđdħhßsæaœo"  # Latin
)
LOOKS: Final[Mapping[int, str]] = {ord(_PAIRS[at]): _PAIRS[at + 1] for at in range(0, len(_PAIRS), 2)} | {
    0x1F170 + at: chr(0x41 + at) for at in range(26)
}
"""By code point of a letter: the ASCII letter that it passes for."""

_OTHER = "".join(chr(code) for code in LOOKS if 0x370 <= code < 0x590 or code >= 0x13A0)
STYLED: Final = "\uff21-\uff3a\uff41-\uff5a\u24b6-\u24e9\U0001d400-\U0001d7ff\U0001f130-\U0001f189"
"""Letters that are others in fancy dress, for use inside the brackets of a pattern."""
FOREIGN: Final = _OTHER
"""Lookalikes of other scripts, for the same use."""

_MIXED = regex(f"[A-Za-z][{_OTHER}]|[{_OTHER}][A-Za-z]")
_FANCY = regex(f"[{STYLED}]")
_WORD = regex(r"[^\W\d_]+")
_MARKS = regex("[\u0300-\u036f\u0483-\u0487\u20d0-\u20f0]+")
_SHORTEST = 4
_PIECE = 512


def skeleton(text: str) -> str:
    """What the text looks like in plain letters: `іgnоrе` and `ｉｇｎｏｒｅ` are `ignore`."""
    return unmarked(_normal("NFKC", text).translate(LOOKS))


def unmarked(text: str) -> str:
    """The text without accents and other marks above letters."""
    if text.isascii():
        return text
    # Composed again: Hangul and kana come apart under NFD and are no accents.
    return _normal("NFC", _MARKS.sub("", _normal("NFD", text)))


def _normal(form: Literal["NFC", "NFD", "NFKC"], text: str) -> str:
    """Normalised piece by piece: marks are sorted in time quadratic in how many stand on one letter."""
    if len(text) <= _PIECE:
        return unicodedata.normalize(form, text)
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return "".join([unicodedata.normalize(form, piece) for piece in pieces])


def disguised(text: str) -> bool:
    """Whether some word would read otherwise to a program than to an eye."""
    return bool(_MIXED.search(text) or _FANCY.search(text) or _MARKS.search(text))


def mixed_words(text: str) -> list[str]:
    """Words of Latin letters in which a lookalike of another script stands.

    Not: an ending in the reader's script after a Latin word (`PDFом`), nor short formulas (`Δt`, `ρgh`).
    """
    if text.isascii() or not _MIXED.search(text):
        return []
    return [word for word in _WORD.findall(text) if len(word) >= _SHORTEST and _infiltrated(word)]


def _infiltrated(word: str) -> bool:
    looks = [ord(char) in LOOKS and not "\xc0" <= char <= "\u024f" for char in word]
    latin = [char.isascii() for char in word]
    if not any(latin) or not any(looks) or not all(a or b for a, b in zip(looks, latin, strict=True)):
        return False
    # All lookalikes at the end may be a case ending.
    return any(looks[: len(looks) - latin[::-1].index(True)])
