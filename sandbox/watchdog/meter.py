"""What a sandbox uses, behind one interface: counted by its cgroup, or summed up from /proc."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """The part of a sample that one meter tells, under the sample's names."""

    memory: int | None = None
    cache: int | None = None
    peak: int | None = None
    swap: int | None = None
    ooms: int | None = None
    pressure: float | None = None
    pids: int | None = None
    processes: tuple[int, ...] | None = None
    """Their numbers on the host, without process 1 of a sandbox of ours."""
    refused: int | None = None
    cpu: float | None = None
    counting: float = 0.0
    """Seconds of a processor that a meter took for what it does seldom, and bounds by itself."""


class Meter(Protocol):
    """One way to measure; nothing here blocks or raises."""

    def watched(self) -> Mapping[int, int]:
        """Descriptors, and the event of poll(2) that each has when the kernel refuses something."""

    def called(self) -> bool:
        """Whether that happened since the last look."""

    def measure(self) -> Usage:
        """What is used now."""

    def calm(self) -> bool:
        """Whether memory is hardly more than `measure` found: a glance, where nobody holds it."""

    def halt(self) -> None:
        """Keeps a sandbox that is to be ended from getting more memory meanwhile, where nobody else does."""

    def close(self) -> None:
        """Gives up what it holds."""


class Nothing:
    """Where nothing can be measured from here."""

    def watched(self) -> Mapping[int, int]:
        """Nothing tells."""
        return {}

    def called(self) -> bool:
        """Nobody calls."""
        return False

    def measure(self) -> Usage:
        """All unknown."""
        return Usage()

    def calm(self) -> bool:
        """Nothing is seen."""
        return True

    def halt(self) -> None:
        """Nobody is known."""

    def close(self) -> None:
        """Holds nothing."""
