"""`mcp-sandbox image`: the images that the Docker backend starts from."""

from __future__ import annotations

import argparse
import os
from typing import Any

from sandbox import images
from sandbox.cli.output import document, emit, note
from sandbox.imaging.recipe import PARENTS

EPILOG = """examples:
  mcp-sandbox image build
  mcp-sandbox image build node --from packages
  mcp-sandbox image list --json"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `image`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox image",
        description="Build, list and remove the images that the Docker backend starts from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = built.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build images at the engine")
    build.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all: {' '.join(PARENTS)})")
    build.add_argument(
        "--from",
        dest="source",
        choices=("registry", "packages"),
        help="upon a registry's Debian, or from Debian's packages alone (registry unless none answers)",
    )
    listed = actions.add_parser("list", help="show which images there are")
    listed.add_argument("--json", action="store_true", help="one JSON document")
    actions.add_parser("prune", help="remove what other versions left at the engine, whoever built it")
    return built


def main(args: argparse.Namespace) -> int:
    """0 when it was done; every failure is an error with its own status."""
    return {"build": _build, "list": _list, "prune": _prune}[args.action](args)


def _build(args: argparse.Namespace) -> int:
    images.build(args.names or list(images.NAMES), os.environ, note, args.source or "")
    return 0


def _list(args: argparse.Namespace) -> int:
    rows = images.listed(os.environ)
    if args.json:
        document({"images": rows})
        return 0
    for row in rows:
        emit(_line(row))
    return 0


def _line(row: dict[str, Any]) -> str:
    start = f"{row['name']:<8} {row['state']:<8}"
    if "id" not in row:
        return f"{start} mcp-sandbox image build {row['name']}"
    size, packages, built = row.get("size", 0) // 1_000_000, row.get("packages", "?"), row.get("built", "")
    return f"{start} {row['id'][7:19]}  {size:>5} MB  {packages:>4} packages  {built}".rstrip()


def _prune(args: argparse.Namespace) -> int:
    gone = images.prune(os.environ)
    for name in (*gone.images, *gone.volumes):
        emit(f"removed {name}")
    emit(f"{len(gone.images)} images, {gone.bytes // 1_000_000} MB, and {len(gone.volumes)} volumes")
    return 0
