"""The images that the Docker backend starts from: which the engine has, and how they come to be."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sandbox.errors import SandboxNotBuilt
from sandbox.imaging import own as owned
from sandbox.imaging import recipe
from sandbox.imaging.written import write
from sandbox.places import cache_dir, state_dir
from sandbox.plan.image import Image

SCHEMA = 1
NAMES = tuple(recipe.PARENTS)
Say = Callable[[str], None]


def _note(text: str) -> None:
    """Stdout is MCP's: progress goes to stderr, as the backend of a build's does."""
    sys.stderr.write(f"mcp-sandbox: {text}\n")


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
    write(contents_file(done.name, environ), done.contents)
    _write_entry(done.name, entry, environ)


def _write_entry(name: str, entry: dict[str, Any], environ: Mapping[str, str]) -> None:
    images = {**built(environ), name: entry}
    write(state_file(environ), json.dumps({"schema": SCHEMA, "images": images}, indent=1).encode())


def own(reference: str, environ: Mapping[str, str], *, unpinned: bool = False, say: Say = _note) -> Image:
    """The profile's own image: pinned by digest unless waived, and pulled where the engine lacks it."""
    from sandbox.host.engine import engine

    owned.check(reference, unpinned=unpinned)
    return owned.own(reference, engine(environ).endpoint, environ, say, unpinned=unpinned)


def missing(name: str, why: str) -> SandboxNotBuilt:
    """The error for an image of ours that is not there."""
    return SandboxNotBuilt(
        "image-missing",
        f"the image `{name}` {why}",
        rule="the docker backend starts from an image that this version's recipe made",
        hint=f"mcp-sandbox image build {name}",
    )
