"""The images that the Docker backend starts from: which the engine has, and how they come to be."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sandbox.errors import SandboxError, SandboxNotBuilt
from sandbox.imaging import own as owned
from sandbox.imaging import recipe
from sandbox.imaging.written import write
from sandbox.places import cache_dir, state_dir
from sandbox.plan.image import Image

if TYPE_CHECKING:
    from sandbox.imaging.prune import Removed

SCHEMA = 1
PRUNE_S = 60.0
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
    if known.get("recipe") == wanted and _same_engine(known, environ):
        return Image(name, str(known["id"]))
    return Image(name, _asked_of_engine(name, wanted, environ))


def _same_engine(known: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Another engine has other images: it is asked when it is the one in use."""
    from sandbox.host.engine import engine

    return "engine" not in known or known["engine"] == engine(environ).endpoint


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
    entry = {"id": described["Id"], "recipe": wanted, "size": described["Size"]}
    with suppress(OSError):  # a memory only; whatever must be written there says that it cannot
        _write_entry(name, {**entry, "engine": engine.endpoint(environ)}, environ)
    return str(described["Id"])


def build(names: Sequence[str], environ: Mapping[str, str], say: Say, source: str = "") -> None:
    """Builds images, after those they stand on, and remembers them; one build at a time for a user.

    `source`: `registry` or `packages`; by itself the registry's Debian where it can be had.
    """
    import tempfile

    from sandbox import engine
    from sandbox.imaging.build import LOAD_S, Packages
    from sandbox.imaging.registry import Registry

    wanted = dict.fromkeys(one for name in names for one in recipe.chain(name))
    api = engine.connect(environ, timeout=LOAD_S)
    cache = f"{cache_dir(environ)}/images"
    with _alone(environ), tempfile.TemporaryDirectory(prefix="mcp-sandbox-layers-") as place:
        packages = source == "packages" or (not source and not _registry_answers(api, say))
        made = Packages(api, place, cache, environ, say) if packages else Registry(api, cache, environ, say)
        for name in wanted:
            done = made.build(name)
            _remember(done, environ)
            say(f"{name}: {done.id[7:19]}, {done.size / 1e6:.0f} MB, {done.packages} packages")


def _registry_answers(api: Any, say: Say) -> bool:
    from sandbox.imaging.registry import debian, reach

    say(f"looking for {debian()}")
    if why := reach(api):
        say(f"it cannot be had ({why}): building from Debian's packages")
    return not why


def listed(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each image that comes with us: `current`, `stale`, `gone` from the engine, or `missing`."""
    there = _ids(environ)
    known = built(environ)
    return [_row(name, known.get(name, {}), there, environ) for name in NAMES]


def _row(
    name: str, one: dict[str, Any], there: set[str] | None, environ: Mapping[str, str]
) -> dict[str, Any]:
    state = "current" if one.get("recipe") == recipe.recipe(name) else "stale"
    if not one:
        state = "missing"
    elif there is not None and one["id"] not in there:
        state = "gone"
    contents = contents_file(name, environ)
    sbom = contents if os.path.exists(contents) else None
    return {"name": name, "tag": recipe.tag(name), "state": state, **one, "sbom": sbom}


def _ids(environ: Mapping[str, str]) -> set[str] | None:
    """The images of ours that the engine has; None where no engine answers."""
    from sandbox import engine

    try:
        api = engine.connect(environ)
        with engine.failures(str(api.base_url)):
            return {one["Id"] for one in api.images(filters={"label": "io.mcp-sandbox.image"})}
    except SandboxError:
        return None


def prune(environ: Mapping[str, str]) -> Removed:
    """Removes older recipes' images and our volumes of packages, but for what a container uses."""
    from sandbox import engine
    from sandbox.imaging.prune import prune as pruned

    # A build of the same recipe by another user of the engine takes the tag away from this user's.
    known = built(environ)
    kept = [one["id"] for name, one in known.items() if one.get("recipe") == _recipe(name)]
    with _alone(environ):
        return pruned(engine.connect(environ, timeout=PRUNE_S), kept)


def _recipe(name: str) -> str:
    return recipe.recipe(name) if name in NAMES else ""


@contextmanager
def _alone(environ: Mapping[str, str], file: str = "images.lock") -> Iterator[None]:
    """No other process of this user does it meanwhile; the kernel drops the lock with its holder."""
    import fcntl

    os.makedirs(state_dir(environ), mode=0o700, exist_ok=True)
    fd = os.open(f"{state_dir(environ)}/{file}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _remember(done: Any, environ: Mapping[str, str]) -> None:
    import time

    from sandbox import engine

    entry = {
        "engine": engine.endpoint(environ),
        "id": done.id,
        "recipe": done.recipe,
        "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "size": done.size,
        "packages": done.packages,
    }
    write(contents_file(done.name, environ), done.contents)
    _write_entry(done.name, entry, environ)


def _write_entry(name: str, entry: dict[str, Any], environ: Mapping[str, str]) -> None:
    with _alone(environ, "images.json.lock"):
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
