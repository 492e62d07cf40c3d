"""`mcp-sandbox answer`: a person decides about calls that wait, at a terminal."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from sandbox import control, leases
from sandbox.cli import which
from sandbox.cli.columns import cell
from sandbox.cli.output import document, emit, note, paint
from sandbox.cli.typed import typed
from sandbox.errors import UsageError

EPILOG = """examples:
  mcp-sandbox answer               what waits now, one after the other
  mcp-sandbox answer --follow      and what comes, until you end it
  mcp-sandbox answer --list"""
LOOK_S = 0.5
_LONG = 100


def parser() -> argparse.ArgumentParser:
    """The arguments of `answer`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox answer",
        description="Decide about calls that wait for a person; without an answer in time they are refused.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a server's name, a session or its beginning, or the PID that `ps` shows (all unless given)"
    built.add_argument("name", nargs="?", metavar="NAME|SESSION|PID", help=what)
    built.add_argument("--follow", action="store_true", help="go on asking about what comes")
    built.add_argument("--list", action="store_true", help="show what waits, and ask nothing")
    built.add_argument("--json", action="store_true", help="`--list` as one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """0 when every question shown was answered in time, 1 where one was closed by then."""
    if args.list or args.json:
        _list([*_waiting(args.name)], as_json=args.json)
        return 0
    _refuse_without_terminal()
    late, shown = 0, set[str]()
    while True:
        new = [one for one in _waiting(args.name) if one["question"] not in shown]
        for one in new:
            shown.add(one["question"])
            late += not _decide(one)
        if not args.follow:
            break
        time.sleep(LOOK_S)
    if not shown:
        emit("nothing waits for an answer")
    return 1 if late else 0


def _refuse_without_terminal() -> None:
    """A pipe is how a program answers, and a program (a model in a shell) must not answer for a person."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        what = "`answer` asks a person, and there is no terminal to ask at"
        raise UsageError("no-terminal", what, hint="run `mcp-sandbox answer` in a terminal of your own")


def _waiting(name: str | None) -> Iterator[dict[str, Any]]:
    """What waits in this user's sessions, each with its session and server."""
    living = [one for one in leases.every(os.environ) if one.lives]
    if name is not None:
        living = [which.one(name, living, "answer")]
    told = control.ask([one.session for one in living], "questions", os.environ)
    for lease in living:
        questions = told.get(lease.session, {}).get("questions")
        for one in questions if type(questions) is list else []:
            yield {"server": lease.server, "session": lease.session, **one}


def _list(waiting: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        document({"questions": waiting})
        return
    for one in waiting:
        asked = "at its client too" if one["asked"] == "client" else "here"
        what = f"{cell(one['server'])}: {cell(one['what'], _LONG)}"
        emit(f"{what}, by {cell(one['rule'], _LONG)}, asked {asked}, {one['left']:g} s left")
    if not waiting:
        emit("nothing waits for an answer")


def _decide(one: dict[str, Any]) -> bool:
    """Shows one question and passes the answer on; whether it was in time, or there was none."""
    told = _asked(one, "question")
    if (text := told.get("text")) is None:
        return True  # answered elsewhere before it was shown
    note(f"\n{paint(cell(one['server']), 'bold', sys.stderr)} ({cell(one['session'], _LONG)})\n{text}")
    said = typed(f"{one['left']:g} s left; type `allow` or `refuse` (anything else leaves it waiting): ")
    if said not in ("allow", "refuse"):
        return True
    if _asked(one, "answer", {"yes": said == "allow"}).get("answered") is True:
        return True
    note("error: too-late\n  the question is closed: answered elsewhere, cancelled, or its time is over")
    return False


def _asked(one: dict[str, Any], word: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    given = {"question": one["question"], **(more or {})}
    return control.ask([one["session"]], word, os.environ, given=given).get(one["session"], {})
