"""Characters that a reader does not see and a model does: found, read, shown, taken out (P).

Scripts and emoji need some of them (a joiner in Devanagari, a mark in Hebrew, a selector after a heart):
where they are at home they are no finding. Unicode 16, UAX 9 and 31, UTS 51.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple

from sandbox.patterns import regex

Sort = Literal["tags", "override", "bidi", "zero-width", "selector", "blank", "control", "terminal"]
"""`override` reorders what is shown; `bidi`: other marks of direction; `terminal`: an escape sequence."""

_TAGS = "\U000e0000-\U000e007f"
_OVERRIDE = "\u202d\u202e"
_BIDI = "\u200e\u200f\u061c\u202a-\u202c\u2066-\u2069"
_ZERO = "\u200b-\u200d\u2060-\u2065\ufeff\u180e\u034f\u206a-\u206f\u00ad\u17b4\u17b5\ufff9-\ufffb"
_SELECTOR = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d"
_BLANK = "\u115f\u1160\u3164\uffa0\u2800"
_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9a\x9c\x9e-\x9f"
_ESCAPE = "\x1b\x9b\x9d"

CLASS: Final = "".join((_TAGS, _OVERRIDE, _BIDI, _ZERO, _SELECTOR, _BLANK, _CONTROL, _ESCAPE))
"""For use inside the brackets of a pattern."""
_SORTS: tuple[tuple[Sort, str], ...] = (
    ("tags", _TAGS),
    ("override", _OVERRIDE),
    ("bidi", _BIDI),
    ("zero-width", _ZERO),
    ("selector", _SELECTOR),
    ("blank", _BLANK),
    ("control", _CONTROL),
    ("terminal", _ESCAPE),
)
_RUNS = regex("|".join(f"(?P<{sort.replace('-', '_')}>[{chars}]+)" for sort, chars in _SORTS))
_WORST = regex(
    f"(?P<tags>[{_TAGS}]{{8,}})|(?P<override>[{_OVERRIDE}]+)|(?P<zero_width>[{_ZERO}]{{16,}})"
    f"|(?P<selector>[{_SELECTOR}]{{16,}})"
)
"""What is no accident, nor at home anywhere."""
_ANY = regex(f"[{CLASS}]")
# CSI and what ends it, OSC and the other strings up to their terminator; each bounded, none nested.
_SEQUENCE = regex(
    "(?:\x1b\\[|\x9b)[0-9:;<=>?]{0,64}[ -/]{0,4}[@-~]?"
    "|(?:\x1b[\\]PX^_]|\x9d)[^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]{0,4}[0-~]?"
)
_COLOUR = regex("(?:\x1b\\[|\x9b)([0-9:;]*)m")
_PROGRESS = regex("(?:\x1b\\[|\x9b)(?:[0-2]?K|[01]?G|\\?25[lh])")
"""A line written anew, and the cursor hidden meanwhile: what shows how far a program is."""
_CONCEALS = frozenset({"8", "08"})
_FLAG = regex("[\U000e0030-\U000e0039\U000e0061-\U000e007a]{2,6}\U000e007f")
_BLACK_FLAG = "\U0001f3f4"
_RTL = regex("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")
_JOINED = regex("[\u0600-\u109f\u1780-\u17ff\u1800-\u18af\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc]")
"""Scripts whose letters take a joiner or a non-joiner between them."""
_WRAPPED = regex("[\u0e00-\u109f\u1780-\u17ff\u3000-\u9fff]")
"""Scripts without blanks, in which a zero-width space says where a line may end."""
_BRAILLE = regex("[\u2801-\u28ff]")
MOST: Final = 1024
"""Of one text, no more are told."""
MOST_AT_HOME: Final = 50_000
"""So many of one text are asked where they stand; of the rest, only the worst are looked for."""
_LETTERS = 3
"""So many decoded characters are no accident."""


class Hidden(NamedTuple):
    """A run of hidden characters of one sort; `said` is what it spells, where it spells something."""

    sort: Sort
    start: int
    end: int
    said: str = ""


def hidden(text: str) -> list[Hidden]:
    """The hidden characters that no script, emoji or terminal colour needs where they stand."""
    if text.isascii() and not _ANY.search(text):
        return []
    return [*islice(_found(text), MOST)]


def without(text: str) -> str:
    """The text with every hidden character out, at home or not: what an eye reads."""
    if text.isascii() and not _ANY.search(text):
        return text
    return _ANY.sub("", _SEQUENCE.sub("", text))


def visible(text: str) -> str:
    """The text with every hidden character spelt out, as `⟨U+202E⟩`, and tags as what they say."""
    return _RUNS.sub(_spelt, text)


def _spelt(run: re.Match[str]) -> str:
    if run.lastgroup == "tags" and (said := _from_tags(run[0])):
        return f"⟨tags: {said}⟩"
    return "".join("⟨ESC⟩" if char == "\x1b" else f"⟨U+{ord(char):04X}⟩" for char in run[0])


def _found(text: str) -> Iterator[Hidden]:
    rtl: bool | None = None
    braille: bool | None = None
    at = 0
    for run in _runs(text):
        sort: Sort = str(run.lastgroup).replace("_", "-")  # type: ignore[assignment]  # the groups are the sorts
        start, end = run.span()
        if start < at:
            continue  # inside an escape sequence
        if sort == "terminal":
            at = max(end, _sequence_end(text, start))
            if not (_only_colour(text[start:at]) or _PROGRESS.fullmatch(text, start, at)):
                yield Hidden(sort, start, at)
        elif sort == "bidi":
            rtl = _RTL.search(text) is not None if rtl is None else rtl
            if not rtl:
                yield Hidden(sort, start, end)
        elif sort == "blank":
            braille = _BRAILLE.search(text) is not None if braille is None else braille
            if text[start] != "\u2800" or not braille:
                yield Hidden(sort, start, end)
        elif not _at_home(sort, text, start, end):
            yield Hidden(sort, start, end, _said(sort, run[0]))


def _runs(text: str) -> Iterator[re.Match[str]]:
    """Every run of one sort; beyond `MOST_AT_HOME` of them, only what is at home nowhere."""
    last = 0
    for run in islice(_RUNS.finditer(text), MOST_AT_HOME):
        last = run.end()
        yield run
    yield from _WORST.finditer(text, last)


def _sequence_end(text: str, start: int) -> int:
    found = _SEQUENCE.match(text, start)
    return found.end() if found else start + 1


def _only_colour(sequence: str) -> bool:
    """Colours and weight show text; `conceal` hides it."""
    found = _COLOUR.fullmatch(sequence)
    if found is None:
        return False
    codes = re.split("[;:]", found[1])
    # 38 and 48 take numbers of their own (5;n or 2;r;g;b), among which an 8 is a colour.
    return "38" in codes or "48" in codes or not _CONCEALS.intersection(codes)


def _at_home(sort: Sort, text: str, start: int, end: int) -> bool:
    before = text[start - 1] if start else ""
    after = text[end : end + 1]
    if sort == "tags":
        return before == _BLACK_FLAG and _FLAG.fullmatch(text, start, end) is not None
    if sort == "selector":
        return end - start == 1 and _selects(before, text[start])
    if sort == "zero-width":
        return _zero_at_home(text[start:end], before, after)
    return False


def _zero_at_home(run: str, before: str, after: str) -> bool:
    if len(run) > 1:
        return False
    if run == "\ufeff":
        return not before
    if run == "\u200d":
        return _pictorial(before) or bool(_JOINED.match(before))
    if run == "\u200c":
        return bool(_JOINED.match(before))
    if run == "\u200b":
        return bool(_WRAPPED.match(before) or _WRAPPED.match(after))
    return run == "\u00ad" and before.isalpha() and after.isalpha()


def _pictorial(char: str) -> bool:
    """Emoji, their skin colours, and the selector that makes one of a symbol."""
    return char == "\ufe0f" or "\u2190" <= char <= "\u2bff" or "\U0001f000" <= char <= "\U0001faff"


def _selects(before: str, selector: str) -> bool:
    if selector >= "\U000e0100" or selector < "\ufe0e":
        # Ideographs, mathematical symbols, Mongolian and Myanmar have variants; Latin letters do not.
        return before >= "\u1000"
    return before in "#*0123456789©®" if before.isascii() or before <= "\xff" else True


# --- what is spelt with them -----------------------------------------------------------------------


def _said(sort: Sort, run: str) -> str:
    if sort == "tags":
        return _from_tags(run)
    if sort == "selector":
        return _printable(bytes(_selected(char) for char in run))
    if sort == "zero-width":
        return _from_bits(run)
    return ""


def _from_tags(run: str) -> str:
    return "".join(chr(ord(char) - 0xE0000) for char in run if "\U000e0020" <= char <= "\U000e007e")


def _selected(char: str) -> int:
    """256 selectors, one for each byte."""
    code = ord(char)
    if code >= 0xE0100:
        return min(code - 0xE0100 + 16, 255)
    return code - 0xFE00 if code >= 0xFE00 else 0


def _from_bits(run: str) -> str:
    """Text in zero-width characters, one of two for each bit; whichever way round reads as text."""
    kinds = sorted(set(run))
    if len(kinds) != 2 or len(run) < 8 * _LETTERS:
        return ""
    for one in kinds:
        bits = "".join("1" if char == one else "0" for char in run[: 8 * 4096])
        whole = len(bits) // 8 * 8
        if said := _printable(int(bits[:whole], 2).to_bytes(whole // 8, "big")):
            return said
    return ""


def _printable(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return ""
    return text if len(text) >= _LETTERS and text.isprintable() else ""
