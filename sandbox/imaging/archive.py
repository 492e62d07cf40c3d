"""A tree's tar archive, made the same for the same files, and the archive that an engine loads as an image."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, Any

from sandbox.imaging.recipe import EPOCH
from sandbox.records import dataclass

_CHUNK = 1 << 20
# What is the builder's machine's and not the image's; the engine brings its own /dev.
_LEFT_OUT = (
    "dev/",
    "etc/apt/",
    "var/lib/apt/lists/",
    "etc/resolv.conf",
    "etc/hostname",
    "build/",
    ".dockerenv",
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer in a file: its hash, its size, and how many packages and which list of contents are in it."""

    path: str
    digest: str
    size: int


def normalise(source: IO[bytes], target: str, *, since: float) -> Layer:
    """Copies a tar stream to a file without what differs from build to build: moments after `since`, names, devices."""
    with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK) as read:
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as write:
            for entry in read:
                kept = _kept(entry, since)
                if kept is not None:
                    write.addfile(kept, read.extractfile(entry) if entry.isreg() else None)
    return layer(target)


def _kept(entry: tarfile.TarInfo, since: float) -> tarfile.TarInfo | None:
    name = entry.name.removeprefix("./").lstrip("/")
    if not name or name == "." or name.startswith(_LEFT_OUT) or entry.isdev():
        return None
    entry.name = name
    if entry.islnk():
        entry.linkname = entry.linkname.removeprefix("./").lstrip("/")
    entry.uname = entry.gname = ""
    entry.pax_headers = {}
    # Packages bring their files' moments, which compiled Python relies on; the build's own are this day's.
    entry.mtime = EPOCH if entry.mtime >= since else int(entry.mtime)
    if not entry.isdir():
        entry.mode &= ~0o6000
    return entry


def layer(path: str) -> Layer:
    """The layer that is in a file."""
    with open(path, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return Layer(path, digest, opened.seek(0, io.SEEK_END))


def config(settings: dict[str, Any], digests: list[str], machine: str) -> bytes:
    """The image's configuration, whose SHA-256 is the image's id at an engine of Docker's."""
    created = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "os": "linux",
        "created": created,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": created, "created_by": "mcp-sandbox image build"} for _ in digests],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def stream(configuration: bytes, layers: list[Layer], tag: str) -> Iterator[bytes]:
    """The archive for `docker load`, piece by piece: no image is ever in memory whole."""
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    places = [f"{one.digest}/layer.tar" for one in layers]
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": places}]).encode()
    for path, content in (("manifest.json", manifest), (name, configuration)):
        yield _header(path, len(content)) + _padded(content)
    for place, one in zip(places, layers, strict=True):
        yield _header(place, one.size)
        yield from _file(one)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(path: str, size: int) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mtime = size, EPOCH
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _file(one: Layer) -> Iterator[bytes]:
    with open(one.path, "rb") as opened:
        while chunk := opened.read(_CHUNK):
            yield chunk
    yield bytes(-one.size % tarfile.BLOCKSIZE)
