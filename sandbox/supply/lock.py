"""What a lock says: the one server that may start, package by package and tree by tree (no I/O).

`lock_text` spells it as TOML; every start reads it, so nothing here costs an import.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.hints import Any, Literal
from sandbox.records import dataclass

Kind = Literal["npm", "pypi", "oci", "mcpb", "program"]

SCHEMA = 1
SUFFIX = ".lock"
LARGEST = 8 << 20
"""Bytes of a lock file."""
INTERPRETER = "{interpreter}"
"""In a start's words: the host's node or python, which is this machine's own."""


@dataclass(frozen=True, slots=True)
class Package:
    """One package of the resolved tree, as its registry served it."""

    name: str
    version: str
    integrity: tuple[str, ...]
    """`sha512-BASE64` (npm, W3C SRI), or `sha256:HEX` of every file that may be installed (PyPI)."""
    source: str = ""
    """The URL that it came from, without a login."""
    place: str = ""
    """npm: where in the tree, such as `node_modules/a/node_modules/b`."""
    scripts: bool = False
    """It has install scripts, run or not."""
    published: str = ""
    """RFC 3339; empty where its registry does not say."""
    publisher: str = ""
    """Who published this version, as the registry says; empty where it does not."""
    provenance: tuple[str, ...] = ()
    """What was verified of its origin, in words: empty where nothing was."""
    rest: tuple[tuple[str, Any], ...] = ()
    """What its installer needs besides, to install the very same again: names and TOML values."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What is mounted, for one kind of machine: packages install other files for another."""

    fits: str
    """`linux-x86_64 node-115`, `linux-x86_64 cpython-311`, or `image node` (see `supply.fits`)."""
    digest: str
    """SHA-256 of the manifest: the tree's name in the store."""
    files: int
    size: int
    """Bytes of all its files."""
    starts: tuple[tuple[str, tuple[str, ...]], ...]
    """Each program of the tree and the words that start it, with `INTERPRETER` where this machine's goes."""
    default: str = ""
    """The program that npx's rule takes; empty where there is none."""


@dataclass(frozen=True, slots=True)
class ImageLock:
    """An image of a container engine, by content alone."""

    name: str
    id: str
    """`sha256:HEX` of its configuration, which names every layer's content."""
    digest: str
    """`sha256:HEX` of its manifest at its registry; empty where it never was at one."""
    layers: tuple[str, ...]
    """`sha256:HEX` of each layer, unpacked (`diff_id`, OCI image specification)."""
    provenance: tuple[str, ...] = ()
    """What was verified of its origin, in words: empty where nothing was."""


@dataclass(frozen=True, slots=True)
class Place:
    """A program, or a tree around one, that stays where it is on this machine."""

    path: str
    digest: str
    """SHA-256 of its manifest (`supply.tree`), or of the file where it is one."""
    files: int
    commit: str = ""
    """The commit that a git checkout stands at; empty where it is none."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """A decision that a person took by name."""

    what: str
    """`scripts NAME`, or the waiver's name and what it is about, such as `age NAME`."""
    by: str


@dataclass(frozen=True, slots=True)
class PinLock:
    """One item of the server's own lists, as it was when it was locked."""

    kind: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Lock:
    """One server, frozen."""

    name: str
    kind: Kind
    asked: tuple[str, ...]
    """What it was resolved from: canonical specs (`supply.request.Request.specs`), an image, a path."""
    command: tuple[str, ...]
    """The command line that was locked, without the server's own arguments."""
    made: str
    """RFC 3339, UTC."""
    by: str
    """Who locked it: the login name."""
    python: str = ""
    """The python that was asked for, as the request spells it."""
    options: tuple[str, ...] = ()
    """The installer's options that were asked for, without logins."""
    packages: tuple[Package, ...] = ()
    trees: tuple[Tree, ...] = ()
    image: ImageLock | None = None
    places: tuple[Place, ...] = ()
    bundle: str = ""
    """`sha256:HEX` of a bundle's file (mcpb)."""
    scripts: tuple[Allowed, ...] = ()
    """Packages whose install scripts ran."""
    waived: tuple[Allowed, ...] = ()
    unchecked: tuple[str, ...] = ()
    """What could not be checked when it was locked, in sentences."""
    profile: str = ""
    profile_digest: str = ""
    """SHA-256 of what the profile grants (`supply.granted`), without this run's options."""
    server: str = ""
    """Name and version that the server gives itself."""
    protocol: str = ""
    """The newest revision that it spoke."""
    pins: tuple[PinLock, ...] = ()
    keys: tuple[str, ...] = ()
    """By what starts find it (`key_of`): its packages' names, and the profile that names it as its server."""
    wants: tuple[str, ...] = ()
    """Hosts that it tried to reach while it was looked at, allowed or not: `name:port`."""

    def tree_for(self, fits: str) -> Tree | None:
        """The tree for one kind of machine."""
        return next((tree for tree in self.trees if tree.fits == fits), None)


def key_of(kind: str, names: tuple[str, ...]) -> str:
    """By what a start finds its lock: the kind and the packages' names, whatever versions are asked for."""
    return " ".join([kind, *sorted(names)])


def plain(rest: tuple[tuple[str, Any], ...]) -> Mapping[str, Any]:
    """`Package.rest` as a mapping."""
    return dict(rest)
