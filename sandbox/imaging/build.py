"""Builds one image at an engine and says what came of it: its id, its size, what is in it."""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, cast

from sandbox import engine
from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import archive, debian, recipe
from sandbox.records import dataclass

SBOM = "/usr/share/mcp-sandbox/sbom.json"
LOAD_S = 300.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is at the engine now, and the list of its contents (CycloneDX, JSON)."""

    name: str
    id: str
    recipe: str
    size: int
    contents: bytes

    @property
    def packages(self) -> int:
        """How many components the list names."""
        return len(json.loads(self.contents)["components"])


def from_packages(api: engine.Api, name: str, cache: str, environ: Mapping[str, str], say: Say) -> Built:
    """The image made by mmdebstrap and loaded into the engine; its id is that of its bytes."""
    os.makedirs(cache, mode=0o700, exist_ok=True)
    say(f"{name}: installing {len(recipe.packages(name))} packages and what they need (mmdebstrap)")
    with tempfile.TemporaryDirectory(dir=cache) as place:
        made: list[archive.Layer] = []

        def consume(stream: object) -> None:
            target = os.path.join(place, "layer.tar")
            made.append(archive.normalise(cast(IO[bytes], stream), target, since=since))

        since = time.time()
        debian.build(name, cache, environ, consume)
        say(f"{name}: loading {made[0].size >> 20} MiB into the engine")
        return load(api, name, made)


def load(api: engine.Api, name: str, layers: list[archive.Layer]) -> Built:
    """Gives the engine an image of these layers, under our tag."""
    machine = platform.machine()
    configuration = archive.config(recipe.settings(name), [one.digest for one in layers], machine)
    tag = recipe.tag(name)
    with engine.failures("the engine"):
        for message in api.load_image(archive.stream(configuration, layers, tag), quiet=True):
            if "error" in message:
                raise SandboxNotBuilt("image-not-loaded", f"the engine refused {tag}: {message['error']}")
        return described(api, name, tag)


def described(api: engine.Api, name: str, reference: str) -> Built:
    """What the engine says of an image of ours that it has."""
    found = api.inspect_image(reference)
    contents = read(api, found["Id"], SBOM)
    labels: dict[str, Any] = found["Config"].get("Labels") or {}
    return Built(
        name, found["Id"], str(labels.get("io.mcp-sandbox.recipe", "")), int(found["Size"]), contents
    )


def read(api: engine.Api, image: str, path: str) -> bytes:
    """One file of an image, taken from a container that never starts."""
    made = api.create_container(
        image, command=["true"], labels={"io.mcp-sandbox.role": "build"}, network_disabled=True
    )
    try:
        stream, _ = api.get_archive(made["Id"], path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as opened:
            file = opened.extractfile(opened.getmembers()[0])
            return file.read() if file else b""
    finally:
        api.remove_container(made["Id"], v=True, force=True)
