"""What a build needs and what it gives: values between the store and whoever runs the build sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sandbox.plan.image import Image
from sandbox.records import dataclass
from sandbox.supply.frozen import MOUNT, Frozen
from sandbox.supply.lock import Package
from sandbox.supply.request import Request

__all__ = ["CONFIG", "MOUNT", "SCRATCH", "BuildJob", "BuildOutcome", "Frozen", "Order", "Settings"]

CONFIG = "/opt/mcp-config"
"""Where the user's registry settings stand while a tree is built; nothing of it is in the tree."""
SCRATCH = ".build"
"""Caches of the installer, below the mount while it builds, removed before the tree is kept."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The user's registry, proxy, CA and token settings, and nothing else of the user's."""

    env: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BuildJob:
    """One run of the build sandbox: `steps` in order, stopping at the first that fails."""

    title: str
    steps: tuple[tuple[str, ...], ...]
    staging: str
    """Host directory, mounted writable at `mount`, which is also every step's working directory."""
    programs: tuple[str, ...]
    """Host paths that must be visible at the same place."""
    env: tuple[tuple[str, str], ...]
    log: str
    """Host file that collects what the steps print; its last lines are quoted when one fails."""
    mounts: tuple[tuple[str, str], ...] = ()
    """Host path and place inside, read-only."""
    files: tuple[tuple[str, bytes], ...] = ()
    """Files that exist inside only; they may hold tokens and belong in no log."""
    mount: str = MOUNT
    hosts: tuple[str, ...] = ()
    """What its steps may reach, as `[network] allow` spells it: the registries of the settings
    (`supply.registries`). Nothing else is, but for what the profile adds by `[supply] hosts`."""
    proxies: tuple[tuple[str, str], ...] = ()
    """The proxy that the settings name, by its variable; it is the gateway's, no step sees it."""
    narrows: bool = False
    """A step of it narrows its own system calls (`supply.alone`)."""


@dataclass(frozen=True, slots=True)
class BuildOutcome:
    """What came of one job."""

    status: int
    """The exit status of the last step that ran."""
    reached: tuple[str, ...] = ()
    """What its steps tried to reach and were denied: names, `name:port` or `address:port`, each once."""
    breach: str = ""
    """Why it was ended, with the quota; empty where it ended by itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """One call of `freeze`: who asks for what, and what builds and tells."""

    request: Request
    environ: Mapping[str, str]
    cwd: str
    scripts: tuple[str, ...]
    run_build: Callable[[BuildJob], BuildOutcome]
    progress: Callable[[str], None]
    image: Image | None = None
    """The image whose programs build and run it; None: the host's do."""
    age: float | None = None
    """Seconds that a release must be old to be chosen, 0 for any; None where nobody asks for its date."""
    age_waive: tuple[str, ...] = ()
    """Packages that may be younger, by name; what is asked for by its very version may be, too."""
    locked: tuple[Package, ...] = ()
    """What was resolved before, to be installed again and nothing else; empty: it is resolved now."""
