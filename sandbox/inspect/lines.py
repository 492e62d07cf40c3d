"""Takes secrets out of a stream of lines, such as a server's stderr, one line after another (P).

A private key is spread over lines, and so may be a secret of the session's: what went before is remembered
as far as it takes, and a line is never held back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sandbox.inspect.flow import Flow
from sandbox.inspect.redaction import Found, Redaction

KEY_LINES: Final = 400
"""Lines that a private key has at most."""
_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_LINE = re.compile(r"[\s>|]*(?:[A-Za-z0-9+/=]{4,}|(?:Proc-Type|DEK-Info|Comment): ?\S.*)?\s*")
_KEY = "private-key"


class Lines:
    """One stream; calling it with a line gives what may be shown of it. `told` hears of each find."""

    def __init__(self, redaction: Redaction, told: Callable[[Found], None], *, change: bool = True) -> None:
        self._redaction = redaction
        self._flow = Flow(redaction)
        self._told = told
        self._change = change
        self._key_lines = 0
        self._key: Found | None = None

    def __call__(self, line: str) -> str:
        """The line without secrets; without `change` the line itself, and its finds are told all the same."""
        clean, found = self._cleaned(line)
        for one in dict.fromkeys(found):
            self._told(one)
        return clean if self._change else line

    def _cleaned(self, line: str) -> tuple[str, list[Found]]:
        if self._key is not None and (rest := self._of_key(line)) is not None:
            return rest, []
        parted, part = self._flow.line(line)
        clean, found = self._redaction.clean(parted)
        if _BEGIN.search(line) and (key := next((one for one in found if one.rule == _KEY), None)):
            self._key, self._key_lines = (None, 0) if "-----END" in line else (key, 0)
        return clean, [*part, *found]

    def _of_key(self, line: str) -> str | None:
        """What is shown of a line inside a private key; None where it is none of the key's."""
        self._key_lines += 1
        ended = "-----END" in line
        mine = ended or (self._key_lines < KEY_LINES and _KEY_LINE.fullmatch(line) is not None)
        key = self._key
        if ended or not mine:
            self._key = None
        if not mine or key is None:
            return None
        return self._redaction.marks.of(_KEY, key.group, b"the rest of a private key").decode()
