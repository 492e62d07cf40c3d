"""How many bytes of bodies are held that have not come whole: of one client, and of all together; pure."""

from __future__ import annotations

from collections import Counter

from sandbox.serve.limits import Limits
from sandbox.serve.words import Refused

_AGAIN = (("Retry-After", "1"),)


class Budget:
    """What is taken is given back by whoever took it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: Counter[str] = Counter()
        self._all = 0

    def take(self, who: str, size: int) -> Refused | None:
        """Takes so many bytes more; the refusal says whether it is the client's own doing."""
        if self._of[who] + size > self._limits.bodies_each:
            return Refused(429, "too-much-at-once", "this client has too many bodies under way", _AGAIN)
        if self._all + size > self._limits.bodies_max:
            return Refused(503, "full", "too much is being read at once", _AGAIN)
        self._of[who] += size
        self._all += size
        return None

    def give_back(self, who: str, size: int) -> None:
        """Lets go of bytes that were taken."""
        self._of[who] -= size
        self._all -= size
        if not self._of[who]:
            del self._of[who]
