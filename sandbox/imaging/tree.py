"""A tree's archive, made the same for the same files, and the layer that leads from one tree to the next."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from typing import IO

from sandbox.imaging.recipe import EPOCH
from sandbox.records import dataclass

_CHUNK = 1 << 20
_WHITEOUT = ".wh."
# What is the builder's machine's and not the image's; the engine brings its own /dev.
_LEFT_OUT = ("dev/", "etc/apt/", "var/lib/apt/lists/", "etc/resolv.conf", "etc/hostname", "build/")
Index = dict[str, tuple[object, ...]]
"""What is at each path of a tree: kind, permissions, owner, moment, and the hash of what is in it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in a file, by hash and size, and the index of the tree that it completes."""

    path: str
    digest: str
    size: int
    index: Index


def layer(source: IO[bytes], target: str, *, since: float, below: Index) -> Layer:
    """Writes what a tree's tar stream has beyond the tree `below`, without what differs from build to build.

    `since`: when the build began. What was written later bears one moment; packages' files keep theirs.
    """
    index: Index = {}
    with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK) as read:
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
            writer = _Writer(archive)
            for entry in read:
                if _settle(entry, since):
                    content = _content(read, entry)
                    index[entry.name] = _signature(entry, content)
                    writer.add(entry, content, same=below.get(entry.name) == index[entry.name])
            for name in gone(below, index):
                writer.add(_whiteout(name), b"", same=False)
    with open(target, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Layer(target, digest, os.path.getsize(target), index)


def gone(below: Index, index: Index) -> Iterator[str]:
    """The paths of `below` that the next tree has no more; of a folder that is gone, only itself."""
    removed = below.keys() - index.keys()
    yield from sorted(name for name in removed if os.path.dirname(name) not in removed)


def _whiteout(name: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(os.path.join(os.path.dirname(name), _WHITEOUT + os.path.basename(name)))
    entry.mtime = EPOCH
    return entry


def _settle(entry: tarfile.TarInfo, since: float) -> bool:
    """Makes an entry independent of where and when it was built; False for what is no part of the image."""
    entry.name = _relative(entry.name)
    if not entry.name or entry.name.startswith(_LEFT_OUT) or entry.isdev():
        return False
    if entry.islnk():
        entry.linkname = _relative(entry.linkname)
    entry.uname = entry.gname = ""
    entry.pax_headers = {}
    # Compiled Python relies on the moments that packages bring, so not all of them become one.
    entry.mtime = EPOCH if entry.mtime >= since else int(entry.mtime)
    entry.mode &= 0o1777
    return True


def _relative(name: str) -> str:
    return name.removeprefix("./").strip("/") if name != "." else ""


def _content(read: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    opened = read.extractfile(entry) if entry.isreg() else None
    return opened.read() if opened else b""


def _signature(entry: tarfile.TarInfo, content: bytes) -> tuple[object, ...]:
    what = hashlib.sha256(content).digest() if entry.isreg() else entry.linkname
    return (entry.type, entry.mode, entry.uid, entry.gid, entry.mtime, what)


class _Writer:
    """Writes entries, each after the folders that lead to it: a layer sets their attributes too."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self.archive = archive
        self.folders: dict[str, tarfile.TarInfo] = {}
        self.written: set[str] = set()

    def add(self, entry: tarfile.TarInfo, content: bytes, *, same: bool) -> None:
        """Writes the entry unless the tree below has the same."""
        if entry.isdir():
            self.folders[entry.name] = entry
        if same and not (entry.islnk() and entry.linkname in self.written):
            return
        if entry.islnk() and entry.linkname not in self.written:
            raise tarfile.TarError(f"`{entry.name}` is another name of `{entry.linkname}` of the layer below")
        self._lead_to(entry.name)
        if entry.name not in self.written:
            self._write(entry, content)

    def _lead_to(self, name: str) -> None:
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = self.folders.get("/".join(parts[:depth]))
            if folder is not None and folder.name not in self.written:
                self._write(folder, b"")

    def _write(self, entry: tarfile.TarInfo, content: bytes) -> None:
        self.written.add(entry.name)
        self.archive.addfile(entry, io.BytesIO(content))
