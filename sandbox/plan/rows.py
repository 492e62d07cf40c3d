"""What `plan` prints of one thing that holds, and quantities as a person reads them."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that holds in the sandbox; `enforced` is False for what is only said, never done."""

    group: str
    what: str
    mechanism: str
    key: str = ""
    origin: str = ""
    enforced: bool = True


def size(count: int) -> str:
    """Bytes in the largest unit that keeps them short."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{count / factor:.4g} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Seconds in the largest unit that keeps them short."""
    for unit, factor in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= factor:
            return f"{seconds / factor:.4g} {unit}"
    return f"{seconds:.4g} s"
