"""`mcp-sandbox resume`: lets a sandbox go on that was frozen at a breach."""

from __future__ import annotations

import argparse
import os

from sandbox import control, leases
from sandbox.cli import which
from sandbox.cli.columns import cell
from sandbox.cli.output import emit, note

EPILOG = "example: mcp-sandbox resume github"
_LONG = 100


def parser() -> argparse.ArgumentParser:
    """The arguments of `resume`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox resume",
        description="Let a sandbox go on that `[breach]` froze; without an answer in time it is killed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = "a server's name, a session or its beginning, or the PID that `ps` shows"
    built.add_argument("name", metavar="NAME|SESSION|PID", help=what)
    return built


def main(args: argparse.Namespace) -> int:
    """0 where it goes on, 1 where it was not frozen or does not answer."""
    living = [one for one in leases.every(os.environ) if one.lives]
    lease = which.one(args.name, living, "resume")
    answer = control.ask([lease.session], "resume", os.environ).get(lease.session)
    shown = f"{cell(lease.server)} ({cell(lease.session, _LONG)})"
    if answer is None:
        note(f"error: no-answer\n  {shown} does not answer\n\nhint: mcp-sandbox stop {lease.session}")
        return 1
    if answer.get("resumed") is not True:
        note(f"error: not-frozen\n  {shown} is not frozen\n\nhint: mcp-sandbox ps")
        return 1
    emit(f"goes on: {shown}")
    return 0
