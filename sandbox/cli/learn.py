"""`mcp-sandbox learn`: what a server needs, found out by running it contained, as a profile."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from sandbox.cli import leaving, options
from sandbox.cli.output import document, emit, harmless, note
from sandbox.errors import UsageError
from sandbox.records import replace

if TYPE_CHECKING:
    from sandbox.audit.redact import Redactor
    from sandbox.learn.learn import Written
    from sandbox.learn.study import Learnt, Order
    from sandbox.learn.wants import Want
    from sandbox.prepared import Wish

FOUND = 1
_RARE = frozenset("name audit refresh verbose cpus wall idle".split())
"""Options of `run` that are taken too, and seldom of use here: help fits a screen."""
EPILOG = """examples:
  mcp-sandbox learn --call git_status '{"repo_path": "/src/app"}' -- uvx mcp-server-git -r /src/app
  mcp-sandbox learn --diff fetch -- uvx mcp-server-fetch@2026.9.1"""


def parser() -> argparse.ArgumentParser:
    """The options of `run`, and those of a study."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox learn",
        usage="mcp-sandbox learn [--out FILE | --diff PROFILE] [options of run] -- COMMAND [ARGUMENT…]",
        description="Runs a server contained, asks about what it wants, and writes the least profile for it.",
        epilog=EPILOG,
        formatter_class=options.Help,
    )
    result = built.add_mutually_exclusive_group()
    result.add_argument("--out", metavar="FILE", help="write the profile there; never over a file")
    result.add_argument("--diff", metavar="PROFILE", help="say what it wants more than PROFILE; then exit 1")
    built.add_argument(
        "--call", nargs=2, action="append", default=[], metavar=("TOOL", "JSON"), help="call this tool too"
    )
    built.add_argument("--call-all", action="store_true", help="call every tool that needs no argument")
    built.add_argument(
        "--trust-network",
        action="store_true",
        help="let it connect to every name that it asks for (a waiver)",
    )
    built.add_argument("--json", action="store_true", help="one JSON document")
    options.add(built)
    for action in built._actions:
        if action.dest in _RARE:
            action.help = argparse.SUPPRESS
    return built


def main(args: argparse.Namespace) -> int:
    """Leads the study; 1 where more is wanted than `--diff` names, or the server did not work."""
    return leaving.leave(_learn(args))


def _learn(args: argparse.Namespace) -> int:
    from sandbox.learn.exercise import Ended
    from sandbox.learn.study import TRUSTED

    calls = _calls(args.call)
    if args.out is not None and os.path.lexists(args.out):
        raise UsageError("exists", f"`{args.out}` is there already", hint="name another file for `--out`")
    # What is learnt is a profile, and a lock holds only with the one that it was made for.
    wish = replace(options.wish(args, dict(os.environ), os.getcwd()), locks="never")
    _refuse_elsewhere(wish)
    if args.trust_network:
        note(f"mcp-sandbox: waived: {TRUSTED}")
    try:
        return _differs(args, wish, calls) if args.diff is not None else _written(args, wish, calls)
    except Ended as ended:
        return ended.status


def _refuse_elsewhere(wish: Wish) -> None:
    from sandbox.choice import load_for
    from sandbox.remote import named

    if named(wish.command) is not None or (not wish.command and load_for(wish).server.url is not None):
        what = "a server that runs elsewhere asks for nothing of this machine: there is nothing to learn"
        raise UsageError("not-here", what, hint="mcp-sandbox profile new -- URL")


def _calls(given: list[list[str]]) -> list[tuple[str, dict[str, Any]]]:
    return [(tool, _arguments(tool, text)) for tool, text in given]


