"""The outcome of `freeze`; a module of its own because every start imports it and few import a build."""

from __future__ import annotations

from sandbox.records import dataclass

MOUNT = "/opt/mcp"
"""Where a tree is mounted, while it is built and while it runs: absolute paths in it hold."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A server that starts from a read-only tree, without its package manager and without a network."""

    argv: tuple[str, ...]
    tree: str
    interpreter: str
    """The host's real node or python; empty where the program is a native one, or the image has it."""
    resolved: tuple[str, ...]
    digest: str
    reused: bool
    mount: str = MOUNT
