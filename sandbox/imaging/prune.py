"""What of ours at the engine nothing needs any more: images of older recipes, volumes of packages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sandbox import engine
from sandbox.imaging import recipe
from sandbox.records import dataclass

IMAGE = "io.mcp-sandbox.image"
PACKAGES = "io.mcp-sandbox.role=packages"


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, by name, and the bytes of the images."""

    images: tuple[str, ...]
    volumes: tuple[str, ...]
    bytes: int


def stale(images: Sequence[Mapping[str, Any]], used: Iterable[str]) -> list[str]:
    """The ids of our images that no container uses and that are not what today's recipe made last."""
    busy = set(used)
    return [one["Id"] for one in images if one["Id"] not in busy and not _current(one) and _label(one, IMAGE)]


def _current(image: Mapping[str, Any]) -> bool:
    """An image that has lost its tag to a newer build of the same recipe is no longer the current one."""
    name = _label(image, IMAGE)
    return name in recipe.PARENTS and recipe.tag(name) in (image.get("RepoTags") or ())


def _label(image: Mapping[str, Any], label: str) -> str:
    return str((image.get("Labels") or {}).get(label, ""))


def prune(api: engine.Api, kept: Iterable[str] = ()) -> Removed:
    """Removes them; what a container uses or the caller has `kept` stays, and what the engine holds back."""
    with engine.failures(str(api.base_url)):
        images = api.images(all=False, filters={"label": IMAGE})
        used = [*kept, *(one["ImageID"] for one in api.containers(all=True))]
        sizes = {one["Id"]: int(one["Size"]) for one in images}
        gone = [image for image in stale(images, used) if _removed(api.remove_image, image)]
        volumes = api.volumes(filters={"label": PACKAGES})["Volumes"] or []
        names = [one["Name"] for one in volumes]
        left = [name for name in names if _removed(api.remove_volume, name)]
    return Removed(tuple(gone), tuple(left), sum(sizes[image] for image in gone))


def _removed(remove: Any, name: str) -> bool:
    """False for what is in use, which the engine refuses to remove."""
    try:
        remove(name)
    except engine.Conflict:
        return False
    return True