def _arguments(tool: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if type(found) is not dict:
        raise UsageError("invalid-option", f"`--call {tool}`: the arguments are no JSON object")
    return found


def _order(args: argparse.Namespace, wish: Wish, calls: list[tuple[str, dict[str, Any]]]) -> Order:
    from sandbox.learn.exercise import chosen
    from sandbox.learn.study import Order

    def progress(text: str) -> None:
        if not args.quiet:
            note(f"mcp-sandbox: {text}")

    return Order(wish, chosen(calls, args.call_all), _asked, note, progress, args.trust_network)


# --- the profile -----------------------------------------------------------------------------------------


def _written(args: argparse.Namespace, wish: Wish, calls: list[tuple[str, dict[str, Any]]]) -> int:
    from sandbox.learn.learn import compose
    from sandbox.learn.study import require_answers, study, with_named_paths

    extends = _extended(wish)
    order = _order(args, with_named_paths(replace(wish, profile=extends)), calls)
    learnt = study(order)
    require_answers(learnt)
    made = compose(order, learnt, extends)
    if args.out is not None:
        _write(args.out, made.text)
    if args.json:
        document(_document(learnt, made))
    elif args.out is None:
        emit(made.text.rstrip("\n"))
    _conclude(args, learnt, made)
    return 0 if made.works else FOUND


def _extended(wish: Wish) -> str:
    from sandbox.learn.study import base_of

    if wish.profile is not None and "/" in wish.profile:
        what = f"the learnt profile extends `{wish.profile}`, and a profile is extended by its name"
        hint = "put it into `~/.config/mcp-sandbox/profiles/`, and say `--profile NAME`"
        raise UsageError("extends-a-path", what, hint=hint)
    return wish.profile or base_of(wish.command)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError("not-written", f"`{path}` cannot be written: {error.strerror}") from error


def _conclude(args: argparse.Namespace, learnt: Learnt, made: Written) -> None:
    from sandbox.policy.score import exposure
    from sandbox.supplied import asked

    if not made.works:
        what = made.run.silence or "its answers under the profile are not those of before"
        note(f"warning: not-the-same\n  {what}")
    for one in learnt.run.called:
        if one.how != "result":
            note(f"warning: call-failed\n  `{one.tool}` failed: what it needs to succeed was not seen")
    if _redactor(learnt).command(learnt.prepared.wish.command) != [*learnt.prepared.wish.command]:
        what = "a credential among the command's arguments stands in the profile in plain text"
        note(f"warning: plain-secret\n  {what}\n\nhint: give it as a variable, with `--secret NAME`")
    if args.quiet:
        return
    score = exposure(made.policy, asked(learnt.prepared.request))
    where = f"`{args.out}`, " if args.out is not None else ""
    note(f"mcp-sandbox: learnt: {where}exposure {score.total:g} ({score.word}), {_counted(learnt.runs)}")
    if args.out is not None:
        note(f"\nhint: mcp-sandbox run --profile {shlex.quote(os.path.abspath(args.out))}")


def _redactor(learnt: Learnt) -> Redactor:
    """Takes out what the server was given as a secret, and may have said."""
    from sandbox import secret_sources
    from sandbox.audit.redact import Redactor

    prepared = learnt.prepared
    return Redactor(value for _, value in secret_sources.read(prepared.spec.secrets, prepared.wish.environ))


def _counted(runs: int) -> str:
    return "one run and one under the profile" if runs == 1 else f"{runs} runs and one under the profile"


def _document(learnt: Learnt, made: Written) -> dict[str, Any]:
    from sandbox.policy.score import exposure
    from sandbox.supplied import asked

    name, version = learnt.run.identity
    clean = _redactor(learnt).uncut
    return {
        "server": learnt.prepared.spec.server,
        "name": name,
        "version": version,
        "backend": learnt.prepared.spec.backend,
        "runs": learnt.runs,
        "works": made.works,
        "exposure": exposure(made.policy, asked(learnt.prepared.request)).total,
        "tools": list(learnt.run.tools),
        "called": [{"tool": one.tool, "how": one.how, "said": clean(one.said)} for one in learnt.run.called],
        "granted": [one.row() for one in learnt.granted],
        "declined": [one.row() for one in learnt.declined],
        "left": [one.row() for one in learnt.left],
        "profile": made.text,
    }


# --- the difference --------------------------------------------------------------------------------------


def _differs(args: argparse.Namespace, wish: Wish, calls: list[tuple[str, dict[str, Any]]]) -> int:
    from sandbox.learn.study import study
    from sandbox.learn.wants import unused

    learnt = study(_order(args, replace(wish, profile=args.diff), calls))
    more = [one for one in (*learnt.granted, *learnt.declined, *learnt.left) if one.counts]
    less = unused(learnt.run.seen, learnt.prepared.policy, learnt.prepared.spec)
    if args.json:
        rows = {"more": [one.row() for one in more], "less": [one.row() for one in less]}
        document({"profile": args.diff, "runs": learnt.runs, "silence": learnt.run.silence, **rows})
    else:
        for sign, found in (("+", more), ("-", less)):
            for one in found:
                emit(harmless(f"{sign} {one.key} `{one.value}`: {one.why}").replace("\n", "\\n"))
    if learnt.run.silence:
        note(f"warning: not-learnt\n  the server did not answer to the end: {learnt.run.silence}")
    return FOUND if more or learnt.run.silence else 0


# --- a person --------------------------------------------------------------------------------------------


def _asked(want: Want) -> bool:
    """A person's yes at a terminal; nobody's elsewhere."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return False
    from sandbox.cli.typed import typed
    from sandbox.learn.wants import HOST, WRITE

    offer = {HOST: "let it connect", WRITE: "let it change that"}.get(want.key, "let it read that")
    shown = harmless(f"`{want.value}`: {want.why}").replace("\n", "\\n").replace("\t", "\\t")
    return typed(f"{shown}. {offer}? [y/N] ").lower() in ("y", "yes")
