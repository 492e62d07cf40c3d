"""A first look at short texts, by the standard library's `re`, until there is an automaton for them (P).

RE2 makes the automata of our rules in 13 ms, which the first answer of a fast server would wait for. Code of
`re` takes longer still to make, but can be kept, and is read in a millisecond. It goes back where it has gone
wrong, so only short texts of ASCII are looked at, in which no pattern of ours has far to go. Where it finds
nothing RE2 would find nothing either; whatever else there is to say is RE2's.
"""

from __future__ import annotations

import sys
import threading
from array import array
from binascii import crc32
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final

from sandbox.digest import sha256
from sandbox.wire.strict import Bytes

MOST: Final = 1 << 10
"""Bytes that are looked at in all: to look at more takes longer than to make the automaton."""
Search = Callable[[Bytes], object]
Kept = Callable[[bytes], bytes]
"""What was kept for a pattern, or nothing."""
_HEAD: Final = 5
_WORD: Final = "I"
_BLANKS: Final = rb"\t\n\f\r "
_MAKING: Final = threading.Lock()
_SRE: Final[Any] = import_module("_sre")
"""What `re` is made of. None of it is promised: where it is another one, there is no first look."""


class Question:
    """What an automaton answers once it is made; until then None for a short text without anything in it."""

    def __init__(self, pattern: Callable[[], bytes], make: Callable[[], Callable[[Bytes], Any]]) -> None:
        """`pattern` finds something wherever the automaton does."""
        self._pattern, self._make = pattern, make
        self._made: Callable[[Bytes], Any] | None = None
        self._look: Search | None = None
        self._left = MOST
        self.kept = False
        """Whether there is code for a first look; `keep` makes it."""

    def __call__(self, data: Bytes) -> Any:
        made = self._made
        if made is None:
            look = self._look
            if look is not None and len(data) <= self._left and data.isascii():
                self._left -= len(data)
                if look(data) is None:
                    return None
            made = self.made()
        return made(data)

    def made(self) -> Callable[[Bytes], Any]:
        """The automaton, from now on."""
        if self._made is not None:
            return self._made
        with _MAKING:
            if self._made is None:
                self._made = self._make()
                self._look = None
        return self._made

    def look_first(self, kept: Kept) -> None:
        """Looks by what was kept, if it fits."""
        pattern = self._pattern()
        self._look = read(kept(pattern), pattern)
        self.kept = self._look is not None

    def code(self) -> tuple[bytes, bytes]:
        """The pattern, and what is to be kept for it; takes some 20 ms."""
        pattern = self._pattern()
        return pattern, written(pattern)


def written(pattern: bytes) -> bytes:
    """Code for the pattern, which is RE2's, and ASCII texts; nothing where `re` is made otherwise."""
    try:
        parsed = import_module("re._parser").parse(for_re(pattern), 0)
        flags, groups = int(parsed.state.flags), parsed.state.groups
        code = [int(one) for one in import_module("re._compiler")._code(parsed, flags)]
    except (ImportError, AttributeError, TypeError):
        return b""
    if groups != 1:
        raise ValueError("a pattern for a first look has a group that is captured")
    body = array(_WORD, (flags, *code))
    return array(_WORD, _heading(pattern, body)).tobytes() + body.tobytes()


def read(kept: bytes, pattern: bytes) -> Search | None:
    """The search that was written for this pattern and this interpreter, else None."""
    words = array(_WORD)
    try:
        words.frombytes(kept)
        body = words[_HEAD:]
        # Not a word may be another one: such code finds less, or ends the process.
        if tuple(words[:_HEAD]) != _heading(pattern, body):
            return None
        found = _SRE.compile(None, body[0], body[1:].tolist(), 0, {}, (None,))
    except (ValueError, RuntimeError, IndexError, OverflowError, TypeError, AttributeError):
        return None
    search: Search = found.search
    return search


def _heading(pattern: bytes, body: array[int]) -> tuple[int, ...]:
    return (*array(_WORD, sha256(pattern).digest()[:8]), crc32(body), sys.hexversion, _SRE.MAGIC)


# --- the dialect -------------------------------------------------------------------------------------


def for_re(pattern: bytes) -> bytes:
    """RE2's pattern as `re` reads it.

    There `\\s` has the vertical tab and more, `$` is also before a last line break, and `\\z` is `\\Z`.
    """
    return b"".join(_translated(pattern))


def _translated(pattern: bytes) -> Iterator[bytes]:
    for token, in_class in tokens(pattern):
        if token == rb"\s":
            yield _BLANKS if in_class else b"[" + _BLANKS + b"]"
        elif in_class:
            yield token
        elif token == rb"\S":
            yield b"[^" + _BLANKS + b"]"
        elif token in (b"$", rb"\z"):
            yield rb"\Z"
        else:
            yield token


def tokens(pattern: bytes) -> Iterator[tuple[bytes, bool]]:
    """One byte or one escape each, and whether it stands in a class."""
    at, opened = 0, -1
    while at < len(pattern):
        token = pattern[at : at + 2] if pattern[at : at + 1] == b"\\" else pattern[at : at + 1]
        in_class = opened >= 0
        yield token, in_class
        if not in_class and token == b"[":
            opened = at
        # A bracket right behind the first one is of the class.
        elif in_class and token == b"]" and pattern[opened + 1 : at] not in (b"", b"^"):
            opened = -1
        at += len(token)
