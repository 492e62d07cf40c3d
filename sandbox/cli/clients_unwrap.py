"""`mcp-sandbox clients unwrap`: the clients start their servers as before, outside of any sandbox."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sandbox.cli.clients_found import around, is_chosen
from sandbox.cli.clients_wrap import change

if TYPE_CHECKING:
    from sandbox.clients.changing import Plan
    from sandbox.clients.gather import Config


def add(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")


def main(args: argparse.Namespace) -> int:
    """0 when it is done or was done before; 1 when declined or where a file could not be changed."""
    from sandbox.clients.changing import to_unwrap

    here, named = around(), args.server is not None

    def planned(config: Config) -> Plan:
        return to_unwrap(config, here, lambda entry: is_chosen(args, entry), named=named)

    return change(args, planned, "no longer contain")
