"""A finished tree: made read-only, listed file by file, and named by the hash of that list."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

from sandbox.errors import SandboxNotBuilt

DEEPEST = 200
"""Levels of directories: node_modules in node_modules comes to some thirty. Python recurses into each."""


def _entries(root: str, below: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything below `root`, depth first, in the order of its names."""
    if below.count("/") >= DEEPEST:
        raise SandboxNotBuilt(
            "package-not-built", f"the package has directories more than {DEEPEST} levels deep"
        )
    here = os.path.join(root, below)
    # Directories stay writable for their owner so that a person can delete the cache; inside, the
    # mount is read-only.
    os.chmod(here, 0o755)  # noqa: S103 - the store above it is 0700
    with os.scandir(here) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(root, path)


def _file(path: str, mode: int) -> str:
    """The hash of a regular file, which is made read-only on the way."""
    # What was built by others' code is opened without following links and without blocking.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as opened:
        os.fchmod(fd, mode)
        return hashlib.file_digest(opened, "sha256").hexdigest()


def seal(root: str) -> tuple[str, bytes]:
    """The digest and the manifest of the tree; files become 0444 or 0555, special files are refused.

    A manifest is NUL-ended records: `x` or `f` and the SHA-256, `l` and the target, `d`; then the path.
    """
    records = []
    for path, entry in _entries(root):
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            runs = bool(status.st_mode & 0o111)
            line = f"{'x' if runs else 'f'} {_readable(entry.path, 0o555 if runs else 0o444)}"
        elif stat.S_ISLNK(status.st_mode):
            line = f"l {os.readlink(entry.path)}"
        elif stat.S_ISDIR(status.st_mode):
            line = "d"
        else:
            raise SandboxNotBuilt(
                "package-not-built", f"the package left `{path}`, which is no file, directory or link"
            )
        records.append(os.fsencode(f"{line} {path}"))
    manifest = b"\0".join(records) + b"\0"
    return hashlib.sha256(manifest).hexdigest(), manifest


def _readable(path: str, mode: int) -> str:
    try:
        return _file(path, mode)
    except PermissionError:
        os.chmod(path, mode, follow_symlinks=True)  # ours, but without the read bit: no link, as lstat said
        return _file(path, mode)


def within(root: str, path: str) -> str | None:
    """The real path below `root` as a relative one; None where a link leads out or nothing is there."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    if not real.startswith(base + "/") or not os.path.isfile(real):
        return None
    return real[len(base) + 1 :]


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
