"""Words that are written so that only a machine reads them, and the same words read (P)."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from sandbox.patterns import regex

MOST: Final = 1 << 16
"""Of one run, no more characters than this are read; of one text, no more runs than `MOST_RUNS`."""
MOST_RUNS: Final = 256
_SHORTEST = 8
_BASE64 = regex(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = regex(r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,:]?){8,4096}")
_PERCENT = regex(r"(?:[A-Za-z0-9._~+-]{0,40}%[0-9A-Fa-f]{2}){3,4096}[A-Za-z0-9._~+-]{0,40}")
_ENTITIES = regex(r"(?:&#(?:x[0-9A-Fa-f]{1,6}|[0-9]{1,7});?[ ]?){4,4096}")
_ESCAPES = regex(r"(?:\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\}){4,4096}")
_SPACED = regex(r"(?<![^\W_])[^\W_](?:[ .*\xb7_-]{1,6}[^\W_](?![^\W_])){5,4096}")
_NUMBERS = regex(r"[0-9A-Fa-f]+")


class Decoded(NamedTuple):
    """What stood at `start` to `end` of a text, read; `how` names the writing."""

    how: str
    start: int
    end: int
    text: str


def decoded(text: str) -> Iterator[Decoded]:
    """What in a text reads as other text: base64, hex, percent, entities, escapes, letters set apart."""
    for how, pattern, read in _WRITINGS:
        for count, run in enumerate(pattern.finditer(text)):
            if count == MOST_RUNS:
                break
            said = read(run[0][:MOST])
            if len(said) >= _SHORTEST:
                yield Decoded(how, run.start(), run.end(), said)


def turned(text: str) -> Iterator[Decoded]:
    """The whole text in the two writings that leave letters letters: backwards, and by 13."""
    text = text[:MOST]
    yield Decoded("backwards", 0, len(text), text[::-1])
    yield Decoded("by 13", 0, len(text), codecs.decode(text, "rot13"))


def _base64(run: str) -> str:
    run = run.rstrip("=").replace("-", "+").replace("_", "/")
    # A word before it may have been taken for its beginning: whichever quarter it starts in.
    run = run[: len(run) // 4 * 4] if len(run) % 4 == 1 else run + "=" * (-len(run) % 4)
    try:
        return _text(base64.b64decode(run))
    except (binascii.Error, ValueError):
        return ""


def _hex(run: str) -> str:
    digits = "".join(_NUMBERS.findall(run.replace("0x", "").replace("\\x", "")))
    data = bytes.fromhex(digits[: len(digits) // 2 * 2])
    # A word before it may look like its first byte: `be 69 67`.
    return _text(data) or _text(data[1:])


def _percent(run: str) -> str:
    from urllib.parse import unquote  # here and below: brought where a text has such a run

    return _text(unquote(run, errors="ignore").encode("utf-8", "ignore"))


def _entities(run: str) -> str:
    import html

    return html.unescape(run)


def _escapes(run: str) -> str:
    codes = (int(code, 16) for code in re.findall(r"\\u\{?([0-9A-Fa-f]{1,6})", run))
    return "".join(chr(code) for code in codes if code < 0x110000 and not 0xD800 <= code < 0xE000)


def _apart(run: str) -> str:
    """`i g n o r e   a l l`: one blank is between letters, more are between words."""
    words = re.split(r"[ .*\xb7_-]{2,}", run)
    return " ".join(re.sub(r"[ .*\xb7_-]", "", word) for word in words)


_WRITINGS = (
    ("base64", _BASE64, _base64),
    ("hex", _HEX, _hex),
    ("percent", _PERCENT, _percent),
    ("entities", _ENTITIES, _entities),
    ("escapes", _ESCAPES, _escapes),
    ("letters set apart", _SPACED, _apart),
)


def _text(data: bytes) -> str:
    """The bytes as text, in UTF-8 or UTF-16, if that is what they are."""
    for encoding in ("utf-8", "utf-16-le"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        # PowerShell's own encoding: an ASCII letter and a zero.
        if encoding == "utf-8" and data[1:2] == b"\0":
            continue
        if _readable(text):
            return text
    return ""


def _readable(text: str) -> bool:
    plain = sum(char.isalnum() or char in " .,;:!?'\"/\\-_~@()[]{}<>=&\n\r\t|$#*`+" for char in text)
    letters = sum(char.isalpha() for char in text)
    return plain >= 0.97 * len(text) and letters >= 0.5 * len(text)
