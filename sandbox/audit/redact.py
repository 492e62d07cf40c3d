"""Takes secrets out of an event before it is written: known values in any encoding, and look-alikes."""

from __future__ import annotations

import itertools
import math
import re
from base64 import b32encode, b64encode
from collections.abc import Iterable, Mapping, Sequence

from sandbox.audit.chain import encode
from sandbox.event import Value

MARK = "[redacted]"
TEXT_MAX = 4096
"""Characters: a longer string is shortened; details hold names and sizes, not payloads."""
ITEMS_MAX = 256
DEPTH_MAX = 16
_SCAN_MAX = 1 << 16
_TINY = 4
"""A known value below this length is taken out only where it is the whole string."""
_SHORT = 6
"""A known value below this length is looked for in plain only: its encodings would match by accident."""
_FOLDED = 8
"""A form of a known value of this length is found in any case and with dots in it: as host names have it."""

# Each row: literals of which one is in the lower-cased text whenever the pattern matches, and the pattern.
# The literals keep regular expressions off the hot path, and their compilation off the start.
_PATTERNS = (
    (("-----begin",), r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----[\s\S]*?(-----END [A-Z0-9 ]*-----|\Z)"),
    (("bearer", "basic"), r"(?i:(?<=\bbearer )|(?<=\bbasic ))\s*[A-Za-z0-9._~+/=-]{8,}"),
    (("akia", "asia"), r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{20,}"),
    (("github_pat_",), r"github_pat_[A-Za-z0-9_]{20,}"),
    (("glpat-",), r"glpat-[A-Za-z0-9_-]{16,}"),
    (("xox",), r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    (("sk-",), r"\bsk-[A-Za-z0-9_-]{20,}"),
    (("sk_live_", "rk_live_"), r"\b[sr]k_live_[A-Za-z0-9]{16,}"),
    (("npm_",), r"\bnpm_[A-Za-z0-9]{30,}"),
    (("pypi-",), r"\bpypi-[A-Za-z0-9_-]{32,}"),
    (("aiza",), r"\bAIza[A-Za-z0-9_-]{30,}"),
    (("eyj",), r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"),
    (("://",), r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"),
)
_MARKERS = tuple(marker for markers, _ in _PATTERNS for marker in markers)
_KEY = r"[\w.-]*(?:token|passw(?:or)?d|secret|api[-_]?key|credential)[\w.-]*"
_KEY_WORDS = ("token", "passw", "secret", "key", "credential")
_ASSIGNED = rf"(?i)({_KEY}=)[^\s&;,]+"
_FLAG = rf"(?i)--?{_KEY}\Z|--?(?:auth|authorization|bearer)\Z"


class Redactor:
    """Replaces secrets in strings by `MARK`; never lengthens what it does not understand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._tiny: set[str] = set()
        self._literals: list[str] = []
        self._unfolded: list[str] = []
        """The literals that no folded form stands for."""
        self._folded: dict[str, re.Pattern[str] | None] = {}
        """What `_fold` makes of each form, and what takes it out; compiled once it is met."""
        self._in_base32: set[str] = set()
        self._percent: list[re.Pattern[str]] = []
        self.conceal(secrets)

    def conceal(self, secrets: Iterable[str]) -> None:
        """Adds known secret values; empty ones are ignored."""
        found = set(self._literals)
        for secret in filter(None, secrets):
            if len(secret) < _TINY:
                self._tiny.add(secret)
                continue
            # The JSON form is what `_is_clean` sees of it, whatever its length.
            found |= {secret, encode(secret)[1:-1]}
            if len(secret) >= _SHORT:
                found |= _encodings(secret)
                self._in_base32 |= _base32(secret)
                self._percent.append(_percent_encoded(secret))
        # The longest first: a secret that contains another is replaced whole.
        self._literals = sorted(found, key=lambda value: (-len(value), value))
        # Only ASCII folds the same whatever stands beside it.
        self._unfolded = [one for one in self._literals if not one.isascii() or len(_fold(one)) < _FOLDED]
        forms = {_fold(one) for one in self._literals} | self._in_base32
        forms = {one for one in forms if len(one) >= _FOLDED}
        self._folded = dict.fromkeys(sorted(forms, key=lambda value: (-len(value), value)))

    def json(self, detail: Mapping[str, Value]) -> str:
        """The JSON text of `detail(detail)`; a detail that cannot hold a secret is not walked."""
        try:
            text = encode(detail)
        except (ValueError, RecursionError):
            text = ""
        return text if text and self._is_clean(text) else encode(self.detail(detail))

    def _is_clean(self, encoded: str) -> bool:
        """True if nothing would be taken out or shortened; the JSON form of every secret is looked for."""
        if len(encoded) > TEXT_MAX or encoded.count("{") + encoded.count("[") > DEPTH_MAX:
            return False
        for literal in self._unfolded:
            if literal in encoded:
                return False
        lower = encoded.lower()
        folded = lower.replace(".", "")
        for form in self._folded:
            if form in folded:
                return False
        if self._tiny or (self._percent and ("%" in encoded or "+" in encoded)):
            return False
        for marker in _MARKERS:
            if marker in lower:
                return False
        return "=" not in lower

    def text(self, text: str) -> str:
        """`text` without secrets, at most `TEXT_MAX` characters and a note of how many are left out."""
        clean = self._whole(text)
        if len(clean) > TEXT_MAX or len(text) > _SCAN_MAX:
            return f"{clean[:TEXT_MAX]}… ({len(text)} characters)"
        return clean

    def uncut(self, text: str) -> str:
        """`text` without secrets in its whole length; one that is too long to be searched is left out."""
        if len(text) > _SCAN_MAX:
            return f"({len(text)} characters, too many to be searched for secrets)"
        return self._whole(text)

    def tail(self, text: str, most: int) -> str:
        """The last `most` characters of `text` without secrets: cut last, or a part of one would stay."""
        return self._whole(text[-_SCAN_MAX:])[-most:]

    def _whole(self, text: str) -> str:
        if text in self._tiny:
            return MARK
        clean = text[:_SCAN_MAX]
        for literal in self._literals:
            if literal in clean:
                clean = clean.replace(literal, MARK)
        if "%" in clean or "+" in clean:
            for encoded in self._percent:
                clean = encoded.sub(MARK, clean)
        return self._look_alikes(self._without_folded(clean))

    def _without_folded(self, text: str) -> str:
        """`text` without a secret in other letters, or spread over the labels of a host name."""
        folded = _fold(text)
        for form, pattern in self._folded.items():
            if form not in folded:
                continue
            if pattern is None:
                pattern = self._folded[form] = re.compile(r"\.?".join(map(re.escape, form)), re.IGNORECASE)
            text = pattern.sub(MARK, text)
            folded = _fold(text)
        return text

    def _look_alikes(self, text: str) -> str:
        if len(text) < 8:
            return text
        lower = text.lower()
        for markers, pattern in _PATTERNS:
            for marker in markers:
                if marker in lower:
                    text = re.sub(pattern, MARK, text)
                    break
        if "=" in lower and any(word in lower for word in _KEY_WORDS):
            return re.sub(_ASSIGNED, rf"\1{MARK}", text)
        return text

    def command(self, argv: Sequence[str]) -> list[str]:
        """A command line without secrets: also the value that follows `--token` and its kind."""
        shown: list[str] = []
        for before, word in zip(("", *argv), argv, strict=False):
            shown.append(MARK if re.match(_FLAG, before) and not word.startswith("-") else self.text(word))
        return shown

    def detail(self, detail: Mapping[str, Value]) -> dict[str, Value]:
        """A detail without secrets, in keys and values, of bounded size and depth."""
        return {self.text(key): self._value(value, 0) for key, value in detail.items()}

    def _value(self, value: Value, depth: int) -> Value:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, int | float):
            return _number(value)
        if depth == DEPTH_MAX:
            return "… (nested too deeply)"
        if isinstance(value, Mapping):
            first = itertools.islice(value.items(), ITEMS_MAX)
            items: dict[str, Value] = {self.text(key): self._value(item, depth + 1) for key, item in first}
            return items if len(value) <= ITEMS_MAX else {**items, "…": f"({len(value)} items)"}
        if isinstance(value, list | tuple):
            short = [self._value(item, depth + 1) for item in value[:ITEMS_MAX]]
            return short if len(value) <= ITEMS_MAX else [*short, f"… ({len(value)} items)"]
        raise TypeError(f"a detail cannot hold a {type(value).__name__}")


def _number(value: int | float | None) -> Value:
    """A number as JSON can carry it: neither infinite, nor NaN, nor longer than any reader takes."""
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else f"(an integer of {value.bit_length()} bits)"
    return value if value is None or math.isfinite(value) else str(value)


def _encodings(secret: str) -> set[str]:
    """Hex and base64 forms of a secret, base64 at each of three alignments in a longer text."""
    raw = secret.encode("utf-8", "surrogateescape")
    forms = {raw.hex(), raw.hex().upper()}
    for shift in range(3):
        # Characters that also depend on the neighbours' bits are left out: shift 1 and 2 spoil the first
        # two or three, an unfinished group of three bytes the last.
        text = b64encode(bytes(shift) + raw).decode().rstrip("=")
        whole = (shift + len(raw)) % 3 == 0
        core = text[(0, 2, 3)[shift] : None if whole else -1]
        if len(core) >= _SHORT:
            forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms


def _base32(secret: str) -> set[str]:
    """Folded base32 forms of a secret at each of five alignments, but for what neighbours' bits decide."""
    raw = secret.encode("utf-8", "surrogateescape")
    forms = set()
    for shift in range(5):
        text = b32encode(bytes(shift) + raw).decode().rstrip("=")
        forms.add(_fold(text[(0, 2, 4, 5, 7)[shift] : None if (shift + len(raw)) % 5 == 0 else -1]))
    return forms


def _fold(text: str) -> str:
    """`text` as resolvers leave it of a name: in lower case; and without the dots between labels."""
    return text.lower().replace(".", "")


def _percent_encoded(secret: str) -> re.Pattern[str]:
    """Matches the secret with any of its bytes percent-encoded, in either case, and `+` for a space."""
    return re.compile("".join(_percent_byte(byte) for byte in secret.encode("utf-8", "surrogateescape")))


def _percent_byte(byte: int) -> str:
    plain = (re.escape(chr(byte)) if byte < 128 else "") + (r"|\+" if byte == 32 else "")
    return f"(?:(?i:%{byte:02x})|{plain})" if plain else f"(?i:%{byte:02x})"
