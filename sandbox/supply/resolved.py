"""What a build resolved, and what the registries say of it: kept beside the tree, for `lock` and `update`."""

from __future__ import annotations

from sandbox.records import dataclass
from sandbox.supply.lock import Package

FILE = "resolution.json"
"""Beside the tree (`trees/DIGEST/`), never in it: no sandbox sees it."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A registry's signature over `name@version:integrity` (npm)."""

    keyid: str
    sig: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a registry says of one version besides what is installed; all of it unverified."""

    name: str
    version: str
    deprecated: str = ""
    """Why nobody should use it any more, in the registry's words; empty where it is not deprecated."""
    yanked: str = ""
    """Why it was yanked, or `yes` where no reason is given; empty where it is not."""
    signatures: tuple[Signature, ...] = ()
    attestations: str = ""
    """Where its attestations are served: npm's bundles, or the provenance of the file (PEP 740)."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Every package of a tree, as its build resolved it."""

    packages: tuple[Package, ...]
    said: tuple[Said, ...] = ()
    """Only of what there is something to say."""
    ran: tuple[str, ...] = ()
    """Packages whose install scripts ran, by name."""
    unrun: tuple[str, ...] = ()
    """Packages that have install scripts which did not run."""
    unchecked: tuple[str, ...] = ()
    """What could not be learned, in sentences."""

    def of(self, name: str, version: str) -> Said:
        """What is said of one version; nothing where nothing is."""
        found = (each for each in self.said if (each.name, each.version) == (name, version))
        return next(found, Said(name, version))
