"""Which shipped profile a server's command asks for: found by the package that it starts, and by nothing else.

A name that only looks like it, another spelling, an alias, a URL, a path and a package from another
registry match nothing: what does not match gets `base`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal

from sandbox.errors import SandboxError
from sandbox.policy.search import shipped
from sandbox.records import dataclass
from sandbox.supply import spec
from sandbox.supply.request import Request, parse

INDEX = "index.json"
Access = Literal["none", "read", "write"]


@dataclass(frozen=True, slots=True)
class Matched:
    """The profile of a command, and what of the command counts."""

    profile: str
    package: str
    """`npm:@scope/name`, `pypi:name` or `oci:name`, without a version."""
    version: str | None
    """The exact version that the command names or that is installed; None where a registry decides."""
    versions: str
    """Those that the profile was proven with, as it spells them; empty: any."""
    access: Access
    """How `paths` are mounted."""
    paths: tuple[str, ...]
    """Absolute paths that the command's own arguments name and that exist; none where `access` is `none`."""


def match(command: Sequence[str], environ: Mapping[str, str], cwd: str | None = None) -> Matched | None:
    """What `run -- COMMAND` finds in `cwd` (the current directory); None where no profile is for it."""
    try:
        request = parse(command)
    except SandboxError:
        return None
    found = _requested(request) if request else None
    row = _index().get(found[0]) if found else None
    if found is None or row is None:
        return None
    return Matched(row["profile"], found[0], found[1], row["versions"], row["paths"], ())


def _requested(request: Request) -> tuple[str, str | None] | None:
    first = request.specs[0]
    if request.ecosystem == "npm":
        name = spec.npm_name(first)
        return f"npm:{name}", first[len(name) + 1 :] if spec.npm_pinned(first) else None
    return f"pypi:{spec.pypi_base(first)}", None


def _index() -> Mapping[str, Mapping[str, str]]:
    import json

    try:
        with open(os.path.join(shipped(), INDEX), "rb") as file:
            found: Mapping[str, Mapping[str, str]] = json.load(file)["packages"]
    except FileNotFoundError:
        return {}
    return found
