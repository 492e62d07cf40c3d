"""Takes secrets out of a stream of lines, such as a server's stderr, one line after another (P).

A private key is spread over lines, and so may be a secret of the session's: what went before is remembered
as far as it takes, and a line is never held back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sandbox.inspect.flow import Flow
from sandbox.inspect.redaction import Found, Redaction
from sandbox.patterns import regex

KEY_LINES: Final = 400
"""Lines that a private key has at most."""
_BEGIN = regex(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_LINE = regex(r"[\s>|]*(?:[A-Za-z0-9+/=]{4,}|(?:Proc-Type|DEK-Info|Comment): ?\S.*)?\s*")
LEAST_LINE: Final = 8
"""Characters of a line of a key's that tell something of it."""
_KEY: Final = Found("private-key", "a private key", "key", "deny")
_REST: Final = b"a line of a private key"


class Lines:
    """One stream; calling it with a line gives what may be shown of it. `told` hears of each find."""

    def __init__(self, redaction: Redaction, told: Callable[[Found], None], *, change: bool = True) -> None:
        self._redaction = redaction
        self._flow = Flow(redaction)
        self._told = told
        self._change = change
        self._key_lines = 0
        self._in_key = False

    def __call__(self, line: str) -> str:
        """The line without secrets; without `change` the line itself, and its finds are told all the same."""
        clean, found = self._cleaned(line)
        for one in dict.fromkeys(found):
            self._told(one)
        return clean if self._change else line

    def _cleaned(self, line: str) -> tuple[str, list[Found]]:
        if self._in_key and (hidden := self._of_key(line)) is not None:
            return hidden
        parted, part = self._flow.line(line)
        clean, found = self._redaction.clean(parted)
        if "-----BEGIN" in line and _BEGIN.search(line):
            self._in_key, self._key_lines = "-----END" not in line, 0
        return clean, [*part, *found]

    def _of_key(self, line: str) -> tuple[str, list[Found]] | None:
        """What is shown of a line inside a private key; None where it is none of the key's."""
        self._key_lines += 1
        self._in_key = self._key_lines < KEY_LINES and "-----END" not in line
        if _KEY_LINE.fullmatch(line) is None:
            if "-----END" not in line:
                self._in_key = False
            return None
        if len(line.strip()) < LEAST_LINE:
            return line, []
        return self._redaction.marks.of(_KEY.rule, _KEY.group, _REST).decode(), [_KEY]
