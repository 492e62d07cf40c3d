"""What an engine gives out of an image or a container: tar archives, read once, hashed and never kept.

Everything in them was chosen by whoever made the image: counts and sizes are bounded, nothing is unpacked.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, cast

from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass, replace
from sandbox.supply.oci_files import DIRECTORY, FILE, HARD, LINK, Entry

MOST_ENTRIES = 1_000_000
MOST_BYTES = 64 << 30
"""Of all layers, unpacked."""
_SMALL_BYTES = 16 << 20
"""Of all that is no layer: the list of layers, the configuration."""
_LEVELS = 3
"""An index of indexes of manifests."""
_BLOCK = 1 << 20
_GZIP, _TAR = b"\x1f\x8b", b"ustar"
_CAPABILITY = "SCHILY.xattr.security.capability"
_KINDS = {
    tarfile.REGTYPE: FILE,
    tarfile.AREGTYPE: FILE,
    tarfile.DIRTYPE: DIRECTORY,
    tarfile.SYMTYPE: LINK,
    tarfile.LNKTYPE: HARD,
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "fifo",
}

_NO_IMAGE = (
    *(tarfile.TarError, EOFError, OSError, zlib.error),
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
)
"""What reading an archive raises that is none, whether its tar, its gzip or its JSON is at fault."""

Listed = list[tuple[str, Entry]]


@dataclass(frozen=True, slots=True)
class Saved:
    """An image as the engine gives it out."""

    ids: frozenset[str]
    """The hash of the configuration that came with it, and of each manifest and index that leads to it: an
    engine names its images by the one or the other."""
    layers: tuple[tuple[str, Listed], ...]
    """Each layer's own hash, unpacked, with what is in it; the lowest first."""


class Unreadable(SandboxNotBuilt):
    """An archive that is none, or one beyond all measure."""

    def __init__(self, what: str) -> None:
        super().__init__("image-unreadable", what, hint="pull or build the image again")


class Chunks(io.RawIOBase):
    """A stream's pieces as one file; bounded, since the other end decides how many come."""

    def __init__(self, chunks: Iterable[bytes], most: int = MOST_BYTES) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = b""
        self._most = most

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        while not self._rest:
            piece = next(self._chunks, None)
            if piece is None:
                return 0
            self._rest = piece
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        self._most -= size
        if self._most < 0:
            raise Unreadable(f"the image has more than {MOST_BYTES >> 30} GiB")
        return size


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes], room: list[int]) -> None:
        self._file = file
        self._room = room
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._room[0] -= len(data)
        if self._room[0] < 0:
            raise Unreadable(f"the image has more than {MOST_BYTES >> 30} GiB")
        self.hash.update(data)
        return data

    def drained(self) -> str:
        """The hash of all of it."""
        while self.read(_BLOCK):
            pass
        return f"sha256:{self.hash.hexdigest()}"


def saved(chunks: Iterable[bytes]) -> Saved:
    """The image of an engine's `save` stream."""
    try:
        return _Reading().image(chunks)
    except _NO_IMAGE as error:
        raise Unreadable(
            f"what the engine gave out is no image: {' '.join(str(error).split())[:200]}"
        ) from error


def exported(chunks: Iterable[bytes]) -> Listed:
    """All paths of a container's `export` stream."""
    room = [MOST_ENTRIES]
    try:
        with _archive(Chunks(chunks)) as archive:
            return list(_entries(archive, 0, room))
    except _NO_IMAGE as error:
        raise Unreadable(f"what the engine gave out is no file system: {error}") from error


def _archive(file: Any) -> tarfile.TarFile:
    return tarfile.open(fileobj=cast("IO[bytes]", file), mode="r|", bufsize=_BLOCK)


