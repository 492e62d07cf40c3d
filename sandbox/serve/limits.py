"""How much the front bears: of one client, of those nobody knows, and in all."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times are seconds, sizes bytes; a connection is known once a request on it had a valid token."""

    head_s: float = 10.0
    """For a whole head, from the first moment of a connection or the end of the answer before."""
    body_s: float = 10.0
    """For a body, and as much longer as `body_rate` bytes a second take."""
    body_rate: int = 8 << 10
    idle_s: float = 120.0
    """Between two requests of a known client."""
    write_s: float = 30.0
    """For a client that takes nothing of what is written to it."""
    drain_s: float = 1.0
    """For a refused client to read why, and to stop sending."""
    body_max: int = 8 << 20
    bodies_max: int = 64 << 20
    """Of all bodies that are being read."""
    bodies_each: int = 32 << 20
    """Of those of one client, so that it is not in the way of another."""
    unknown_max: int = 256
    unknown_per_peer: int = 64
    """From one address that is not this machine's."""
    known_max: int = 1024
    known_per_principal: int = 256
    refusals_per_s: float = 1.0
    refusals_at_once: int = 50
    """Of those that are logged one by one; the others are counted."""
    counted_s: float = 10.0
    """How often the count is logged."""
