"""What goes wrong between the bridge and a server, in words for the client and for a person."""

from __future__ import annotations

import re

UNREACHABLE = -32000
"""The code of an error that the bridge gives in place of an answer; the protocol has none of its own."""
NOT_FOUND = -32601
SHOWN_MAX = 200

_UNFIT = re.compile(r"[^\x20-\x7e]+")


class Failed(Exception):
    """One request cannot be answered; the next may be."""

    def __init__(self, why: str, code: int = UNREACHABLE) -> None:
        super().__init__(why)
        self.why = why
        self.code = code


class Broken(Failed):
    """The connection ended, or its bytes are no HTTP, before the answer was whole."""

    def __init__(self, why: str, *, unanswered: bool = False) -> None:
        super().__init__(why)
        self.unanswered = unanswered
        """It ended without a byte of an answer."""


class Dead(Failed):
    """Nothing more can be asked of this server: the bridge ends with it."""


def shown(text: str) -> str:
    """What a server has said, fit for a terminal and for a line of a log."""
    return _UNFIT.sub("?", text[:SHOWN_MAX])
