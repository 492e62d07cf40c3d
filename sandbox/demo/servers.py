"""Which real server the demo starts: npm's file server, else PyPI's clock, else the tiny one of our own."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.records import dataclass, field

SERVER_FILE = Path(__file__).with_name("tiny_server.py")
HELLO = "hello.txt"


@dataclass(frozen=True, slots=True)
class Server:
    """A server the demo can start, and a call of it that must work."""

    title: str
    command: tuple[str, ...]
    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    expect: str = ""
    """What the answer must hold: for a file server, what only the file can tell it."""
    config: tuple[str, ...] = ()
    """Arguments of `mcp-sandbox` for a client's config, with a place of the user's own in them."""


def candidates(directory: str, secret: str, environ: Mapping[str, str]) -> list[Server]:
    """The server to start and, where that one must be fetched first, what to fall back to."""
    search = environ.get("PATH", os.defpath)
    found: list[Server] = []
    if shutil.which("node", path=search) and shutil.which("npx", path=search):
        found.append(npm_files(directory, secret))
    elif uvx := shutil.which("uvx", path=search) or _beside("uvx"):
        found.append(pypi_time(uvx))
    return [*found, tiny(directory, secret)]


def _beside(program: str) -> str | None:
    # The extra `uv` puts it into our own environment, whose bin directory need not be on PATH.
    path = os.path.join(os.path.dirname(sys.executable), program)
    return path if os.access(path, os.X_OK) else None


def npm_files(directory: str, secret: str) -> Server:
    """The reference file server, by npx."""
    command = ("npx", "-y", "@modelcontextprotocol/server-filesystem")
    return Server(
        "@modelcontextprotocol/server-filesystem, from npm",
        (*command, directory),
        "read_text_file",
        {"path": f"{directory}/{HELLO}"},
        secret,
        ("run", "--allow-read", "/your/project", "--", *command, "/your/project"),
    )


def pypi_time(uvx: str) -> Server:
    """The reference time server, by uvx."""
    command = (uvx, "mcp-server-time")
    return Server(
        "mcp-server-time, from PyPI",
        command,
        "get_current_time",
        {"timezone": "Etc/UTC"},
        "UTC",
        ("run", "--", "uvx", "mcp-server-time"),
    )


def tiny(directory: str, secret: str) -> Server:
    """Our own, copied into the demo's directory: needs nothing that is not here already."""
    copied = shutil.copy(SERVER_FILE, directory)
    return Server(
        "a tiny file server of our own, in Python",
        (sys.executable, "-I", copied, directory),
        "read_text_file",
        {"path": HELLO},
        secret,
        ("run", "--allow-read", "/your/project", "--", "python3", "server.py", "/your/project"),
    )
