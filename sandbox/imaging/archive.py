"""The archive that an engine loads as an image, and the configuration whose hash is the image's id."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from sandbox.imaging.recipe import EPOCH, Settings
from sandbox.imaging.tree import Layer

_CHUNK = 1 << 20


def config(settings: Settings, labels: Mapping[str, str], digests: list[str], machine: str) -> bytes:
    """The image's configuration, whose SHA-256 is the image's id at an engine of Docker's."""
    created = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "os": "linux",
        "created": created,
        "config": {
            "User": settings.user,
            "WorkingDir": settings.folder,
            "Env": settings.env,
            "Labels": dict(labels),
        },
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
