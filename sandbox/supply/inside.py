"""The programs of the images that come with us: a package built for one asks nothing of the host's."""

from __future__ import annotations

from sandbox.errors import CannotEnforce
from sandbox.plan.facts import Engine
from sandbox.plan.image import Image
from sandbox.supply.request import Request

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.supply.programs import Interpreter

NODE = "/usr/local/bin/node"
NPM = "/usr/local/lib/node_modules/npm/bin/npm-cli.js"
PYTHON = "/usr/bin/python3"
UV = "/usr/local/bin/uv"

NAMES = ("base", "node", "python", "browser")
HAVE = {"npm": ("node", "browser"), "pypi": ("python",)}


def refuse_without_tools(image: str, request: Request) -> None:
    """A package can be built only in an image of ours that has its package manager."""
    able = HAVE[request.ecosystem]
    if image in able:
        return
    kind = "an image without its package manager" if image in NAMES else "the profile's own image"
    names = " or ".join(f"`{name}`" for name in able)
    raise CannotEnforce(
        "package-in-this-image",
        f"{request.title} would have to be built in `{image}`, which is {kind}",
        rule="[server] image",
        hint=f"leave `image` out, or name {names}; with an image of your own, name a program that it holds",
    )


def refuse_far(engine: Engine) -> None:
    """The store is a directory of this machine, which an engine on another cannot mount."""
    if engine.place == "remote":
        raise CannotEnforce(
            "cannot-enforce",
            f"the package store is on this machine, and the engine at {engine.endpoint} is on another",
            rule="a package runs from a store of the caller's own",
            hint="use an engine of this machine, or an image that holds the server: `[server] image`",
        )


def interpreter(image: Image, request: Request) -> Interpreter:
    """The image's node or python; what a tree was built for is known by the image's id."""
    from sandbox.supply.programs import Interpreter  # with what asks the host's, for a build alone

    return Interpreter(NODE if request.ecosystem == "npm" else PYTHON, "", image.id)
