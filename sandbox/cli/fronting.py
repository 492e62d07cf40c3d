"""The options of the HTTP front, which `serve` and `run --listen` share; light, since `run` imports it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sandbox.cli.arguments import argparse

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.serve.front import Issued, Options

OWN = frozenset("listen token_file oauth tls_cert tls_key allow_host allow_origin insecure_http".split())
"""What of `run --listen` is the front's own and no child's, by the names of its arguments."""
_VALUES = (
    ("--token-file", "PATH", "lines of `NAME TOKEN`, one a client; made if absent"),
    ("--oauth", "FILE", "tokens of an OAuth issuer count, as FILE (TOML) says"),
    ("--tls-cert", "PATH", "serve HTTPS with this certificate (PEM)"),
    ("--tls-key", "PATH", "the certificate's key (PEM)"),
)
_LISTS = (
    ("--allow-host", "NAME", "another name that we are asked by"),
    ("--allow-origin", "URL", "a web page that may ask us"),
)


def add(parser: argparse.ArgumentParser, *, is_shown: bool = True) -> None:
    """Adds them as a group of their own."""
    front = parser.add_argument_group("who may ask")
    for option, metavar, what in _VALUES:
        front.add_argument(option, metavar=metavar, help=what if is_shown else argparse.SUPPRESS)
    for option, metavar, what in _LISTS:
        shown = what if is_shown else argparse.SUPPRESS
        front.add_argument(option, action="append", default=[], metavar=metavar, help=shown)
    waived = "serve a network without TLS (behind a proxy that has it)"
    front.add_argument("--insecure-http", action="store_true", help=waived if is_shown else argparse.SUPPRESS)


def add_listen(parser: argparse.ArgumentParser) -> None:
    """The same for `run`, where `--listen` is what makes a front of it."""
    parser.add_argument(
        "--listen", metavar="ADDRESS", help="serve clients over HTTP; also takes the options of `serve`"
    )
    add(parser, is_shown=False)


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


def private(options: Options) -> list[tuple[str, str]]:
    """What no server behind the front may see, with the option that says where it is."""
    named = (
        ("--token-file", options.token_file),
        ("--tls-key", options.tls_key),
        ("--listen", options.address.path),
    )
    return [(option, os.path.realpath(path)) for option, path in named if path]


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
