"""`mcp-sandbox clients scan`: what is wrong with the servers that this machine's clients start."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, for code scanners")


def main(args: argparse.Namespace) -> int:
    """0; 1 where anything was found."""
    raise NotImplementedError
