"""`mcp-sandbox update`: a locked server resolved anew, shown against its lock, and switched by a yes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sandbox.cli import leaving, options
from sandbox.cli.output import document, emit, harmless, note, paint, spelt
from sandbox.errors import SandboxError, UsageError

if TYPE_CHECKING:
    from sandbox.locks import Here
    from sandbox.update.update import Asked, Update

WAITS = 1
EPILOG = """examples:
  mcp-sandbox update                   every lock that counts here, one after the other
  mcp-sandbox update --check           for CI: exit 1 where there is something to approve
  mcp-sandbox update files --allow-read /srv -- npx -y @modelcontextprotocol/server-filesystem /srv"""


def parser() -> argparse.ArgumentParser:
    """The options of `run`, with which both versions are looked at, and those of an update."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox update",
        usage="mcp-sandbox update [--check] [--json | --sarif] [options of run] [NAME] [-- COMMAND…]",
        description="Resolves a locked server anew, shows what would change, and locks that once you agree.",
        epilog=EPILOG,
        formatter_class=options.Help,
    )
    built.add_argument("--check", action="store_true", help="ask nothing, change nothing")
    shape = built.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="one JSON document, and no question")
    shape.add_argument("--sarif", action="store_true", help="SARIF 2.1.0, and no question")
    what = "pass over a finding, such as `age:left-pad`; the lock says who did"
    built.add_argument("--waive", action="append", default=[], metavar="RULE:NAME", help=what)
    what = "without a terminal: agree to the update of this very digest, which a terminal showed"
    built.add_argument("--yes", action="store_true", help=what)
    what = "look at both with their secrets and network, and what they may write"
    built.add_argument("--as-run", action="store_true", help=what)
    built.add_argument("--digest", metavar="DIGEST", help="see `--yes`")
    options.add_to_look(built)
    return built


def main(args: argparse.Namespace) -> int:
    """0 where nothing waits or all was agreed to, 1 where something waits or could not be looked at."""
    name, args = named(args)
    try:
        chosen = _chosen(args, name)
    except SandboxError as error:
        _tell(args, (), {name or "": error.line()})
        raise
    return leaving.leave(_updated(args, chosen))  # the inspectors get ready in threads


def named(args: argparse.Namespace) -> tuple[str | None, argparse.Namespace]:
    """The name before the command, whose options may stand on both sides of it."""
    words = args.command
    if not words or words[0] == "--":
        return None, args
    name, args.command = words[0], []
    return name, parser().parse_args(words[1:], args)


def _chosen(args: argparse.Namespace, name: str | None) -> list[Here]:
    if args.yes != (args.digest is not None):
        raise UsageError("no-digest", "`--yes` needs the `--digest` that a terminal showed, and that `--yes`")
    if args.command and name is None:
        raise UsageError("no-name", "a command is no lock's name", hint="mcp-sandbox update NAME -- COMMAND")
    return _locks(name)


def _locks(name: str | None) -> list[Here]:
    from sandbox.locks import here

    found = here(os.environ, os.getcwd())
    if name is None:
        for one in found:
            if one.fault == "untrusted-lock":
                note(f"`{one.name}` is not trusted and left out; `update --check {one.name}` looks at it")
        return [one for one in found if one.fault != "untrusted-lock"]
    chosen = [one for one in found if one.name == name]
    if not chosen:
        raise UsageError("no-such-lock", f"no lock is called `{name}`", hint="mcp-sandbox lock --list")
    return chosen[:1]


def _updated(args: argparse.Namespace, chosen: Sequence[Here]) -> int:
    """Each lock by itself: one that cannot be looked at keeps no other from its update."""
    made: list[Update] = []
    failed: dict[str, str] = {}
    waits = False
    for one in chosen:
        try:
            found = _made(args, one)
        except SandboxError as error:
            failed[one.name] = error.line()
            if len(chosen) == 1:
                _tell(args, made, failed)
                raise
            note(str(error))
            continue
        made.append(found)
        if not (args.json or args.sarif):
            waits = not _settled(args, found) or waits
    _tell(args, made, failed)
    if args.json or args.sarif:
        waits = any(found.outcome.differences for found in made)
    elif not chosen:
        note("nothing is locked here")
    return WAITS if waits or failed else 0


def _made(args: argparse.Namespace, one: Here) -> Update:
    from sandbox.update.update import update

    told: set[str] = set()

    def progress(text: str) -> None:
        if not args.quiet and text not in told:  # both versions are prepared, and say the same
            told.add(text)
            note(f"mcp-sandbox: {text}")

    return update(_asked(args, one, progress))


