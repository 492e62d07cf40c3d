"""The root that a container starts from: a value that facts and specs share."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """An image by the id that nobody can move to other bytes, and what it brings along."""

    name: str
    id: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    cwd: str = ""
    volumes: tuple[str, ...] = ()
    """Places that the engine would make writable volumes of."""
    own: bool = False
    """The profile's own choice, not one of `images/`."""
