"""`mcp-sandbox score`: how exposed a profile leaves this machine, from 0 to 10, and by what."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from sandbox.cli.columns import cell
from sandbox.cli.commanded import Commanded
from sandbox.cli.output import document, emit, paint
from sandbox.errors import ProfileError, SandboxError, UsageError
from sandbox.policy.load import read
from sandbox.policy.model import Policy
from sandbox.policy.score import Score
from sandbox.policy.search import everything

OVER = 1
DETAIL_MAX = 72
EPILOG = """examples:
  mcp-sandbox score github
  mcp-sandbox score --all --threshold 4
  mcp-sandbox score -- npx -y @modelcontextprotocol/server-filesystem ~/notes"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `score`."""
    built = Commanded(
        prog="mcp-sandbox score",
        usage="mcp-sandbox score [options] PROFILE… | --all | -- COMMAND [ARGUMENT…]",
        description="Says how exposed a profile leaves this machine: 0 is nothing, 10 is no sandbox.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("profiles", nargs="*", metavar="PROFILE", help="a profile's name or path")
    built.add_argument("--all", action="store_true", help="every profile that a name can mean")
    built.add_argument("--threshold", type=_points, metavar="N", help="exit 1 where one is above N")
    built.add_argument("--json", action="store_true", help="one JSON document")
    return built


def _points(text: str) -> float:
    value = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
    if not 0 <= value <= 10:
        raise argparse.ArgumentTypeError("a number from 0 to 10")
    return value


def main(args: argparse.Namespace) -> int:
    """0; 1 where a score is above the threshold, or with `--all` where a profile is invalid."""
    scored = _wanted(args)
    faults = _faults() if args.all else []
    if args.json:
        document(_document(scored, faults, args.threshold))
    elif len(scored) == 1 and not args.all:
        _table(*scored[0])
    else:
        _list(scored, faults)
    over = [] if args.threshold is None else [one for one in scored if one[1].total > args.threshold]
    return OVER if over or faults else 0


def _wanted(args: argparse.Namespace) -> list[tuple[Policy, Score]]:
    if sum((bool(args.profiles), args.all, bool(args.command))) != 1:
        raise UsageError(
            "nothing-to-score",
            "name profiles, or `--all`, or a server's command after `--`: one of the three",
            hint="mcp-sandbox score --help",
        )
    if args.command:
        return [_of_command(args.command)]
    names = _sound() if args.all else args.profiles
    return [_of_profile(name) for name in names]


def _of_profile(name: str) -> tuple[Policy, Score]:
    from sandbox.prepared import Wish
    from sandbox.supplied import scored_profile

    policy = _as_run(_read(name))
    return policy, scored_profile(policy, Wish((), dict(os.environ), os.getcwd(), profile=name))


def _as_run(policy: Policy) -> Policy:
    """With the host of a server that runs elsewhere, which its URL grants."""
    if policy.server.url is None:
        return policy
    from sandbox.remote import reached
    from sandbox.remote import read as url_of

    try:
        return reached(policy, url_of(policy.server.url, policy.name), policy.origin("server.url"))
    except SandboxError:
        return policy  # it would not start


def _of_command(words: Sequence[str]) -> tuple[Policy, Score]:
    """What `run -- COMMAND` would grant, with the paths that the command names."""
    from sandbox.choice import choose
    from sandbox.prepared import Wish
    from sandbox.supplied import scored

    wish = Wish(tuple(words), dict(os.environ), os.getcwd())
    chosen = choose(wish)
    return chosen.policy, scored(chosen, wish)


def _read(name: str) -> Policy:
    return read(name, environ=os.environ, cwd=os.getcwd(), trusted_only=False)


def _sound() -> list[str]:
    faulty = {fault["profile"] for fault in _faults()}
    return [one.name for one in everything(os.environ, os.getcwd()) if one.name not in faulty]


def _faults() -> list[dict[str, str]]:
    """The profiles that cannot be read, which have no score."""
    found = []
    for one in everything(os.environ, os.getcwd()):
        try:
            _read(one.name)
        except ProfileError as error:
            found.append({"profile": one.name, "code": error.code, "what": error.what})
    return found


def _document(
    scored: Sequence[tuple[Policy, Score]], faults: list[dict[str, str]], threshold: float | None
) -> dict[str, Any]:
    scores = [
        {
            "profile": policy.name,
            "description": policy.description,
            "exposure": score.total,
            "word": score.word,
            "rows": [_row(row) for row in score.rows],
        }
        for policy, score in scored
    ]
    return {"threshold": threshold, "scores": scores, "faults": faults}


def _row(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("id", "what", "weight", "open", "points", "detail")}


def _table(policy: Policy, score: Score) -> None:
    """Every assessor that adds something, the heaviest first."""
    rows = sorted((row for row in score.rows if row.points), key=lambda row: (-row.points, row.id))
    emit(f"{'EXPOSURE':>8}  {'OF':>4}  {'WHAT IT DOES':<48}  DETAIL")
    for row in rows:
        line = f"{row.points:8.2f}  {row.weight:4.1f}  {row.what:<48}  {cell(row.detail, DETAIL_MAX)}"
        emit(line.rstrip())
    emit("")
    emit(f"{cell(policy.name, 64)}: {score.total:.1f} of 10, {_word(score)}")


def _list(scored: Sequence[tuple[Policy, Score]], faults: list[dict[str, str]]) -> None:
    wide = max((len(policy.name) for policy, _ in scored), default=7)
    emit(f"{'PROFILE':<{wide}}  EXPOSURE")
    for policy, score in sorted(scored, key=lambda one: (-one[1].total, one[0].name)):
        emit(f"{policy.name:<{wide}}  {_total(score)}")
    for fault in faults:
        emit(f"{fault['profile']:<{wide}}  ({fault['code']}: mcp-sandbox check {fault['profile']})")


COLOURS = {"sealed": "green", "narrow": "green", "open": "yellow"}


def _total(score: Score) -> str:
    return f"{score.total:4.1f}  {_word(score)}"


def _word(score: Score) -> str:
    return paint(score.word, COLOURS.get(score.word, "red"), sys.stdout)
