"""`mcp-sandbox run`: the program that an MCP client starts in place of the server."""

from __future__ import annotations

import argparse
import os

from sandbox.cli import options
from sandbox.cli.output import note


def parser() -> argparse.ArgumentParser:
    """The options of `run`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox run",
        usage="mcp-sandbox run [options] -- COMMAND [ARGUMENT…]\n       mcp-sandbox run --profile NAME",
        description="Starts an MCP server in its sandbox and relays stdin and stdout.",
        epilog="example: mcp-sandbox run --allow-read . -- npx -y @modelcontextprotocol/server-filesystem .",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add(built)
    return built


def main(args: argparse.Namespace) -> int:
    """Prepares, starts and relays; returns the server's status or one of ours."""
    from sandbox.prepare import prepare
    from sandbox.session import run

    quiet = bool(args.quiet)

    def tell(text: str) -> None:
        if not quiet:
            note(text)

    wish = options.wish(args, dict(os.environ), os.getcwd())
    return run(prepare(wish, lambda text: tell(f"mcp-sandbox: {text}")), note)
