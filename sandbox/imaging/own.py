"""An image of the profile's own: pinned by digest, pulled where the engine lacks it, and what it brings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sandbox.errors import CannotEnforce, ProfileError, SandboxNotBuilt
from sandbox.imaging.written import write
from sandbox.places import cache_dir
from sandbox.plan.image import Image
from sandbox.records import names

PULL_S = 300.0
_KEPT = 200
_DIGEST = re.compile(r".+@sha256:[0-9a-f]{64}", re.ASCII)
_ID = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
Say = Callable[[str], None]


def pinned(reference: str) -> bool:
    """True for what names one image for ever: a digest, or an engine's own id."""
    return bool(_DIGEST.fullmatch(reference) or _ID.fullmatch(reference))


def check(reference: str, *, unpinned: bool) -> None:
    """Refuses a name that its owner can move to another image, unless the profile waives that."""
    if pinned(reference) or unpinned:
        return
    raise ProfileError(
        "image-not-pinned",
        f"`{reference}` is whatever its owner last gave that name",
        rule="`server.image` names an image by digest, unless `server.unpinned = true` waives that",
        hint=f"docker image inspect --format '{{{{index .RepoDigests 0}}}}' {reference}",
    )


def own(reference: str, where: str, environ: Mapping[str, str], say: Say, *, unpinned: bool) -> Image:
    """The image at the engine `where`, pulled if it is not there; what is pinned is inspected once."""
    check(reference, unpinned=unpinned)
    kept = _kept(environ)
    if pinned(reference) and (found := _read(kept.get(f"{where} {reference}"))):
        return found
    from sandbox import engine  # the SDK: off the warm path

    image = inspected(engine.connect(environ, timeout=PULL_S), reference, say)
    if pinned(reference):
        _keep(
            {**kept, f"{where} {reference}": {name: getattr(image, name) for name in names(image)}}, environ
        )
    return image


def inspected(api: Any, reference: str, say: Say) -> Image:
    """What the engine says of the image, after a pull where it does not know it."""
    from sandbox import engine

    with engine.failures(str(api.base_url)):
        try:
            found = api.inspect_image(reference)
        except engine.NotFound:
            _pull(api, reference, say)
            found = api.inspect_image(reference)
    return image_of(reference, found)


def image_of(reference: str, found: Mapping[str, Any]) -> Image:
    """The facts of an inspection that a container depends on."""
    if found.get("Os", "linux") != "linux":
        raise CannotEnforce("image-not-linux", f"`{reference}` is an image for {found['Os']}")
    config = found.get("Config") or {}
    return Image(
        name=reference,
        id=found["Id"],
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        env=tuple(_variable(text) for text in config.get("Env") or ()),
        user=config.get("User") or "",
        cwd=config.get("WorkingDir") or "",
        volumes=tuple(sorted(config.get("Volumes") or ())),
        own=True,
    )


def _variable(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _pull(api: Any, reference: str, say: Say) -> None:
    if _ID.fullmatch(reference):
        raise SandboxNotBuilt(
            "image-missing", f"the engine has no image `{reference}`", hint="docker image ls"
        )
    say(f"pulling {reference}")
    for line in progress(api.pull(reference, stream=True, decode=True), reference):
        say(line)


def progress(messages: Iterable[Mapping[str, Any]], reference: str) -> Iterable[str]:
    """A line for each layer that is there; raises what the registry or the engine says went wrong."""
    for message in messages:
        if "error" in message:
            raise SandboxNotBuilt(
                "image-not-pulled",
                f"`{reference}` cannot be pulled: {message['error']}",
                hint=f"docker pull {reference}",
            )
        if message.get("status") == "Pull complete":
            yield f"pulling {reference}: layer {message.get('id', '')}"


# --- remembered -------------------------------------------------------------------------------------


def _file(environ: Mapping[str, str]) -> str:
    return f"{cache_dir(environ)}/images/inspected.json"


def _kept(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        with open(_file(environ), "rb") as opened:
            kept = json.load(opened)
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _read(raw: object) -> Image | None:
    """An image as it was written; anything else was never inspected."""
    try:
        if not isinstance(raw, dict):
            return None
        lists: dict[str, Any] = {name: tuple(raw.pop(name)) for name in ("entrypoint", "command", "volumes")}
        env = tuple((str(name), str(value)) for name, value in raw.pop("env"))
        return Image(env=env, **lists, **raw)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _keep(images: dict[str, Any], environ: Mapping[str, str]) -> None:
    latest = dict(list(images.items())[-_KEPT:])
    write(_file(environ), json.dumps(latest).encode())


def forget(reference: str, environ: Mapping[str, str]) -> None:
    """The engine lost the image: the next start asks again."""
    kept = _kept(environ)
    left = {key: one for key, one in kept.items() if not key.endswith(f" {reference}")}
    if left != kept:
        _keep(left, environ)
