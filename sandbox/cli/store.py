"""`mcp-sandbox store`: the packages that servers start from, who uses them, and whether they are whole."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.cli.columns import NOTHING, cell, since, size
from sandbox.cli.output import document, emit, note
from sandbox.cli.typed import typed
from sandbox.errors import SandboxNotBuilt, UsageError
from sandbox.places import cache_dir
from sandbox.policy import quota
from sandbox.records import names
from sandbox.supply import accepted
from sandbox.supply.prune import Kept, discard, prune, trees, unused
from sandbox.supply.store import Store
from sandbox.supply.verify import verify

EPILOG = """examples:
  mcp-sandbox store list
  mcp-sandbox store prune --older-than 30d
  mcp-sandbox store verify"""
FOUND = 1
_COLUMNS = ("TREE", "PACKAGES", "LOCKS", "FILES", "SIZE", "SHARED", "USED")
_WIDE = 60


def parser() -> argparse.ArgumentParser:
    """The arguments of `store`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox store",
        description="Show, verify and remove the packages that servers start from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = built.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="every tree, what it holds, and which locks and requests use it")
    pruned = actions.add_parser("prune", help="remove what no lock, no request and no running server uses")
    what = "also what no lock names and no start has used for so long, such as 30d"
    pruned.add_argument("--older-than", metavar="TIME", help=what)
    pruned.add_argument("--yes", action="store_true", help="remove without asking")
    verified = actions.add_parser("verify", help="read every file of every tree, and name what was changed")
    verified.add_argument("--remove", action="store_true", help="remove those: a start builds them again")
    for action in (listed, pruned, verified):
        action.add_argument("--json", action="store_true", help="one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """0; 1 where `verify` found a tree that was changed."""
    store = Store(os.path.join(cache_dir(os.environ), "store"))
    store.check_owner()
    return {"list": _list, "prune": _prune, "verify": _verify}[args.action](store, args)


def _list(store: Store, args: argparse.Namespace) -> int:
    found = trees(store, accepted.kept(os.environ))
    if args.json:
        document({"store": store.root, "trees": [_plain(one) for one in found]})
        return 0
    _table(found)
    return 0


def _plain(one: Kept) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names(one)}


def _table(found: Sequence[Kept]) -> None:
    if not found:
        note("the package store is empty")
        return
    rows = [_COLUMNS, *(_row(one) for one in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        emit("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _row(one: Kept) -> tuple[str, ...]:
    used = "running" if one.running else since(max(0.0, time.time() - one.used))
    return (
        one.digest[:16],
        cell(", ".join(one.packages), _WIDE),
        cell(", ".join(one.locks), _WIDE),
        str(one.files),
        size(one.size),
        size(one.shared) if one.shared else NOTHING,
        used,
    )


def _prune(store: Store, args: argparse.Namespace) -> int:
    chosen = unused(trees(store, accepted.kept(os.environ)), now=time.time(), older=_older(args.older_than))
    if chosen and not args.json:
        _table(chosen)
    if chosen and not (args.yes or _agreed(len(chosen))):
        note("nothing was removed")
        return 0
    gone = prune(store, chosen)
    if args.json:
        document({"store": store.root, "removed": [_plain(one) for one in gone]})
        return 0
    emit(f"removed {len(gone)} trees, {size(sum(one.size - one.shared for one in gone))}")
    return 0


def _older(text: str | None) -> float | None:
    try:
        return None if text is None else quota.duration(text)
    except ValueError as error:
        hint = "mcp-sandbox store prune --older-than 30d"
        raise UsageError("bad-option", f"`--older-than {text}`: {error}", hint=hint) from error


def _agreed(count: int) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        what = "`store prune` asks before it removes, and there is no terminal to ask at"
        raise UsageError("no-terminal", what, hint="mcp-sandbox store prune --yes")
    return typed(f"remove {'this tree' if count == 1 else f'these {count} trees'}? type `yes`: ") == "yes"


def _verify(store: Store, args: argparse.Namespace) -> int:
    faults: dict[str, str] = {}
    found = trees(store, accepted.kept(os.environ))
    for one in found:
        try:
            verify(store, one.digest, deep=True)
        except SandboxNotBuilt as error:
            if os.path.isdir(store.tree(one.digest)):  # else it was pruned while we read it
                faults[one.digest] = error.what
    gone = [digest for digest in faults if args.remove and discard(store, digest)]
    if args.json:
        document({"store": store.root, "trees": [_judged(one, faults, gone) for one in found]})
    else:
        _tell(found, faults, gone)
    return FOUND if faults else 0


def _judged(one: Kept, faults: Mapping[str, str], gone: Sequence[str]) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "packages": one.packages,
        "locks": one.locks,
        "whole": one.digest not in faults,
        "fault": faults.get(one.digest),
        "removed": one.digest in gone,
    }


def _tell(found: Sequence[Kept], faults: Mapping[str, str], gone: Sequence[str]) -> None:
    for one in found:
        word = "removed" if one.digest in gone else "changed" if one.digest in faults else "whole"
        what = ", ".join((*one.locks, *one.packages))
        emit(f"{word:<8} {one.digest[:16]}  {one.files:>6} files {size(one.size):>6}  {cell(what, _WIDE)}")
        if one.digest in faults:
            emit(f"         {cell(faults[one.digest], 1000)}")
    if len(faults) > len(gone):
        note("\nhint: mcp-sandbox store verify --remove")
