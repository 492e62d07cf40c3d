"""`mcp-sandbox rollback`: what was locked before the last update counts again, once a person agrees."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from sandbox.cli.output import emit, harmless, note
from sandbox.cli.update_words import one_line
from sandbox.errors import UsageError

if TYPE_CHECKING:
    from sandbox.update.rollback import Way

EPILOG = """example:
  mcp-sandbox rollback github          and the same again to go forward"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `rollback`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox rollback",
        description="Go back to what was locked before the last update.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("name", metavar="NAME", help="a name of `lock --list`")
    built.add_argument(
        "--yes", action="store_true", help="ask nothing: what it goes back to was agreed to once"
    )
    return built


def main(args: argparse.Namespace) -> int:
    """0 when it counts again, 1 when the person said no."""
    from sandbox.cli.locks import named
    from sandbox.prepared import Wish
    from sandbox.update.rollback import go, require_start, way

    environ = dict(os.environ)
    chosen = way(named(args.name).path, environ)
    lock = require_start(chosen, Wish((), environ, os.getcwd()), lambda text: note(f"mcp-sandbox: {text}"))
    _show(args.name, chosen)
    if not _agreed(args):
        note("nothing was changed")
        return 1
    go(chosen, lock, environ)
    emit(f"rolled back: {harmless(args.name)}")
    if lock.bundle:
        note("it starts once the bundle's file of then is in its place again")
    return 0


def _show(name: str, chosen: Way) -> None:
    from sandbox.update.report import Outcome, sentence

    outcome = Outcome(name, chosen.path, chosen.now or chosen.back, chosen.back, chosen.differences)
    old, new = outcome.versions
    emit(
        f"{harmless(name)}: back to {one_line(new)}, locked {chosen.back.made} by {one_line(chosen.back.by)}"
    )
    if chosen.now is None:
        emit("  what is locked now is not what was accepted, and is not kept")
    elif old != new:
        emit(f"  from {one_line(old)}")
    for one in outcome.differences:
        emit(f"  {one_line(sentence(one))}")


def _agreed(args: argparse.Namespace) -> bool:
    from sandbox.cli.typed import typed

    if args.yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        what = "`rollback` asks a person, and there is no terminal to ask at"
        raise UsageError("no-terminal", what, hint="run it in a terminal of your own, or add `--yes`")
    return typed("go back? type `yes`: ") == "yes"
