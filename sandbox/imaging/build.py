"""Builds one image at an engine and says what came of it: its id, its size, what is in it."""

from __future__ import annotations

import io
import json
import platform
import tarfile
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from sandbox import engine
from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import archive, debian, recipe, tree
from sandbox.imaging.tree import Layer
from sandbox.records import dataclass

SBOM = "/usr/share/mcp-sandbox/sbom.json"
LOAD_S = 300.0
CLOCK_S = 2
"""A file system's clock may be a tick behind, and mtimes are in whole seconds in a tar."""
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


class Packages:
    """Builds images from Debian's packages, each upon the layers of its parents; its files go to `place`."""

    def __init__(self, api: engine.Api, place: str, cache: str, environ: Mapping[str, str], say: Say) -> None:
        self.api, self.place, self.cache, self.environ, self.say = api, place, cache, environ, say
        self.layers: dict[str, Layer] = {}

    def build(self, name: str) -> Built:
        """The image, whose parents were built before; its id is that of its bytes."""
        below = [self.layers[one] for one in recipe.chain(name)[:-1]]
        self.say(f"{name}: installing {', '.join(recipe.packages(name))} and what they need (mmdebstrap)")
        self.layers[name] = self._layer(name, below)
        self.say(f"{name}: loading {self.layers[name].size >> 20} MiB into the engine")
        return load(self.api, name, [*below, self.layers[name]])

    def _layer(self, name: str, below: list[Layer]) -> Layer:
        made: list[Layer] = []
        since = int(time.time()) - CLOCK_S
        beneath = below[-1].index if below else {}

        def consume(stream: IO[bytes]) -> None:
            made.append(tree.layer(stream, f"{self.place}/{name}.tar", since=since, below=beneath))

        debian.build(name, below, self.cache, self.environ, consume)
        return made[0]


def load(api: engine.Api, name: str, layers: list[Layer]) -> Built:
    """Gives the engine an image of these layers, under our tag."""
    machine = platform.machine()
    configuration = archive.config(
        recipe.settings(name), recipe.labels(name), [one.digest for one in layers], machine
    )
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
