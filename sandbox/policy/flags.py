"""What the command line adds to a profile for one run, as it was typed."""

from __future__ import annotations

from sandbox.records import dataclass


@dataclass(frozen=True, slots=True)
class Flags:
    """Raw words of the `--allow-…` and quota options; `resolve` parses them and names the option."""

    allow_net: tuple[str, ...] = ()
    allow_read: tuple[str, ...] = ()
    allow_write: tuple[str, ...] = ()
    allow_env: tuple[str, ...] = ()
    set_env: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    memory: str | None = None
    cpus: str | None = None
    pids: str | None = None
    disk: str | None = None
    wall: str | None = None
    idle: str | None = None
    audit: str | None = None
    http: str | None = None
    headers: tuple[str, ...] = ()
    """`NAME: VALUE`, for a server that runs elsewhere."""
    headers_from: tuple[str, ...] = ()
    """`NAME=VARIABLE`: the whole value is a secret of the environment."""
    only_tools: tuple[str, ...] = ()
    """Patterns that narrow; none typed is no narrowing."""
