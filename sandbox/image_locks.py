"""Locked images: as the engine has them now, as a container would get them, and who signed them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sandbox.errors import SandboxNotBuilt
from sandbox.plan.image import Image
from sandbox.supply import oci
from sandbox.supply.lock import ImageLock

RULE = "a locked server starts only from the very image that was locked"
DEEP_S = 600.0
"""How long an engine may take over one piece of an image that it gives out."""
_CHUNK = 1 << 20
_NEVER_STARTED = ["true"]


def of(image: Image, environ: Mapping[str, str]) -> ImageLock:
    """What the engine says of the image: the record that a lock keeps."""
    from sandbox import engine

    api = engine.connect(environ)
    with engine.failures(engine.endpoint(environ)):
        found = api.inspect_image(image.id)
    try:
        return oci.image_lock(image.name, found)
    except oci.NoImage as error:
        raise SandboxNotBuilt("no-image", f"the engine's answer about `{image.name}`: {error}") from error


def check(locked: ImageLock, image: Image, environ: Mapping[str, str], name: str = "") -> None:
    """The image that is about to start is that of the lock `name`, else `image-changed` naming the layer.

    Equal ids need no question: an id is the hash of what lists every layer's hash, and the engine starts
    by id. What lies on the engine's own disk is `deep`'s to look at.
    """
    if image.id == locked.id:
        return
    how = oci.difference(locked, of(image, environ))
    if how:
        raise _changed(f"the image `{image.name}` is not the locked one: {how}", f"mcp-sandbox update {name}")


def _changed(what: str, hint: str = "pull or build the image again") -> SandboxNotBuilt:
    return SandboxNotBuilt("image-changed", what, rule=RULE, hint=hint.rstrip())


def deep(locked: ImageLock, environ: Mapping[str, str]) -> None:
    """Every layer has the bytes that were locked, and a container gets them and nothing else.

    The engine gives out both; a layer that was changed on its disk, a file that was put beside it and a
    mode that was set there differ from the hashes in the lock. Reads the whole image.
    """
    from sandbox import engine
    from sandbox.supply import oci_archive, oci_files

    api = engine.connect(environ, timeout=DEEP_S)
    with engine.failures(engine.endpoint(environ)):
        found = oci.image_lock(locked.name, api.inspect_image(locked.id))
    _same(locked, found, "by the engine's word")
    saved = oci_archive.saved(_pieces(locked, lambda: api.get_image(locked.id, chunk_size=_CHUNK)))
    given = locked.id if locked.id in saved.ids else min(saved.ids)
    layers = tuple(digest for digest, _ in saved.layers)
    _same(locked, ImageLock(locked.name, given, locked.digest, layers), "as the engine gives it out")
    image = oci_files.stacked(entries for _, entries in saved.layers)
    with _container(api, locked.id) as name:
        real = oci_archive.exported(_pieces(locked, lambda: api.export(name, chunk_size=_CHUNK)))
    difference = next(oci_files.differences(image, oci_files.container_tree(real)), None)
    if difference is not None:
        path, how = difference
        raise _changed(f"the image `{locked.name}` was changed on the engine's disk: `/{_shown(path)}` {how}")


def _same(locked: ImageLock, found: ImageLock, where: str) -> None:
    if how := oci.difference(locked, found):
        raise _changed(f"the image `{locked.name}`, {where}, is not the locked one: {how}")


def _pieces(locked: ImageLock, ask: Any) -> Iterator[bytes]:
    """The stream of one answer; an engine that finds its own layers changed gives out no more of them."""
    from sandbox import engine

    try:
        yield from ask()
    except engine.Failed as error:
        why = engine.failure(error, "this machine").what
        raise _changed(f"the engine cannot give out the image `{locked.name}`: {why}") from error


@contextmanager
def _container(api: Any, image: str) -> Iterator[str]:
    """A container that is made to be read, never started, and removed."""
    from sandbox import containers, engine

    session = f"look-{os.getpid()}-{os.urandom(4).hex()}"
    name, labels = containers.server_name(session), dict(containers.labels(session, "look"))
    with engine.failures(str(api.base_url)):
        host = api.create_host_config(network_mode="none")
        made = api.create_container(
            image, command=_NEVER_STARTED, entrypoint=[], name=name, labels=labels, host_config=host
        )
    try:
        yield made["Id"]
    finally:
        with engine.failures(str(api.base_url)):
            api.remove_container(made["Id"], force=True, v=True)


def _shown(path: str) -> str:
    from sandbox.supply.manifest import shown

    return shown(os.fsencode(path))
