"""`mcp-sandbox ps`: which servers run in a sandbox, and the removal of what killed ones left."""

from __future__ import annotations

import argparse
import os
from typing import Any

from sandbox import status
from sandbox.cli.columns import COLUMNS, NOTHING, NUMBERS, cell, row
from sandbox.cli.output import document, emit, harmless, note

EPILOG = """examples:
  mcp-sandbox ps
  mcp-sandbox ps --prune"""
WIDE = ("SESSION", "CONTAINER")
_LONG = 100


def parser() -> argparse.ArgumentParser:
    """The arguments of `ps`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox ps",
        description="Show your running sandboxes, of every backend: what each uses of its limits, and did.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    built.add_argument("--wide", action="store_true", help="also the session and the container")
    what = "remove what killed sessions and builds left: containers, staged files, mounts, cgroups, leases"
    built.add_argument("--prune", action="store_true", help=what)
    return built


def main(args: argparse.Namespace) -> int:
    """0; 1 where `--prune` could not remove something."""
    pruned = _prune() if args.prune else []
    sessions = status.every(os.environ)
    if args.json:
        document({"sessions": sessions, "removed": pruned} if args.prune else {"sessions": sessions})
    else:
        _print(sessions, pruned, wide=args.wide)
    return 0 if all(one["gone"] for one in pruned) else 1


def _prune() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from sandbox.prune import prune

    return [asdict(one) for one in prune(os.environ)]


def _print(sessions: list[dict[str, Any]], pruned: list[dict[str, Any]], *, wide: bool) -> None:
    for one in pruned:
        words = "removed" if one["gone"] else "could not remove"
        emit(harmless(f"{words} {one['kind']} {one['name']}"))
    for line in table(sessions, wide=wide) if sessions else []:
        emit(line)
    if not sessions:
        note("no sandbox of yours is running")
    if any(one["state"] == "left behind" for one in sessions):
        note("\nhint: mcp-sandbox ps --prune")


def table(sessions: list[dict[str, Any]], *, wide: bool = False) -> list[str]:
    """The lines, each column as wide as its widest cell and numbers to the right."""
    rows = [(*COLUMNS, *(WIDE if wide else ()))]
    rows += [(*row(one), *(_wide(one) if wide else ())) for one in sessions]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(words, widths) for words in rows]


def _wide(one: dict[str, Any]) -> tuple[str, ...]:
    return cell(one["session"], _LONG), cell(one["container"] or NOTHING, _LONG)


def _line(words: tuple[str, ...], widths: list[int]) -> str:
    heads = (*COLUMNS, *WIDE)
    cells = [
        word.rjust(width) if head in NUMBERS else word.ljust(width)
        for word, width, head in zip(words, widths, heads, strict=False)
    ]
    return "  ".join(cells).rstrip()
