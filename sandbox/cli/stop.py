"""`mcp-sandbox stop`: ends running sandboxes, whole, and says what became of each."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict

from sandbox import leases
from sandbox.cli import which
from sandbox.cli.columns import cell
from sandbox.cli.output import document, emit, note
from sandbox.errors import UsageError
from sandbox.leases import Lease
from sandbox.stopping import Stopped, stop

EPILOG = """examples:
  mcp-sandbox stop github
  mcp-sandbox stop --all"""
_LONG = 100
_SAID = {
    "stopped": "stopped",
    "killed": "killed, since it did not end when it was asked to:",
    "gone": "had ended already:",
    "stays": "could not end",
}


def parser() -> argparse.ArgumentParser:
    """The arguments of `stop`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox stop",
        description="End running sandboxes of yours: asked first, killed after three seconds.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a server's name, a session or its beginning, or the PID that `ps` shows"
    built.add_argument("name", nargs="*", metavar="NAME|SESSION|PID", help=what)
    built.add_argument("--all", action="store_true", help="every sandbox of yours")
    built.add_argument("--json", action="store_true", help="one JSON document")
    return built


def main(args: argparse.Namespace) -> int:
    """0 where all that was named has ended and nothing of it is left, else 1."""
    found = leases.every(os.environ)
    done = stop(_chosen(args, found), os.environ)
    if args.json:
        document({"sessions": [asdict(one) for one in done]})
    else:
        _print(done)
    return 0 if all(one.clean and one.how != "stays" for one in done) else 1


def _chosen(args: argparse.Namespace, found: list[Lease]) -> list[Lease]:
    if args.all == bool(args.name):
        what = "name the sandboxes to stop, or `--all`, and not both"
        raise UsageError("nothing-named", what, hint="mcp-sandbox ps")
    if args.all:
        return found
    # A dict keeps one that was named twice from being told of twice.
    chosen = {lease.session: lease for lease in (which.one(word, found, "stop") for word in args.name)}
    return list(chosen.values())


def _print(done: list[Stopped]) -> None:
    if not done:
        note("no sandbox of yours is running")
    for one in done:
        emit(f"{_SAID[one.how]} {cell(one.server)} ({cell(one.session, _LONG)}, pid {one.pid})")
        if not one.clean and one.how != "stays":
            note(f"warning: left-behind\n  something of `{cell(one.session, _LONG)}` could not be removed")
    if any(not one.clean for one in done):
        note("\nhint: mcp-sandbox ps --prune")
