"""The options that `run` and `plan` share, and what they mean: one wish."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from sandbox.cli.arguments import argparse
from sandbox.errors import UsageError
from sandbox.policy.flags import Flags

TYPE_CHECKING = False  # as `typing` has it, without its import
if TYPE_CHECKING:
    from sandbox.prepared import Wish


class Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal; argparse makes one for every option, and `shutil` would be asked."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=_columns() - 2)


def _columns() -> int:
    named = os.environ.get("COLUMNS", "")
    if named.isdecimal() and int(named) > 0:
        return int(named)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the shared options; everything after `--` is the server's own command line."""
    grants = parser.add_argument_group("grants, for this run only")
    grants.add_argument(
        "--allow-read", action="append", default=[], metavar="PATH[:INSIDE]", help="mount read-only"
    )
    grants.add_argument(
        "--allow-write", action="append", default=[], metavar="PATH[:INSIDE]", help="mount writable"
    )
    grants.add_argument("--allow-env", action="append", default=[], metavar="NAME", help="pass a variable")
    grants.add_argument("--set-env", action="append", default=[], metavar="NAME=VALUE", help="set a variable")
    grants.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="NAME[?]",
        help="pass a secret variable (`?`: if set)",
    )
    grants.add_argument(
        "--allow-net",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="let it connect (port 443 unless said)",
    )
    quotas = parser.add_argument_group("quotas")
    quotas.add_argument("--memory", metavar="SIZE", help="such as 512M")
    quotas.add_argument("--cpus", metavar="N", help="processors, such as 1.5")
    quotas.add_argument("--pids", metavar="N", help="processes and threads")
    quotas.add_argument("--disk", metavar="SIZE", help="what lives in memory, such as 256M")
    quotas.add_argument("--wall", metavar="TIME", help="end it after, such as 12h")
    quotas.add_argument("--idle", metavar="TIME", help="end it after so long without a message")
    parser.add_argument("--profile", metavar="NAME|PATH", help="what the server may do (default: base)")
    parser.add_argument(
        "--backend",
        choices=("auto", "native", "docker"),
        default="auto",
        metavar="WHICH",
        help="native, docker, or auto (default): native where it can enforce everything",
    )
    parser.add_argument("--name", metavar="NAME", help="the server's name in the audit log")
    parser.add_argument(
        "--only-tools", action="append", default=[], metavar="GLOB", help="of the allowed tools only these"
    )
    parser.add_argument("--audit", metavar="PATH", help="write the audit log there")
    parser.add_argument("--locked", action="store_true", help="start nothing that has no lock")
    parser.add_argument("--refresh", action="store_true", help="look an unpinned package up again")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="sent to a remote server; `${SECRET}` stands for a secret",
    )
    parser.add_argument(
        "--header-from",
        action="append",
        default=[],
        metavar="NAME=VARIABLE",
        help="sent to a remote server, its value read from a secret variable",
    )
    parser.add_argument(
        "--http", metavar="PORT[/PATH]", help="the server listens there, inside, and speaks HTTP (/mcp)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors and waivers")
    parser.add_argument("-v", "--verbose", action="store_true", help="say before the start what holds")
    # Every usage line shows it: three lines of its own would push the help off the screen.
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help=argparse.SUPPRESS)


def add_to_look(parser: argparse.ArgumentParser) -> None:
    """The same for a command that starts a server to look at it: help names what that needs."""
    add(parser)
    for action in parser._actions:
        if action.dest in _SELDOM:
            action.help = argparse.SUPPRESS


_SELDOM = frozenset(
    "name only_tools audit locked refresh header header_from http verbose wall idle disk".split()
)


def flags(args: argparse.Namespace) -> Flags:
    """What the options add to the profile, as typed."""
    return Flags(
        allow_net=tuple(args.allow_net),
        allow_read=tuple(args.allow_read),
        allow_write=tuple(args.allow_write),
        allow_env=tuple(args.allow_env),
        set_env=tuple(args.set_env),
        secrets=tuple(args.secret),
        memory=args.memory,
        cpus=args.cpus,
        pids=args.pids,
        disk=args.disk,
        wall=args.wall,
        idle=args.idle,
        audit=args.audit,
        http=args.http,
        headers=tuple(args.header),
        headers_from=tuple(args.header_from),
        only_tools=tuple(args.only_tools),
    )


def wish(args: argparse.Namespace, environ: Mapping[str, str], cwd: str) -> Wish:
    """The whole wish."""
    from sandbox.prepared import Wish

    return Wish(
        command=command_of(args.command),
        environ=environ,
        cwd=cwd,
        profile=args.profile,
        flags=flags(args),
        name=args.name,
        refresh=args.refresh,
        backend=args.backend,
        locks="require" if args.locked else "use",
    )


def command_of(words: list[str]) -> tuple[str, ...]:
    """The server's command line without the `--` before it, or the URL of one that runs elsewhere."""
    command = tuple(words[1:] if words[:1] == ["--"] else words)
    if command and command[0].startswith("-"):
        raise UsageError(
            "unknown-option",
            f"`{command[0]}` is not an option, and a command does not start with `-`",
            hint="mcp-sandbox run [options] -- COMMAND",
        )
    return command
