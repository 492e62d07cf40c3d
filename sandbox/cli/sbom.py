"""`mcp-sandbox sbom`: what a locked server is made of, as a bill of materials."""

from __future__ import annotations

import argparse
import json
import os
from importlib.metadata import version

from sandbox.cli.output import emit
from sandbox.digest import sha256
from sandbox.errors import UsageError
from sandbox.supply import accepted, cyclonedx, spdx
from sandbox.supply.lock import SUFFIX, Lock
from sandbox.supply.lock_text import parse

EPILOG = """examples:
  mcp-sandbox sbom git > git.cdx.json
  mcp-sandbox sbom --format spdx .mcp-sandbox/git.lock > git.spdx.json"""
FORMATS = {"cyclonedx": cyclonedx.document, "spdx": spdx.document}


def parser() -> argparse.ArgumentParser:
    """The arguments of `sbom`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox sbom",
        description="Print what a locked server is made of: every package, its version, hash and origin.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("name", metavar="NAME|PATH", help="an accepted lock, or the path of any")
    what = "CycloneDX 1.6 (default) or SPDX 2.3, as JSON"
    built.add_argument("--format", choices=tuple(FORMATS), default="cyclonedx", help=what)
    return built


def main(args: argparse.Namespace) -> int:
    """0; the same document for the same lock, whenever it is asked for."""
    path = _path(args.name)
    text = accepted.text_of(path)
    lock = parse(text, path)
    document = FORMATS[args.format](lock, _serial(lock, text), version("mcp-sandbox"))
    # Escaped: a package's own words must not drive the terminal.
    emit(json.dumps(document, indent=2))
    return 0


def _path(name: str) -> str:
    if "/" in name or name.endswith(SUFFIX):
        return os.path.abspath(name)
    found = {one.name: path for path, one in accepted.every(os.environ).items() if one.keys}
    if name not in found:
        raise UsageError(
            "no-such-lock", f"no accepted lock is named `{name}`", hint="mcp-sandbox lock --list"
        )
    return found[name]


def _serial(lock: Lock, text: str) -> str:
    """A UUID of the lock's own bytes (RFC 9562, version 8)."""
    digits = sha256(f"{lock.name}\0{text}".encode()).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"
