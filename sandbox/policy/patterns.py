"""Regular expressions of a profile, run in linear time over what a model or a server wrote (P)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

KEPT = 1024


@lru_cache(KEPT)
def compiled(pattern: str) -> Any:
    """The pattern compiled by RE2; ValueError where RE2 does not read it (look-around, back references)."""
    import re2

    options = re2.Options()
    options.log_errors = False  # they would be on stderr, which is the client's log
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is not a regular expression of RE2: {words}") from None


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches the whole of `text`."""
    return compiled(pattern).fullmatch(text) is not None
