"""`mcp-sandbox clients`: the servers of this machine's MCP clients, found, judged, put in their sandboxes."""

from __future__ import annotations

import argparse
from importlib import import_module

EPILOG = """examples:
  mcp-sandbox clients list
  mcp-sandbox clients wrap
  mcp-sandbox clients wrap cursor github --yes
  mcp-sandbox clients unwrap"""
ACTIONS = {
    "list": "the clients' files on this machine: how many servers, how many of them contained",
    "scan": "what is wrong with each server's entry; exit 1 where anything is",
    "wrap": "have the clients start their servers in sandboxes: shows what changes, and asks",
    "unwrap": "take that back",
}


def parser() -> argparse.ArgumentParser:
    """The arguments of `clients`, one subcommand a file."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox clients",
        description="Find, judge and contain the servers that your MCP clients start.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = built.add_subparsers(dest="action", required=True, metavar="|".join(ACTIONS))
    for action, what in ACTIONS.items():
        one = commands.add_parser(action, help=what, description=f"{what[0].upper()}{what[1:]}.")
        import_module(f"sandbox.cli.clients_{action}").add(one)
        one.add_argument("client", nargs="?", metavar="CLIENT", help="one client, by its id or name")
        one.add_argument("server", nargs="?", metavar="SERVER", help="one of its servers, by name")
        scopes = ("user", "project", "system")
        one.add_argument("--scope", choices=scopes, help="only files of the user, this project, the system")
        one.add_argument("--json", action="store_true", help="one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """The status of the subcommand."""
    status: int = import_module(f"sandbox.cli.clients_{args.action}").main(args)
    return status
