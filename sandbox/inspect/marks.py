"""What stands in the place of a secret, and what it stands for, for as long as the session lives (P).

A mark is made of letters, digits, `-` and `_`, so that it fits into an address, a shell's line, JSON or YAML
wherever the secret did. The same secret has the same mark each time.
"""

from __future__ import annotations

import re
from typing import Final

from sandbox.patterns import regex

MARK: Final = "REDACTED"
MOST: Final = 4096
MOST_BYTES: Final = 1 << 20
_KIND = regex(r"[^A-Za-z0-9_-]")


class Marks:
    """The marks of one session; `tag` tells them from those of any other."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._marks: dict[bytes, bytes] = {}
        self._values: dict[str, tuple[str, str]] = {}
        self._size = 0
        self._ours = re.compile(rf"{MARK}_[A-Za-z0-9_-]{{1,80}}?_{tag}_(?:\d{{1,6}}|many)(?![A-Za-z0-9])")
        self.needle = MARK.encode() + b"_"
        """What is in every message that has a mark."""

    def of(self, kind: str, group: str, value: bytes) -> bytes:
        """The mark of this secret; beyond a bound all new ones share one that stands for nothing."""
        mark = self._marks.get(value)
        if mark is None:
            name = f"{MARK}_{_KIND.sub('-', kind)[:60]}_{self.tag}"
            if len(self._marks) >= MOST or self._size + len(value) > MOST_BYTES:
                return f"{name}_many".encode()
            text = f"{name}_{len(self._marks) + 1}"
            mark = self._marks[value] = text.encode()
            self._values[text] = value.decode("utf-8", "surrogateescape"), group
            self._size += len(value)
        return mark

    def mentioned(self, text: str) -> bool:
        """Whether a mark of this session is in the text."""
        return MARK in text and self._ours.search(text) is not None

    def group(self, text: str) -> str | None:
        """The group of the secret that a text which is a mark, and nothing else, stands for."""
        found = self._values.get(text)
        return None if found is None else found[1]

    def restored(self, text: str) -> str:
        """The text with each mark replaced by its secret, for the server that it came from."""
        return self._ours.sub(lambda found: self._values.get(found[0], (found[0],))[0], text)
