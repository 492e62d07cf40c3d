"""The programs of the npm registry that the comparison needs, in versions of our choice, installed once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
WANTED = HERE / "package.json"
QUIET = ("--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts", "--omit=dev")


class Toolchain:
    """Where node, the gateway and the suites are."""

    def __init__(self, place: Path) -> None:
        modules = place / "node_modules"
        self.node = next(modules.glob("node-linux-*/bin/node"))
        self.gateway = modules / "supergateway/dist/index.js"
        self.suites = {
            "0.1.16": modules / "@modelcontextprotocol/conformance/dist/index.js",
            "0.2": modules / "conformance-next/dist/index.js",
        }


def toolchain(cache: Path) -> Toolchain:
    """What `package.json` names, below `cache`; no install script is run."""
    wanted = WANTED.read_bytes()
    place = cache / f"conformance-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not (place / "made").exists():
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(WANTED, place)
        install = ["npm", "install", *QUIET, f"--prefix={place}"]
        subprocess.run(install, check=True, timeout=600, stdout=subprocess.DEVNULL, cwd=place)  # noqa: S603
        (place / "made").touch()
    return Toolchain(place)


def cache_place() -> Path:
    """Where tools are kept for the next run."""
    chosen = os.environ.get("MCP_SANDBOX_TEST_CACHE") or os.environ.get("XDG_CACHE_HOME")
    return Path(chosen or Path.home() / ".cache") / "mcp-sandbox-conformance"
