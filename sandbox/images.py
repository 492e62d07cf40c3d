"""The images that the Docker backend starts from: which the engine has, and how they come to be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import recipe
from sandbox.places import cache_dir, state_dir
from sandbox.plan.image import Image

NAMES = ("base", "node", "python", "browser")
SCHEMA = 1
Say = Callable[[str], None]


def state_file(environ: Mapping[str, str]) -> str:
    """Where it is written which images were built."""
    return f"{state_dir(environ)}/images.json"


def contents_file(name: str, environ: Mapping[str, str]) -> str:
    """Where the list of an image's contents is kept (CycloneDX 1.5, JSON)."""
    return f"{state_dir(environ)}/images/{name}.sbom.json"


def built(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What was built, by name; nothing where nothing was, or where the file is not ours to read."""
    try:
        with open(state_file(environ), "rb") as opened:
            document = json.load(opened)
        if document["schema"] != SCHEMA:
            return {}
        return {name: one for name, one in document["images"].items() if isinstance(one, dict)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def find(name: str, environ: Mapping[str, str]) -> Image:
    """One of ours, made by this version's recipe; raises where the engine has none, with what builds it."""
    wanted = recipe.recipe(name)
    known = built(environ).get(name, {})
    if known.get("recipe") == wanted:
        return Image(name, str(known["id"]))
    return Image(name, _asked_of_engine(name, wanted, environ))


def _asked_of_engine(name: str, wanted: str, environ: Mapping[str, str]) -> str:
    """The id under the recipe's own tag: somebody else of this machine may have built it."""
    from sandbox import engine

    found = recipe.tag(name)
    api = engine.connect(environ)
    try:
        with engine.failures(engine.endpoint(environ)):
            described = api.inspect_image(found)
    except SandboxNotBuilt as error:
        if isinstance(error.__cause__, engine.NotFound):
            raise missing(name, "is not there, or was made by another version") from None
        raise
    labels = described["Config"].get("Labels") or {}
    if labels.get("io.mcp-sandbox.recipe") != wanted:
        raise missing(name, "was not made by this version's recipe")
    _write_entry(name, {"id": described["Id"], "recipe": wanted, "size": described["Size"]}, environ)
    return str(described["Id"])


def build(names: Sequence[str], environ: Mapping[str, str], say: Say) -> None:
    """Builds images, after those they stand on, and remembers them; one build at a time for a user."""
    import tempfile

    from sandbox import engine
    from sandbox.imaging.build import LOAD_S, Packages

    wanted = dict.fromkeys(one for name in names for one in recipe.chain(name))
    api = engine.connect(environ, timeout=LOAD_S)
    cache = f"{cache_dir(environ)}/images"
    with _alone(environ), tempfile.TemporaryDirectory(prefix="mcp-sandbox-layers-") as place:
        builder = Packages(api, place, cache, environ, say)
        for name in wanted:
            done = builder.build(name)
            _remember(done, environ)
            say(f"{name}: {done.id[7:19]}, {done.size / 1e6:.0f} MB, {done.packages} packages")


@contextmanager
def _alone(environ: Mapping[str, str]) -> Iterator[None]:
    """No other process of this user builds meanwhile; the kernel drops the lock with its holder."""
    import fcntl

    os.makedirs(state_dir(environ), mode=0o700, exist_ok=True)
    fd = os.open(f"{state_dir(environ)}/images.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remember(done: Any, environ: Mapping[str, str]) -> None:
    import time

    entry = {
        "id": done.id,
        "recipe": done.recipe,
        "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "size": done.size,
        "packages": done.packages,
    }
    _write(contents_file(done.name, environ), done.contents)
    _write_entry(done.name, entry, environ)


def _write_entry(name: str, entry: dict[str, Any], environ: Mapping[str, str]) -> None:
    images = {**built(environ), name: entry}
    _write(state_file(environ), json.dumps({"schema": SCHEMA, "images": images}, indent=1).encode())


def _write(path: str, content: bytes) -> None:
    """Whole or not at all, for this user alone."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    staged = f"{path}.{os.getpid()}"
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as opened:
        opened.write(content)
    os.replace(staged, path)


def missing(name: str, why: str) -> SandboxNotBuilt:
    """The error for an image that is not there."""
    return SandboxNotBuilt(
        "image-missing",
        f"the image `{name}` {why}",
        rule="the docker backend starts from an image that this version's recipe made",
        hint=f"mcp-sandbox image build {name}",
    )
