"""`mcp-sandbox login`: a person logs in to a remote server, once, and `run URL` uses that from then on."""

from __future__ import annotations

import argparse
import os
import sys

from sandbox.cli.output import emit, note
from sandbox.errors import UsageError

EPILOG = """example: mcp-sandbox login https://mcp.example.com/mcp

The token goes to this URL alone, from `mcp-sandbox run URL`. It is kept in the keyring, where one answers
(`pip install 'mcp-sandbox[keyring]'`), else in a file that only you can read."""


def parser() -> argparse.ArgumentParser:
    """The options of `login`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox login",
        description="Log in to a remote MCP server by OAuth, in your browser.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("url", nargs="?", metavar="URL", help="the server's, as `run` gets it")
    built.add_argument(
        "--client-id", default="", metavar="ID", help="a client that you have registered there"
    )
    built.add_argument("--client-secret-file", metavar="PATH", help="the file with that client's secret")
    built.add_argument("--scope", default="", metavar="SCOPES", help="ask for these, and what you have")
    built.add_argument("--issuer", default="", metavar="URL", help="one of several that the server names")
    built.add_argument("--port", type=int, default=0, metavar="N", help="of 127.0.0.1, for the way back")
    built.add_argument("--ca", default="", metavar="PATH", help="trust these certificates too")
    built.add_argument(
        "--allow-private", action="store_true", help="the login may lead into your own network"
    )
    built.add_argument("--no-browser", action="store_true", help="only print the address to open")
    built.add_argument("--list", action="store_true", help="show the logins that are kept")
    return built


def main(args: argparse.Namespace) -> int:
    """0 once the login is kept."""
    if args.list:
        return _list()
    if not args.url:
        raise UsageError("no-url", "`login` takes the URL of a server", hint="mcp-sandbox login URL")
    from sandbox.login.flow import Wish, login

    wish = Wish(
        url=args.url,
        client_id=args.client_id,
        client_secret=_secret(args),
        scope=args.scope,
        issuer=args.issuer,
        port=_port(args.port),
        ca=os.path.abspath(args.ca) if args.ca else "",
        private=args.allow_private,
        browser=not args.no_browser,
        terminal=0 if sys.stdin is not None and sys.stdin.isatty() else None,
    )
    kept = login(wish, dict(os.environ), lambda text: note(f"mcp-sandbox: {text}"))
    where = "the keyring" if kept.kept == "keyring" else "a file that only you can read"
    emit(f"logged in to {kept.url} (kept in {where})")
    return 0


def _list() -> int:
    from sandbox.login.keeping import every
    from sandbox.login.refused import shown

    for one in every(os.environ):
        emit(f"{shown(one.url)}  issuer {shown(one.issuer)}, in the {one.kept}")
    return 0


def _port(port: int) -> int:
    if not 0 <= port < 65536:
        raise UsageError("no-port", f"`{port}` is no port", hint="leave `--port` out")
    return port


def _secret(args: argparse.Namespace) -> str:
    """The client's secret, from a file: an argument could be read by everybody."""
    path = args.client_secret_file
    if path is None:
        return ""
    if not args.client_id:
        raise UsageError("no-client-id", "a client's secret needs the client", hint="--client-id ID")
    try:
        with open(path) as file:
            return file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("no-client-secret", f"`{path}` cannot be read: {error}") from error
