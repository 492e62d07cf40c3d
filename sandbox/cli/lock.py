"""`mcp-sandbox lock`: a server is resolved once, judged, looked at, and from then on starts as it is now."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from sandbox.cli import options
from sandbox.cli.output import document, emit, harmless, note, paint
from sandbox.errors import SandboxError, UsageError
from sandbox.records import replace

if TYPE_CHECKING:
    from sandbox.locking import Proposal
    from sandbox.prepared import Wish

REFUSED = 1
# Understood as `run` understands them, and no help to whoever makes a lock.
_APART = frozenset(
    "memory cpus pids disk wall idle only_tools audit header header_from http quiet verbose locked".split()
)
EPILOG = """examples:
  mcp-sandbox lock -- npx -y @modelcontextprotocol/server-everything
  mcp-sandbox lock --project --profile github -- npx -y @modelcontextprotocol/server-github
  mcp-sandbox lock --list"""


def parser() -> argparse.ArgumentParser:
    """The options of `run`, and those of a lock."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox lock",
        usage="mcp-sandbox lock [options of run] PROFILE | -- COMMAND [ARGUMENT…]\n"
        "       mcp-sandbox lock --list | --remove NAME",
        description="Freezes a server: `run` starts nothing else in its place until `update`.\n"
        "Exit 1 when something speaks against it.",
        epilog=EPILOG,
        formatter_class=options.Help,
    )
    built.add_argument("--project", action="store_true", help="keep it in this project's .mcp-sandbox/")
    what = "pass over a finding, such as `age:left-pad`; the lock says who did"
    built.add_argument("--waive", action="append", default=[], metavar="RULE:NAME", help=what)
    built.add_argument("--blind", action="store_true", help="do not start it: its lists are not locked")
    built.add_argument("--yes", action="store_true", help="ask nothing")
    built.add_argument("--list", action="store_true", help="show every lock that counts here")
    built.add_argument("--remove", metavar="NAME", help="forget a lock; its server runs as if never locked")
    built.add_argument("--json", action="store_true", help="one JSON document")
    options.add(built)
    for action in built._actions:
        if action.dest in _APART:
            action.help = argparse.SUPPRESS
    return built


def main(args: argparse.Namespace) -> int:
    """0 when it is locked, 1 when something speaks against it or the person said no."""
    if args.list:
        from sandbox.cli.locks import show

        return show(as_json=args.json)
    if args.remove is not None:
        from sandbox.cli.locks import remove

        return remove(args.remove, yes=args.yes)
    try:
        return _made(args)
    except SandboxError as error:
        if args.json:
            document({"locked": False, "file": None, "failed": error.line()})
        raise


def _made(args: argparse.Namespace) -> int:
    wish = _wish(args)
    directory = _directory(args, wish)
    from sandbox.locking import Order, propose
    from sandbox.locks import refuse_taken

    refuse_taken(wish, directory)
    order = Order(wish, _tell, args.name or "", tuple(args.waive), args.blind)
    return _finish(args, propose(order), directory)


def _tell(text: str) -> None:
    note(f"mcp-sandbox: {text}")


def _wish(args: argparse.Namespace) -> Wish:
    """A single word that no `--` stands before is a profile that names its server."""
    words = args.command
    if len(words) == 1 and words[0] != "--" and args.profile is None:
        args.profile, args.command = words[0], []
    wish = options.wish(args, dict(os.environ), os.getcwd())
    return replace(wish, locks="make")


def _directory(args: argparse.Namespace, wish: Wish) -> str:
    from sandbox.policy.search import PROJECT_DIR, project
    from sandbox.supply.accepted import user_dir

    if not args.project:
        return user_dir(wish.environ)
    found = project(wish.environ.get("HOME", ""), wish.cwd)
    if not found:
        raise UsageError("no-project", "this directory is not in a project", hint="leave `--project` out")
    return os.path.join(found, PROJECT_DIR)


def _finish(args: argparse.Namespace, proposal: Proposal, directory: str) -> int:
    from sandbox import first_looks
    from sandbox.cli.lock_words import asks, lines
    from sandbox.locks import refuse_name
    from sandbox.supply.accepted import path_of, put

    lock, judged = proposal.lock, proposal.judged
    path = path_of(lock.name, directory)
    refuse_name(path, lock, os.environ)
    locked = False
    if not args.json:
        for text, colour in lines(proposal):
            _say(text, colour)
    if judged.refused:
        note(_refusal(proposal))
    elif _agreed(args, asks(proposal)):
        put(path, lock, os.environ)
        _describe(proposal)
        first_looks.keep_shipped(os.environ)
        locked = True
    if args.json:
        document(_document(proposal, path if locked else None))
    elif locked:
        emit(f"locked: {harmless(lock.name)} ({harmless(path)})")
    else:
        note("nothing was locked")
    return 0 if locked else REFUSED


def _describe(proposal: Proposal) -> None:
    """`approve` shows texts against the lock's; without them it says only that a definition differs."""
    from contextlib import suppress

    from sandbox.locked_pins import remember

    if proposal.looked is not None:
        with suppress(OSError):
            remember(proposal.lock.name, os.environ, proposal.lock.pins, proposal.looked.items)


def _say(text: str, colour: str) -> None:
    safe = harmless(text)
    emit(paint(safe, colour, sys.stdout) if colour else safe)


def _refusal(proposal: Proposal) -> str:
    first = proposal.judged.refused[0]
    count = len(proposal.judged.refused)
    what = f"{count} {'finding speaks' if count == 1 else 'findings speak'} against it"
    waive = f"--waive {first.waiver}"
    return f"error: lock-refused\n  {what}\n\nhint: where you know better, `{waive}` passes over it by name"


def _agreed(args: argparse.Namespace, doubts: tuple[str, ...]) -> bool:
    """A person's yes to what is more than narrowing: without a doubt nothing is asked."""
    if args.yes or not doubts:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        what = f"a person has to agree to: {'; '.join(doubts)}"
        raise UsageError("no-terminal", what, hint="run it in a terminal of your own, or add `--yes`")
    from sandbox.cli.typed import typed

    for doubt in doubts:
        note(f"  {doubt}")
    return typed("lock it all the same? type `yes`: ") == "yes"


def _document(proposal: Proposal, path: str | None) -> dict[str, Any]:
    lock, judged = proposal.lock, proposal.judged
    return {
        "locked": path is not None,
        "file": path,
        "name": lock.name,
        "kind": lock.kind,
        "asked": list(lock.asked),
        "packages": len(lock.packages),
        "trees": [{"fits": one.fits, "digest": one.digest, "files": one.files} for one in lock.trees],
        "scripts": [one.what for one in lock.scripts],
        "waived": [one.what for one in lock.waived],
        "findings": [
            {"rule": one.rule, "package": one.package, "version": one.version, "what": one.what,
             "strength": one.strength}
            for one in judged.findings
        ],
        "unchecked": list(lock.unchecked),
        "profile": lock.profile,
        "server": lock.server,
        "pins": len(lock.pins),
        "wants": list(lock.wants),
    }  # fmt: skip