class _Reading:
    """One pass over a `save` stream: layers may stand before or after what says which they are."""

    def __init__(self) -> None:
        self.small: dict[str, bytes] = {}
        self.layers: dict[str, tuple[str, Listed]] = {}
        self.links: dict[str, str] = {}
        self.entries = [MOST_ENTRIES]
        self.bytes = [MOST_BYTES]
        self.small_room = _SMALL_BYTES

    def image(self, chunks: Iterable[bytes]) -> Saved:
        """What was saved, put together."""
        with _archive(Chunks(chunks)) as outer:
            for member in outer:
                self._member(outer, member)
        (described,) = json.loads(self.small["manifest.json"])
        config = self.small[described["Config"]]
        names = [self.links.get(one, one) for one in described["Layers"]]
        layers = [self._numbered(*self.layers[name], number) for number, name in enumerate(names, 1)]
        return Saved(self._leading_to(_sha256(config)), tuple(layers))

    def _leading_to(self, config: str) -> frozenset[str]:
        named = {_sha256(content): _named(content) for content in self.small.values()}
        found = {config}
        for _ in range(_LEVELS):
            found |= {one for one, others in named.items() if found & others}
        return frozenset(found)

    @staticmethod
    def _numbered(digest: str, entries: Listed, number: int) -> tuple[str, Listed]:
        return digest, [(path, replace(entry, layer=number)) for path, entry in entries]

    def _member(self, outer: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        if member.issym():
            # Docker before 25 writes a layer that comes twice as a link to the other one's folder.
            self.links[member.name] = _beside(member.name, member.linkname)
            return
        opened = outer.extractfile(member) if member.isfile() else None
        if opened is None:
            return
        head = opened.read(512)
        file = _Rejoined(head, opened)
        if head[257:262] == _TAR or head[:2] == _GZIP or _is_empty_tar(head, member):
            self.layers[member.name] = self._layer(file, compressed=head[:2] == _GZIP)
        elif member.size <= self.small_room:
            self.small_room -= member.size
            self.small[member.name] = file.read()

    def _layer(self, file: _Rejoined, *, compressed: bool) -> tuple[str, Listed]:
        plain = gzip.GzipFile(fileobj=cast("IO[bytes]", file)) if compressed else file
        hashed = _Hashed(cast("IO[bytes]", plain), self.bytes)
        with _archive(hashed) as archive:
            found = list(_entries(archive, 0, self.entries))
        return hashed.drained(), found


def _sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _named(content: bytes) -> set[str]:
    """The digests that a manifest or an index names, of a configuration or of manifests."""
    try:
        said = json.loads(content)
        below = [said.get("config"), *(said.get("manifests") or [])]
        return {one["digest"] for one in below if one}
    except _NO_IMAGE:
        return set()


def _is_empty_tar(head: bytes, member: tarfile.TarInfo) -> bool:
    """A layer without a file: two blocks of nothing."""
    return member.size >= 1024 and not head.strip(b"\0")


class _Rejoined:
    """A file of which the head was read already."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """The head first."""
        if not self._head:
            return self._file.read(size)
        if size < 0:
            head, self._head = self._head, b""
            return head + self._file.read()
        head, self._head = self._head[:size], self._head[size:]
        return head if len(head) == size else head + self._file.read(size - len(head))


def _beside(name: str, target: str) -> str:
    import posixpath

    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _entries(archive: tarfile.TarFile, layer: int, room: list[int]) -> Iterator[tuple[str, Entry]]:
    for member in archive:
        room[0] -= 1
        if room[0] < 0:
            raise Unreadable(f"the image has more than {MOST_ENTRIES} files")
        cast("Any", archive).members = []  # tarfile would keep every one of them
        path = _path(member.name)
        if path:
            yield path, _entry(archive, member, layer)


def _path(name: str) -> str:
    """Relative and plain; the root itself is empty."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Unreadable("a layer has a path that leads out of it")
    return "/".join(parts)


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, layer: int) -> Entry:
    kind = _KINDS.get(member.type)
    if kind is None:
        raise Unreadable("a layer has an entry of an unknown kind")
    value = ""
    if kind == FILE:
        value = _hash(archive.extractfile(member))
    elif kind == LINK:
        value = member.linkname
    elif kind == HARD:
        value = _path(member.linkname)
    elif kind != DIRECTORY:
        value = f"{member.devmajor}:{member.devminor}"
    capability = member.pax_headers.get(_CAPABILITY, "")
    return Entry(kind, member.mode & 0o7777, (member.uid, member.gid), value, capability, layer)


def _hash(file: IO[bytes] | None) -> str:
    digest = hashlib.sha256()
    while file is not None and (data := file.read(_BLOCK)):
        digest.update(data)
    return digest.hexdigest()
