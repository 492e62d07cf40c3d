"""What the `clients` commands look at: every file of every client that was asked for, opened."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.cli.output import harmless, note
from sandbox.errors import SandboxError, UsageError

if TYPE_CHECKING:
    from sandbox.clients.gather import Around, Config
    from sandbox.clients.words import Entry, Found, Row


def around(program: str | None = None) -> Around:
    """This user on this machine, here, and the program that clients start: this one unless said."""
    from sandbox.clients.gather import Around
    from sandbox.clients.wrapping import our_program

    named = program or our_program(sys.argv[0], sys.executable)
    return Around(os.environ.get("HOME", ""), sys.platform, dict(os.environ), os.getcwd(), named)


def files(args: argparse.Namespace) -> list[Found]:
    """The files that were asked for; `UsageError` for a client that nobody knows."""
    from sandbox.clients.find import find

    here = around()
    wanted = _client(args.client) if args.client else None
    return [
        one
        for one in find(here.home, here.platform, here.environ, here.cwd)
        if (wanted is None or one.row.id == wanted.id) and args.scope in (None, one.scope)
    ]


def _client(name: str) -> Row:
    import difflib

    from sandbox.clients.table import ROWS

    named = next((row for row in ROWS if name.casefold() in (row.id.casefold(), row.name.casefold())), None)
    if named is not None:
        return named
    near = difflib.get_close_matches(name, [row.id for row in ROWS], 1)
    hint = f"did you mean `{near[0]}`?" if near else f"one of: {', '.join(row.id for row in ROWS)}"
    raise UsageError("unknown-client", f"`{harmless(name)}` is no client that is known here", hint=hint)


def configs(found: list[Found], failed: list[tuple[Found, SandboxError]]) -> Iterator[Config]:
    """Each file opened; one that cannot be read is told, remembered in `failed`, and no end of the rest."""
    from sandbox.clients.gather import opened

    for one in found:
        try:
            yield opened(one)
        except SandboxError as error:
            note(str(error))
            failed.append((one, error))


def is_chosen(args: argparse.Namespace, entry: Entry) -> bool:
    """Whether this server was asked for."""
    return args.server is None or entry.name == args.server


def require_server(args: argparse.Namespace, names: list[str]) -> None:
    """A server that was asked for by name has to be there."""
    if args.server is not None and args.server not in names:
        there = f"there are: {', '.join(sorted(set(names)))}" if names else "there are none"
        what = f"`{harmless(args.server)}` is no server of that client's"
        raise UsageError("unknown-server", what, hint=harmless(there))


def shown(path: str) -> str:
    """A path as a person reads it, with `~` for the home."""
    home = os.environ.get("HOME", "").rstrip("/")
    short = f"~{path[len(home) :]}" if home and path.startswith(f"{home}/") else path
    return harmless(short).replace("\n", "\\n").replace("\t", "\\t")


def titled(found: Found) -> str:
    """A file by its client, its path, and where it leads if it is a link."""
    through = f" -> {shown(found.real)}" if found.real != found.path else ""
    return f"{found.row.name}: {shown(found.path)}{through}"
