"""What a build resolved, and what the registries say of it: kept beside the tree, for `lock` and `update`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sandbox.records import dataclass
from sandbox.supply.disk import write
from sandbox.supply.lock import Package

FILE = "resolution.json"
"""Beside the tree (`trees/DIGEST/`), never in it: no sandbox sees it."""
SCHEMA = 1


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

    @property
    def says(self) -> bool:
        """There is anything."""
        return bool(self.deprecated or self.yanked or self.signatures or self.attestations)


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
    reached: tuple[str, ...] = ()
    """What the build tried to reach and was denied: names, `name:port` or `address:port`."""
    unchecked: tuple[str, ...] = ()
    """What could not be learned, in sentences."""
    dated: bool = False
    """Its build was asked to mind a release age, so that dates are there if the registries have any."""

    def aged(self, newest: float, exempt: Collection[str]) -> bool:
        """The dates were asked for, and no package but those `exempt` is known to be published after."""
        latest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest))
        return self.dated and all(
            each.published <= latest or each.name in exempt for each in self.packages if each.published
        )

    def of(self, name: str, version: str) -> Said:
        """What is said of one version; nothing where nothing is."""
        found = (each for each in self.said if (each.name, each.version) == (name, version))
        return next(found, Said(name, version))


def resolution(tree: str) -> Resolution | None:
    """How the tree at `trees/DIGEST/tree` was resolved; None where its build could not say, or is older."""
    try:
        with open(os.path.join(os.path.dirname(tree), FILE), "rb") as opened:
            return _read(json.load(opened))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def came_from(tree: str, packages: Sequence[Package]) -> bool:
    """The tree is known to have been installed from these packages and no others."""
    found = resolution(tree)
    return found is not None and _places(found.packages) == _places(packages)


def _places(packages: Sequence[Package]) -> list[tuple[str, str, str]]:
    return sorted((each.name, each.version, each.place) for each in packages)


def write_beside(tree: str, found: Resolution, kept: str) -> None:
    """Puts it beside the staged tree, unless the same tree at `kept` has one that knows more already."""
    from dataclasses import asdict  # only after a build

    before = resolution(kept)
    if before is not None and before.dated and not found.dated and _plain(before) == _plain(found):
        return
    body = json.dumps({"schema": SCHEMA, **asdict(found)}).encode()
    write(os.path.join(os.path.dirname(tree), FILE), body, 0o600)


def _plain(found: Resolution) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(each.name, each.version, each.place, each.integrity) for each in found.packages]


def _read(raw: Mapping[str, Any]) -> Resolution | None:
    if raw["schema"] != SCHEMA:
        return None
    names = ("ran", "unrun", "reached", "unchecked")
    return Resolution(
        packages=tuple(_package(each) for each in raw["packages"]),
        said=tuple(_said(each) for each in raw["said"]),
        **{name: tuple(raw[name]) for name in names},
        dated=raw["dated"],
    )


def _package(raw: Mapping[str, Any]) -> Package:
    lists = {"integrity": tuple(raw["integrity"]), "provenance": tuple(raw["provenance"])}
    return Package(**{**raw, **lists, "rest": tuple((name, value) for name, value in raw["rest"])})


def _said(raw: Mapping[str, Any]) -> Said:
    return Said(**{**raw, "signatures": tuple(Signature(**each) for each in raw["signatures"])})
