"""The order of npm's versions (Semantic Versioning 2.0.0, section 11)."""

from __future__ import annotations

import re

Rank = tuple[int, int, int, int, tuple[tuple[int, int, str], ...]]

_VERSION = re.compile(
    r"v?(\d{1,16})(?:\.(\d{1,16}))?(?:\.(\d{1,16}))?(?:-([0-9A-Za-z.-]{1,200}))?(?:\+[0-9A-Za-z.-]{1,200})?",
    re.ASCII,
)


def rank(version: str) -> Rank | None:
    """What orders `version` among others; None where it is no version. Build metadata has no say."""
    found = _VERSION.fullmatch(version.strip())
    if found is None:
        return None
    major, minor, patch, before = found.groups()
    parts = tuple(_identifier(one) for one in before.split(".")) if before else ()
    return int(major), int(minor or 0), int(patch or 0), 0 if before else 1, parts


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers by their value, below words by their ASCII letters."""
    return (0, int(text), "") if text.isdigit() else (1, 0, text)
