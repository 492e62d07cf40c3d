"""The options of the HTTP front, which `serve` and `run --listen` share; light, since `run` imports it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.serve.front import Issued, Options

OWN = frozenset("listen token_file oauth tls_cert tls_key allow_host allow_origin insecure_http".split())
"""What of `run --listen` is the front's own and no child's, by the names of its arguments."""


def add(parser: argparse.ArgumentParser, title: str) -> None:
    """Adds them as a group of their own."""
    front = parser.add_argument_group(title)
    front.add_argument(
        "--token-file", metavar="PATH", help="lines of `NAME TOKEN`, one a client; made if absent"
    )
    front.add_argument("--oauth", metavar="FILE", help="tokens of an OAuth issuer count, as FILE (TOML) says")
    front.add_argument("--tls-cert", metavar="PATH", help="serve HTTPS with this certificate (PEM)")
    front.add_argument("--tls-key", metavar="PATH", help="the certificate's key (PEM)")
    front.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name that we are asked by"
    )
    front.add_argument(
        "--allow-origin", action="append", default=[], metavar="URL", help="a web page that may ask us"
    )
    front.add_argument(
        "--insecure-http",
        action="store_true",
        help="serve a network without TLS (behind a proxy that has it)",
    )


def add_listen(parser: argparse.ArgumentParser) -> None:
    """The same for `run`, where `--listen` is what makes a front of it."""
    add(parser, "over HTTP, with a sandbox for every client session")
    parser.add_argument(
        "--listen", metavar="HOST:PORT|unix:PATH", help="serve /mcp there in place of stdin and stdout"
    )


def require_listen(args: argparse.Namespace) -> None:
    """Refuses what only a front has a meaning for, where there is none."""
    from sandbox.errors import UsageError

    given = next((name for name in sorted(OWN) if getattr(args, name)), None)
    if given is not None:
        option = f"--{given.replace('_', '-')}"
        raise UsageError(
            "no-listen", f"`{option}` is of use with `--listen` alone", hint="mcp-sandbox run --help"
        )


def options_of(args: argparse.Namespace, listen: str, routes: Mapping[str, tuple[str, ...]]) -> Options:
    """What was asked for, checked as far as that goes without doing anything."""
    from sandbox.errors import UsageError
    from sandbox.serve import address, front

    if args.oauth and args.token_file:
        raise UsageError("two-tokens", "either `--oauth` or `--token-file` says whose tokens count")
    return front.Options(
        routes=routes,
        address=address.parse(listen),
        token_file=args.token_file or "",
        tls_cert=args.tls_cert or "",
        tls_key=args.tls_key or "",
        allow_hosts=tuple(args.allow_host),
        allow_origins=tuple(args.allow_origin),
        insecure_http=args.insecure_http,
        oauth=_issuer(args.oauth, tuple(routes)) if args.oauth else None,
    )


def _issuer(path: str, routes: tuple[str, ...]) -> Callable[[], Issued]:
    from sandbox.serve.oauth.server import load

    issued = load(path, routes)  # a file that says nothing sensible is told before anything is opened
    return lambda: issued


def again(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[str, ...]:
    """The arguments of `run` that say the same, without what is the front's own."""
    from sandbox.cli.options import command_of

    words: list[str] = []
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        if action.dest in OWN or not action.option_strings or value in (None, False, action.default):
            continue
        option = max(action.option_strings, key=len)
        if value is True:
            words.append(option)
        else:
            words += [f"{option}={one}" for one in (value if isinstance(value, list) else [value])]
    command = command_of(args.command)
    return (*words, "--", *command) if command else tuple(words)
