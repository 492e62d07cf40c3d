"""`mcp-sandbox image`: the images that the Docker backend starts from."""

from __future__ import annotations

import argparse
import os

from sandbox.cli.output import note
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
    actions.add_parser("prune", help="remove what older versions left at the engine")
    return built


def main(args: argparse.Namespace) -> int:
    """0 when it was done; every failure is an error with its own status."""
    from sandbox import images

    if args.action == "build":
        images.build(args.names or list(PARENTS), os.environ, note)
    return 0
