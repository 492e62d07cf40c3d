"""What a client's configuration is told in: rows of the table, entries, edits and what goes wrong (P)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sandbox.errors import USAGE, SandboxError
from sandbox.records import dataclass, field

Path = tuple[str | int, ...]
"""Where a value stands in a document: member names, and the index in a list."""


class ConfigError(SandboxError):
    """A client's file that cannot be read, understood or edited without a guess; nothing was changed."""

    exit_status = USAGE


class _Removed:
    """The value of an edit that takes a member away."""

    def __repr__(self) -> str:
        return "REMOVED"


REMOVED: Final = _Removed()


class Edit(NamedTuple):
    """`value` shall stand at `path`; a member that is not there yet comes after its sibling `after`."""

    path: Path
    value: Any
    after: str = ""


@dataclass(frozen=True, slots=True)
class Files:
    """Templates of paths on each system."""

    linux: tuple[str, ...] = ()
    mac: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """A client: where its files are, where in them its servers are, and in which shape.

    Paths are templates: `~` is the home, `{config}`, `{appdata}` and `{localappdata}` the usual places of the
    system, `{NAME:default}` a variable or what stands for it, `*` matches within one name. `*` in a key means
    every member at that level.
    """

    id: str
    name: str
    keys: tuple[tuple[str, ...], ...]
    shape: str = "flat"
    files: Files = Files()
    project: tuple[str, ...] = ()
    variables: str = ""
    """A regular expression whose groups `env`, `input` or `other` name what the client itself expands."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A server as a client would start it, with every variable as it is written."""

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    cwd: str = ""
    url: str = ""
    kind: str = "stdio"
    """`stdio`, `http`, `sse`, or `other` for what is not started by a command and has no address."""
    disabled: bool = False
    passed: tuple[str, ...] = ()
    """Names of variables that the client passes on from its own environment."""
    env_file: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    """Every other member, as it was read."""
    path: Path = ()
    """Where the entry stands in its document."""
    args_given: bool = True
    """Whether there is a member for arguments at all."""
    shape: str = "flat"
    faults: tuple[str, ...] = ()
    """What is there and of a type that no client reads, in words; such an entry is not edited."""


@dataclass(frozen=True, slots=True)
class Found:
    """A configuration file that exists on this machine."""

    row: Row
    path: str
    """As the client opens it."""
    real: str
    """Behind every symbolic link: what is read and replaced."""
    format: str
    scope: str
    """`user`, `project` or `system`."""
