"""What the revisions of MCP have, as shapes; what an older one lacks is a table (P)."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from sandbox.inspect.shapes import Shapes

MODERN: Final = "2026-07-28"
LAST_LEGACY: Final = "2025-11-25"
LEGACY: Final = ("2024-11-05", "2025-03-26", "2025-06-18", LAST_LEGACY)

CAME: Final = {
    "audio": "2025-03-26",
    "resource_link": "2025-06-18",
    "elicitation/create": "2025-06-18",
    "tool_use": "2025-11-25",
    "tool_result": "2025-11-25",
    "notifications/elicitation/complete": "2025-11-25",
    "notifications/tasks/status": "2025-11-25",
    "tasks/get": "2025-11-25",
    "tasks/result": "2025-11-25",
    "tasks/list": "2025-11-25",
    "tasks/cancel": "2025-11-25",
}
"""The revision that brought a method or a kind of content, where it is not the first."""


@cache
def vocabulary() -> frozenset[str]:
    """The names of all members that the protocol itself has."""
    from sandbox.inspect.schemas import legacy, modern

    fields = re.findall(r"(?<= )([^ :?'|]+)\??:", legacy.TEXT + modern.TEXT)
    return frozenset({"params", "result", *fields})


@cache
def shapes(revision: str) -> Shapes | None:
    """The shapes of a revision, or None of one that is not known."""
    if revision == MODERN:
        from sandbox.inspect.schemas import modern

        return Shapes(modern.TEXT)
    if revision not in LEGACY:
        return None
    from sandbox.inspect.schemas import legacy

    # Revisions are dates, and sort as such.
    return Shapes(legacy.TEXT, frozenset(name for name, came in CAME.items() if came > revision))
