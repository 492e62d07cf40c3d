"""Under which name a request is remembered: what it asks for, of which registry, for which interpreter."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from sandbox.digest import sha256
from sandbox.plan.image import Image
from sandbox.supply.request import Request

SCHEMA = 1

# Compared in lower case, as npm does; a scope's registry (`npm_config_@scope:registry`) counts too.
_NPM_CHOICE = frozenset(["npm_config_registry"])
_UV_CHOICE = frozenset("uv_index uv_default_index uv_index_url uv_extra_index_url uv_find_links".split())
_PIP_CHOICE = frozenset("pip_index_url pip_extra_index_url pip_find_links".split())


def which(name: str, environ: Mapping[str, str], *, beside: str = "") -> str | None:
    """The program on PATH, else beside the runner that was given by its path."""
    for place in _places(environ, beside):
        path = os.path.join(place, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _places(environ: Mapping[str, str], beside: str) -> Iterator[str]:
    # A relative entry of PATH would let the working directory choose what builds.
    yield from (place for place in environ.get("PATH", os.defpath).split(":") if place.startswith("/"))
    if beside.startswith("/"):
        yield os.path.dirname(beside)


def uv_path(runner: str, environ: Mapping[str, str]) -> str | None:
    """The uv program itself: on PATH, beside the runner, or of the `uv` distribution installed with us.

    A version switcher's shim is a script that needs the switcher's home, which no build sees.
    """
    for place in (*_places(environ, runner), os.path.dirname(sys.executable)):
        path = os.path.join(place, "uv")
        if os.access(path, os.X_OK) and _is_native(path):
            return path
    return None


def _is_native(path: str) -> bool:
    try:
        with open(path, "rb") as opened:
            return opened.read(4) == b"\x7fELF"
    except OSError:
        return False


def wanted_python(request: Request, environ: Mapping[str, str]) -> str | None:
    """The python asked for, by option or by uv's own variable."""
    return request.python or environ.get("UV_PYTHON") or None


def _choice(request: Request, environ: Mapping[str, str], image: Image | None) -> frozenset[str]:
    """The variables that the program which will build listens to; uv ignores pip's."""
    if request.ecosystem == "npm":
        return _NPM_CHOICE
    return _UV_CHOICE if image or uv_path(request.runner, environ) else _PIP_CHOICE


def _registries(request: Request, environ: Mapping[str, str], image: Image | None) -> list[tuple[str, str]]:
    """The variables that say which registry is asked: another registry may hold another package."""
    heard = _choice(request, environ, image)
    scoped = request.ecosystem == "npm"
    return sorted(
        (name, value)
        for name, value in environ.items()
        if (small := name.lower()) in heard or (scoped and small.startswith("npm_config_@"))
    )


def _interpreter(request: Request, environ: Mapping[str, str], image: Image | None) -> str | None:
    """Which one was asked for. The image goes by its name: one that was built anew keeps the versions."""
    if image is not None:
        return f"image {image.name} {request.python or ''}"
    if request.ecosystem == "npm":
        return which("node", environ, beside=request.runner)
    return wanted_python(request, environ)


def key_of(
    request: Request, environ: Mapping[str, str], scripts: Sequence[str], image: Image | None = None
) -> str:
    """A name that says nothing of its contents: an index URL may hold a password."""
    interpreter = _interpreter(request, environ, image)
    machine = os.uname().machine
    asked = (request.ecosystem, request.specs, request.options, sorted(scripts))
    whole = json.dumps([SCHEMA, *asked, interpreter, machine, _registries(request, environ, image)])
    return sha256(whole.encode()).hexdigest()[:40]


def place_of(request: Request, environ: Mapping[str, str], image: Image | None = None) -> str:
    """Which interpreter of which machine is asked for, whatever packages are."""
    return f"{os.uname().machine} {_interpreter(request, environ, image) or ''}"
