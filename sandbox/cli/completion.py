"""`mcp-sandbox completion`: what Tab offers, made from the very parsers that read the arguments."""

from __future__ import annotations

import argparse

from sandbox.cli.main import COMMANDS
from sandbox.cli.main import parser as parser_of
from sandbox.cli.output import emit

SHELLS = ("bash", "zsh", "fish")
# By the name of the argument: what stands there is a path of the host.
FILES = {
    "audit", "ca", "client_secret_file", "file", "log", "oauth", "profile", "profiles", "tls_cert", "tls_key",
    "token_file",
}  # fmt: skip
DIRECTORIES = {"allow_read", "allow_write"}


def parser() -> argparse.ArgumentParser:
    """The arguments of `completion`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox completion",
        description="Print a script that completes mcp-sandbox's commands and options.",
        epilog="example: mcp-sandbox completion bash >> ~/.bash_completion",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("shell", choices=SHELLS, help="the shell that reads the script")
    return built


def main(arguments: argparse.Namespace) -> int:
    """Prints the script for one shell."""
    import shtab

    emit(shtab.complete(combined(), shell=arguments.shell))
    return 0


def combined() -> argparse.ArgumentParser:
    """All commands under one parser, as a shell sees them."""
    whole = argparse.ArgumentParser(prog="mcp-sandbox", description="Run MCP servers in a sandbox.")
    whole.add_argument("-V", "--version", action="store_true", help="print the version")
    commands = whole.add_subparsers(dest="command")
    for name, what in COMMANDS.items():
        one = parser_of(name)
        # `parents` copies every argument, but for the -h that the new parser brings itself.
        _mark_paths(one)
        commands.add_parser(name, help=what, parents=[one], conflict_handler="resolve")
    return whole


def _mark_paths(one: argparse.ArgumentParser) -> None:
    import shtab

    for action in one._actions:
        if action.dest in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own protocol
        elif action.dest in DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
