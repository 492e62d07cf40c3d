"""A finished tree: made read-only, listed file by file, and named by the hash of that list."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import manifest
from sandbox.supply.compared import SEALED
from sandbox.supply.manifest import DIRECTORY, FILE, LINK, PROGRAM, Record

DEEPEST = 200
"""Levels of directories: node_modules in node_modules comes to some thirty. Python recurses into each."""
Found = tuple[str, os.DirEntry[str]]
Hash = Callable[[str, int], str]
"""The SHA-256 of the file at a path that has this mode in a sealed tree."""


def walk(
    root: str, enter: Callable[[str], None], below: str = "", *, without: frozenset[str] = frozenset()
) -> Iterator[Found]:
    """Everything below `root`, depth first, in the order of names; `enter` comes before each directory.

    `without`: names at its top that are passed over.
    """
    if below.count("/") >= DEEPEST:
        raise SandboxNotBuilt("package-not-built", f"it has directories more than {DEEPEST} levels deep")
    here = os.path.join(root, below)
    enter(here)
    with os.scandir(here) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        if entry.name in without:
            continue
        path = f"{below}/{entry.name}" if below else entry.name
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from walk(root, enter, path)


def record(path: str, entry: os.DirEntry[str], hashed: Hash) -> Record:
    """What a manifest says of one entry; special files are refused."""
    status, name = entry.stat(follow_symlinks=False), os.fsencode(path)
    if stat.S_ISREG(status.st_mode):
        kind = PROGRAM if status.st_mode & 0o111 else FILE
        return kind, hashed(entry.path, SEALED[kind]).encode(), name
    if stat.S_ISLNK(status.st_mode):
        return LINK, os.fsencode(os.readlink(entry.path)), name
    if stat.S_ISDIR(status.st_mode):
        return DIRECTORY, b"", name
    shown = manifest.shown(name)
    raise SandboxNotBuilt("package-not-built", f"there is `{shown}`, which is no file, directory or link")


def seal(root: str) -> tuple[str, bytes]:
    """The digest and the manifest of the tree; files become 0444 or 0555, special files are refused."""
    records = [record(path, entry, _sealed) for path, entry in walk(root, _enter)]
    made = manifest.spell(records)
    return hashlib.sha256(made).hexdigest(), made


def _enter(directory: str) -> None:
    os.chmod(directory, SEALED[DIRECTORY])


def _sealed(path: str, mode: int) -> str:
    try:
        return _file(path, mode)
    except PermissionError:
        os.chmod(path, mode, follow_symlinks=True)  # ours, but without the read bit: no link, as lstat said
        return _file(path, mode)


def _file(path: str, mode: int) -> str:
    """The hash of a regular file, which is made read-only on the way."""
    # What was built by others' code is opened without following links and without blocking.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as opened:
        os.fchmod(fd, mode)
        return hashlib.file_digest(opened, "sha256").hexdigest()


def within(root: str, path: str) -> str | None:
    """The real path below `root` as a relative one; None where a link leads out or nothing is there."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    if not real.startswith(base + "/") or not os.path.isfile(real):
        return None
    return real[len(base) + 1 :]


def drop(root: str, path: str) -> None:
    """No file of that name is in the tree any more; what a link on the way leads to outside is left alone."""
    folder, name = os.path.split(os.path.join(os.path.realpath(root), path))
    if os.path.realpath(folder) == folder and os.path.lexists(os.path.join(folder, name)):
        os.unlink(os.path.join(folder, name))


def names(root: str, *below: str) -> list[str]:
    """The names in a directory of the tree; none where it is missing or a link leads out of the tree."""
    folder = os.path.join(root, *below)
    real = os.path.realpath(folder)
    inside = real.startswith(os.path.realpath(root) + "/") and os.path.isdir(real)
    return sorted(os.listdir(real)) if inside else []


def head(path: str) -> bytes:
    """The first bytes of a file, enough for a `#!` line."""
    with open(path, "rb") as opened:
        return opened.read(512)


def content(path: str, largest: int) -> bytes | None:
    """A regular file of at most `largest` bytes, whatever was put in its place; None for anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            return None
        with os.fdopen(fd, "rb", closefd=False) as opened:
            return opened.read(largest)
    except OSError:
        return None
    finally:
        os.close(fd)
