"""What an image is made of: its recipe's files, its parents', and the hash that tells recipes apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from sandbox.digest import sha256
from sandbox.errors import UsageError
from sandbox.records import dataclass

PARENTS = {"base": "", "python": "base", "node": "base", "browser": "node"}
"""The images that come with us, each after the one it stands on."""
SHARED = ("finish", "sbom")
OWN = ("Dockerfile", "packages", "downloads")
SUITE = "bookworm"
EPOCH = 1767225600
"""2026-01-01: the moment of all that a build itself writes, so that two builds give the same bytes."""
FORMAT = 1
"""Raised when the builder changes what the same recipe yields."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file of a package registry other than Debian's, by its hash."""

    registry: str
    name: str
    version: str
    machine: str
    integrity: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How an image starts what it is told to: as whom, where, with which variables."""

    user: str
    folder: str
    env: tuple[str, ...]


def folder() -> str:
    """The directory of the recipes that come with us, installed or in the source tree."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    installed = os.path.join(package, "data", "images")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "images")


def known(name: str) -> str:
    """`name`, if it is an image of ours."""
    if name in PARENTS:
        return name
    hint = f"one of {', '.join(PARENTS)}"
    raise UsageError("unknown-image", f"`{name}` is no image that comes with mcp-sandbox", hint=hint)


def chain(name: str) -> tuple[str, ...]:
    """The image and all it stands on, the lowest first."""
    parent = PARENTS[known(name)]
    return (*chain(parent), name) if parent else (name,)


def text(name: str, file: str) -> str:
    """One file of a recipe; empty where the recipe has none of that name."""
    try:
        with open(os.path.join(folder(), name, file), encoding="utf-8") as opened:
            return opened.read()
    except FileNotFoundError:
        return ""


def recipe(name: str) -> str:
    """The SHA-256 over everything that decides what the image holds, but the packages' own versions."""
    parts = [str(FORMAT), SUITE, str(EPOCH), *(text("", file) for file in SHARED)]
    parts += [text(one, file) for one in chain(name) for file in OWN]
    parts += [written for one in chain(name) if (written := text(one, "links"))]
    return sha256("\0".join(parts).encode()).hexdigest()


def tag(name: str) -> str:
    """What the image of today's recipe is called at the engine."""
    return f"mcp-sandbox/{name}:{recipe(name)[:12]}"


def labels(name: str) -> dict[str, str]:
    """By what an image of ours is found, and what it says to those who did not make it."""
    return {
        "io.mcp-sandbox.image": name,
        "io.mcp-sandbox.recipe": recipe(name),
        "org.opencontainers.image.title": f"mcp-sandbox/{name}",
        "org.opencontainers.image.description": f"where mcp-sandbox runs MCP servers ({name})",
    }


def lines(content: str) -> Iterator[str]:
    """The lines that are neither empty nor a comment."""
    yield from (line.strip() for line in content.splitlines() if line.strip() and line[0] != "#")


def packages(name: str) -> tuple[str, ...]:
    """The Debian packages that the image itself, not its parents, asks for."""
    return tuple(sorted(lines(text(name, "packages"))))


def downloads(name: str, machine: str) -> tuple[Download, ...]:
    """What the image itself, not its parents, takes from elsewhere for `machine`."""
    found = [Download(*line.split()) for line in lines(text(name, "downloads"))]
    return tuple(one for one in found if one.machine in (machine, "any"))


def links(name: str) -> tuple[tuple[str, str], ...]:
    """The symbolic links that the image itself adds: where, and where to."""
    found = (line.split() for line in lines(text(name, "links")))
    return tuple((place, target) for place, target in found)


def instruction(dockerfile: str, start: str) -> str:
    """What follows the last line that starts so; empty where none does."""
    found = re.findall(f"^{re.escape(start)}(.*)$", dockerfile, re.MULTILINE)
    return found[-1].strip() if found else ""


def settings(name: str) -> Settings:
    """What the Dockerfiles of the chain say, the last word counting."""
    whole = "\n".join(text(one, "Dockerfile") for one in chain(name))
    env = tuple(line.removeprefix("ENV ") for line in lines(whole) if line.startswith("ENV "))
    return Settings(instruction(whole, "USER "), instruction(whole, "WORKDIR "), env)
