"""What a parser of a stream gives back when nothing has to be decided: bytes that may pass."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes between two decisions, exactly as they came."""

    raw: bytes
