"""The programs of the images that come with us: a package built for one asks nothing of the host's."""

from __future__ import annotations

from sandbox.errors import CannotEnforce
from sandbox.plan.image import Image
from sandbox.supply.programs import Interpreter
from sandbox.supply.request import Request

NODE = "/usr/local/bin/node"
NPM = "/usr/local/lib/node_modules/npm/bin/npm-cli.js"
PYTHON = "/usr/bin/python3"
UV = "/usr/local/bin/uv"

_HAVE = {"npm": ("node", "browser"), "pypi": ("python",)}


def refuse_without_tools(image: Image, request: Request) -> None:
    """A package can be built only in an image of ours that has its package manager."""
    able = _HAVE[request.ecosystem]
    if not image.own and image.name in able:
        return
    kind = "the profile's own image" if image.own else "an image without its package manager"
    names = " or ".join(f"`{name}`" for name in able)
    raise CannotEnforce(
        "package-in-this-image",
        f"{request.title} would have to be built in `{image.name}`, which is {kind}",
        rule="[server] image",
        hint=f"leave `image` out, or name {names}; with an image of your own, name a program that it holds",
    )


def interpreter(image: Image, request: Request) -> Interpreter:
    """The image's node or python; what a tree was built for is known by the image's id."""
    return Interpreter(NODE if request.ecosystem == "npm" else PYTHON, "", image.id)
