"""The files that an image's layers make together, and those that a container really got (no I/O).

Records come from tar archives, which is what every engine gives out: layers as they were pulled, and the
file system of a container that was made and never started.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from sandbox.records import dataclass

DIRECTORY, LINK, FILE, HARD = "directory", "symbolic link", "file", "hard link"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
MADE_BY_ENGINE = frozenset(
    {".dockerenv", "proc", "sys", "dev", "dev/pts", "dev/shm", "dev/console"}
    | {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "run/.containerenv"}
)
"""What an engine puts into every container, over whatever its image has there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer or of a container."""

    kind: str
    mode: int
    owner: tuple[int, int]
    value: str = ""
    """A file's SHA-256, a link's target, a device's numbers; of a hard link the other path."""
    capability: str = ""
    """`security.capability`: what a program may do whoever starts it."""
    layer: int = 0


Tree = dict[str, Entry]
_ENGINES = Entry(FILE, 0, (0, 0))


def stacked(layers: Iterable[Iterable[tuple[str, Entry]]]) -> Tree:
    """All layers, one over the other, as the OCI image specification lays them."""
    tree: Tree = {}
    for entries in layers:
        _lay(tree, list(entries))
    return tree


def _lay(tree: Tree, entries: list[tuple[str, Entry]]) -> None:
    removed = [path for path, _ in entries if posixpath.basename(path).startswith(_WHITEOUT)]
    # A whiteout hides what is below its layer, never what stands beside it in the same one.
    for path in removed:
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            _clear(tree, folder)
        else:
            gone = posixpath.join(folder, name.removeprefix(_WHITEOUT))
            tree.pop(gone, None)
            _clear(tree, gone)
    folders = _folders(tree)
    for path, entry in entries:
        if not posixpath.basename(path).startswith(_WHITEOUT):
            if entry.kind != DIRECTORY and path in folders:
                _clear(tree, path)
            _put(tree, path, entry)


def _put(tree: Tree, path: str, entry: Entry) -> None:
    tree[path] = tree.get(entry.value, entry) if entry.kind == HARD else entry


def _clear(tree: Tree, folder: str) -> None:
    below = f"{folder}/" if folder else ""
    for path in [one for one in tree if one.startswith(below)]:
        del tree[path]


def container_tree(entries: Iterable[tuple[str, Entry]]) -> Tree:
    """The same of a container's own archive."""
    tree: Tree = {}
    for path, entry in entries:
        _put(tree, path, entry)
    return tree


def differences(image: Tree, container: Tree) -> Iterator[tuple[str, str]]:
    """Each path where a container is not what its image's layers make, and how; in the paths' order."""
    implied = _folders({**image, **dict.fromkeys(MADE_BY_ENGINE, _ENGINES)})
    for path in sorted(image.keys() | container.keys()):
        if path in MADE_BY_ENGINE:
            continue
        wanted, found = image.get(path), container.get(path)
        if wanted is None:
            if not (found is not None and found.kind == DIRECTORY and path in implied):
                yield path, "is in no layer"
        elif found is None:
            yield path, f"of layer {wanted.layer} is gone"
        elif how := _how(wanted, found):
            yield path, f"of layer {wanted.layer} {how}"


def _folders(tree: Tree) -> set[str]:
    """Directories that a layer need not list: a path below them is enough."""
    found: set[str] = set()
    for path in tree:
        folder = posixpath.dirname(path)
        while folder and folder not in found:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found


def _how(wanted: Entry, found: Entry) -> str:
    if wanted.kind != found.kind:
        return f"is a {found.kind}, not a {wanted.kind}"
    if wanted.value != found.value:
        return "has other bytes" if wanted.kind == FILE else "leads elsewhere"
    if wanted.kind != LINK and wanted.mode != found.mode:
        return f"has the mode {found.mode:04o}, not {wanted.mode:04o}"
    if wanted.owner != found.owner:
        return "is owned by {}:{}, not by {}:{}".format(*found.owner, *wanted.owner)
    if wanted.capability != found.capability:
        return "has other file capabilities"
    return ""
