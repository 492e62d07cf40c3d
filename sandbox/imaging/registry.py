"""Images by their Dockerfiles, upon the Debian that a registry has under the pinned digest."""

from __future__ import annotations

import io
import os
import platform
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox import engine
from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import fetch, recipe
from sandbox.imaging.build import Built, Say, described


def debian() -> str:
    """The pinned image of Debian's, as base's Dockerfile names it."""
    return recipe.instruction(recipe.text("base", "Dockerfile"), "ARG DEBIAN=")


def reach(api: engine.Api) -> str:
    """Nothing where the pinned Debian is at the engine now, pulled if need be; else why it cannot be had."""
    try:
        api.inspect_image(debian())
        return ""
    except engine.Failed:
        pass  # it is not there yet
    try:
        for message in api.pull(debian(), stream=True, decode=True):
            if "error" in message:
                return str(message["error"])
    except engine.Failed as error:
        return engine.failure(error, str(api.base_url)).what
    return ""


class Registry:
    """Builds images at the engine, each from its Dockerfile and the image that its parent became."""

    def __init__(
        self, api: engine.Api, cache: str, environ: Mapping[str, str], say: Say, upon: str = ""
    ) -> None:
        self.api, self.cache, self.environ, self.say = api, cache, environ, say
        self.upon = upon or debian()

    def build(self, name: str) -> Built:
        """The image, whose parent was built before."""
        self.say(f"{name}: building its Dockerfile upon {recipe.PARENTS[name] or self.upon}")
        with engine.failures(str(self.api.base_url)):
            self._build(name)
            return described(self.api, name, recipe.tag(name))

    def _build(self, name: str) -> None:
        parent = recipe.PARENTS[name]
        answers = self.api.build(
            fileobj=io.BytesIO(context(name, f"{self.cache}/downloads", self.environ)),
            custom_context=True,
            buildargs={"BASE": recipe.tag(parent)} if parent else {"DEBIAN": self.upon},
            labels={**recipe.labels(name), "org.opencontainers.image.base.name": self.upon},
            tag=recipe.tag(name),
            network_mode="host",  # of the engine's machine: its own way to the mirrors
            forcerm=True,
            decode=True,
        )
        for line in steps(answers, name):
            self.say(f"{name}: {line}")


def steps(messages: Iterable[Mapping[str, Any]], name: str) -> Iterator[str]:
    """The steps of a build as they begin; raises what failed, with the last words of what ran."""
    last: list[str] = []
    for message in messages:
        said = str(message.get("stream", "")).strip()
        if said.startswith("Step "):
            yield said.splitlines()[0]
        elif said:
            last = [*last[-19:], said]
        if "error" in message:
            what = "\n".join([f"the Dockerfile of `{name}` failed: {message['error']}", *last])
            hint = f"mcp-sandbox image build {name} --from packages"
            raise SandboxNotBuilt("image-not-built", what, hint=hint)


def context(name: str, downloads: str, environ: Mapping[str, str]) -> bytes:
    """What the engine gets to build from: the recipe, and what npm and PyPI hold of it."""
    files = {file: recipe.text("", file).encode() for file in recipe.SHARED}
    files |= {file: recipe.text(name, file).encode() for file in ("Dockerfile", "packages")}
    files["files.tar"] = fetch.bundle(name, platform.machine(), downloads, environ)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(os.path.basename(path))
            entry.size, entry.mtime = len(content), recipe.EPOCH
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()
