"""One limit that was exceeded: by how much, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sandbox.event import Value
from sandbox.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Excess:
    """`key` is the profile's (`quota.pids`, `tools.repeat`, `syscalls.tier`); numbers in the key's units."""

    key: str
    why: str
    measured: float | None = None
    limit: float | None = None
    detail: Mapping[str, Value] = field(default_factory=dict)


class Source(Protocol):
    """What the session's main loop asks whether something was exceeded; nothing here may block."""

    def watched(self) -> Mapping[int, int]:
        """Descriptors and the events of poll(2) that wake the loop."""

    def look(self, now: float, ready: frozenset[int]) -> tuple[list[Excess], float | None]:
        """What is exceeded now, and the moment of the next look; None where only a descriptor wakes it."""
