"""How many sandboxes the front keeps, and for how long."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Capacity:
    """Times are seconds."""

    sessions: int = 128
    """Sandboxes in all; one that ends counts until it is gone."""
    each: int = 32
    """Sandboxes of one principal, by its name."""
    idle_s: float = 1800.0
    """A session without a request or an open stream for so long ends."""
    starting: int = 8
    """Sandboxes that start at once, of one principal half of that; the others wait their turn."""
    open: int = 512
    """Requests of one sandbox that wait for an answer."""