def _asked(args: argparse.Namespace, one: Here, progress: object) -> Asked:
    from sandbox.update.update import Asked

    wish = options.wish(args, dict(os.environ), os.getcwd())
    never = args.check or args.json or args.sarif
    grants, switches = "as-run" if args.as_run else "none", "never" if never else "on-yes"
    return Asked(one.path, wish, progress, note, tuple(args.waive), grants, switches)  # type: ignore[arg-type]


# --- a person ----------------------------------------------------------------------------------------


def _settled(args: argparse.Namespace, made: Update) -> bool:
    """Shows it and asks; whether nothing is left to approve."""
    from sandbox.cli.update_words import lines
    from sandbox.update.update import switch

    outcome = made.outcome
    if not outcome.differences:
        emit(f"{harmless(outcome.name)}: {_nothing(made)}")
        return True
    for words, colour in lines(outcome, made.pinned):
        emit(paint(words, colour, sys.stdout) if colour else words)
    emit("")
    if made.refused or made.unseen or made.hidden:
        note(_refusal(made) if made.refused else _unseen(made))
        return False
    if not _agreed(args, made):
        note(f"{harmless(outcome.name)} stays as it is locked")
        return False
    switch(made, os.environ)
    emit(f"updated: {harmless(outcome.name)}; back with `mcp-sandbox rollback {harmless(outcome.name)}`")
    return True


def _nothing(made: Update) -> str:
    """As it is; of a version that the command names, how another one is asked for."""
    from sandbox.supply import spec

    pinned = {"npm": spec.npm_pinned, "pypi": spec.pypi_pinned}.get(made.outcome.old.kind)
    exact = pinned is not None and all(map(pinned, made.outcome.old.asked))
    how = f"; `mcp-sandbox update {made.outcome.name} -- COMMAND` asks for another version" if exact else ""
    return f"as locked, nothing newer{harmless(how)}"


def _refusal(made: Update) -> str:
    first = made.refused[0]
    hint = f"mcp-sandbox update {made.outcome.name} --waive {first.rule}:{first.package}"
    what = "what is locked is" if made.same else "the new version is"
    return (
        f"error: update-refused\n  {what} refused for: {first.rule} of {first.package}\n\n"
        f"hint: where you know better: {hint}"
    )


def _unseen(made: Update) -> str:
    """It gets no secret and no network before a person agrees; some servers list nothing without."""
    what = "the new version does not answer" if made.unseen else "the locked version lists other things"
    return (
        f"error: update-unseen\n  without secrets and network {what}: nobody sees what would hold\n\n"
        f"hint: where you trust the new one with them: mcp-sandbox update {made.outcome.name} --as-run; "
        "where it needs arguments, add `-- COMMAND ARGUMENTS`"
    )


def _agreed(args: argparse.Namespace, made: Update) -> bool:
    from sandbox.cli.typed import typed

    if args.check:
        return False
    if args.yes:
        if args.digest != made.digest:
            what = f"what waits of `{made.outcome.name}` is not what this digest was shown for"
            raise UsageError("other-digest", what, hint=f"mcp-sandbox update {made.outcome.name}")
        return True
    # A pipe is how a program answers, and a program (a model in a shell) must not agree for a person.
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        note("there is no terminal to ask at: run `mcp-sandbox update` in a terminal of your own")
        return False
    note(f"digest: {made.digest}")
    return typed("this starts in place of what is locked; lock it? type `yes`: ") == "yes"


# --- programs ----------------------------------------------------------------------------------------


def _tell(args: argparse.Namespace, made: Sequence[Update], failed: dict[str, str]) -> None:
    """The one document, also where something failed; a person has been told by then."""
    if not (args.json or args.sarif):
        return
    from sandbox.update.report import document as described
    from sandbox.update.report import sarif

    outcomes = [one.outcome for one in made]
    if args.json:
        document(described(outcomes, failed))
        return
    from importlib.metadata import version

    places = {one.path: _shown_at(one.path, one.name) for one in outcomes}
    emit(spelt(sarif(outcomes, version("mcp-sandbox"), places, failed)))


def _shown_at(path: str, name: str) -> str:
    """The lock's file below the working directory; else a name that is no file of it."""
    from urllib.parse import quote

    near = os.path.relpath(path, os.path.realpath(os.getcwd()))
    return quote(f"mcp-server/{name}" if near.startswith("..") else near)
