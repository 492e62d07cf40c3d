"""`mcp-sandbox run`: the program that an MCP client starts in place of the server (`starting` begins it)."""

from __future__ import annotations

import os
import sys

from sandbox.cli import fronting, options, starting
from sandbox.cli.arguments import argparse
from sandbox.errors import UsageError

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from contextlib import ExitStack
    from typing import NoReturn

    from sandbox.backend.docker.launch import Early
    from sandbox.prepared import Prepared


class _Parser(argparse.ArgumentParser):
    """Tells a client, too, which option it is that does not exist."""

    def error(self, message: str) -> NoReturn:
        if sys.stderr is not None and sys.stderr.isatty():
            super().error(message)
        raise UsageError("unknown-option", message, hint="mcp-sandbox run --help")


def parser() -> argparse.ArgumentParser:
    """The options of `run`."""
    built = _Parser(
        prog="mcp-sandbox run",
        usage="mcp-sandbox run [options] -- COMMAND [ARGUMENT…]\n"
        "       mcp-sandbox run [options] URL | FILE.mcpb | server.json | --profile NAME",
        description="Starts an MCP server in its sandbox and relays stdin and stdout.",
        epilog="example: mcp-sandbox run --allow-read . -- npx -y @modelcontextprotocol/server-filesystem .",
        formatter_class=options.Help,
    )
    options.add(built)
    fronting.add_listen(built)
    return built


def main(args: argparse.Namespace) -> int:
    """Prepares in this process, starts and relays; returns the server's status or one of ours."""
    if args.listen is not None:
        from sandbox.cli.serve import listen

        return listen(parser(), args)
    fronting.require_listen(args)

    def early(stack: ExitStack) -> Early | None:
        return _early(stack) if args.backend == "docker" else None

    return starting.prepared_here(lambda: _prepared(args), early, bool(args.verbose))


def _prepared(args: argparse.Namespace) -> Prepared:
    from sandbox.prepare import prepare

    wish = options.wish(args, dict(os.environ), os.getcwd())
    return prepare(wish, starting.telling(quiet=args.quiet))


def _early(stack: ExitStack) -> Early:
    """A docker keeper, as it is known that one is wanted: it gets ready while we plan."""
    from sandbox.backend.docker.launch import Early

    early = Early(dict(os.environ))
    stack.callback(early.close)
    return early
