"""`mcp-sandbox logout`: the end of a login, here and at its issuer."""

from __future__ import annotations

import argparse
import os

from sandbox.cli.output import emit


def parser() -> argparse.ArgumentParser:
    """The arguments of `logout`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox logout",
        description="Forget a login, and ask its issuer to end it.",
        epilog="example: mcp-sandbox logout https://mcp.example.com/mcp",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("url", metavar="URL", help="the server's, as `login` got it")
    return built


def main(args: argparse.Namespace) -> int:
    """0 once nothing of the login is kept; says whether the issuer ended it too."""
    from sandbox.login.flow import logout

    ended = logout(args.url, dict(os.environ))
    beyond = "and its issuer ended it" if ended else "its issuer did not end it: there it runs out by itself"
    emit(f"logged out, {beyond}")
    return 0
