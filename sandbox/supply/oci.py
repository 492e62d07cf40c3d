"""An image as a lock knows it: what an engine says of it, and where two such answers differ (no I/O)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sandbox.supply.lock import ImageLock

MOST_LAYERS = 512
"""Engines take 127; an answer with more is no image's."""
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class NoImage(ValueError):
    """An answer that describes no image that could be locked."""


def image_lock(name: str, found: Mapping[str, Any]) -> ImageLock:
    """The image that an engine's inspection describes; raises NoImage where it names no content."""
    layers = _mapping(found.get("RootFS")).get("Layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= MOST_LAYERS:
        raise NoImage("it lists no layers")
    return ImageLock(
        name=name,
        id=_hash(found.get("Id"), "id"),
        digest=registry_digest(name, found.get("RepoDigests")),
        layers=tuple(_hash(one, "layer") for one in layers),
    )


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _hash(found: object, what: str) -> str:
    if not isinstance(found, str) or not _SHA256.fullmatch(found):
        raise NoImage(f"its {what} is no SHA-256")
    return found


def registry_digest(name: str, known: object) -> str:
    """The manifest's digest at the registry that `name` is of; empty where the engine knows none."""
    wanted = repository(name)
    named = name.partition("@")[2]
    pairs = [one.partition("@") for one in known if isinstance(one, str)] if isinstance(known, list) else []
    found = [
        digest for place, _, digest in pairs if repository(place) == wanted and _SHA256.fullmatch(digest)
    ]
    return named if named in found else (found[0] if found else "")


def repository(name: str) -> str:
    """The repository of an image's name, as the engine shortens it: without tag, digest, default registry."""
    place = name.partition("@")[0]
    head, slash, last = place.rpartition("/")
    whole = head + slash + last.partition(":")[0]
    for usual in ("index.docker.io/", "docker.io/", "library/"):
        whole = whole.removeprefix(usual)
    return whole


def difference(locked: ImageLock, found: ImageLock) -> str:
    """Where an image is not the locked one, naming the first layer; empty where it is the very same."""
    pairs = zip(locked.layers, found.layers, strict=False)
    for number, (was, now) in enumerate(pairs, 1):
        if was != now:
            return f"layer {number} is `{now}`, not `{was}`"
    if len(locked.layers) != len(found.layers):
        return f"it has {len(found.layers)} layers, not {len(locked.layers)}"
    if locked.id != found.id:
        return f"its configuration is `{found.id}`, not `{locked.id}`; its layers are the same"
    return ""
