"""Regular expressions that are compiled when they are first used, and not when a module is imported.

A start imports two hundred modules and searches with few of their patterns: to compile all takes a tenth
of it. What one was asked for once (`match`, `sub`…) is an attribute from then on, and costs nothing more.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False  # as `typing` has it; importing that costs milliseconds too
if TYPE_CHECKING:
    from re import compile as regex
    from typing import Any
else:

    class regex:
        """What `re.compile` would make of the same, on the first look at any attribute of it."""

        def __init__(self, text: str | bytes, flags: int = 0) -> None:
            self._made: Any = text, flags

        def __getattr__(self, name: str) -> Any:
            if name == "_made":
                raise AttributeError(name)  # `copy` asks before there is anything
            # Threads may both come here: `re` then compiles twice, and either result is right.
            made = self._made
            if type(made) is tuple:
                made = self._made = re.compile(*made)
            found = getattr(made, name)
            setattr(self, name, found)
            return found


__all__ = ["regex"]
