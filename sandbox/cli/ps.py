"""`mcp-sandbox ps`: which servers run in a sandbox, and the removal of what killed ones left."""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from sandbox import leases
from sandbox.cli.output import document, emit, harmless, note

EPILOG = """examples:
  mcp-sandbox ps
  mcp-sandbox ps --prune"""
COLUMNS = ("SERVER", "PROFILE", "BACKEND", "PID", "UP", "SESSION", "CONTAINER")


def parser() -> argparse.ArgumentParser:
    """The arguments of `ps`."""
    built = argparse.ArgumentParser(
        prog="mcp-sandbox ps",
        description="Show your running sandboxes, of every backend.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    what = "remove what killed sessions and builds left: containers, staged files, mounts, cgroups, leases"
    built.add_argument("--prune", action="store_true", help=what)
    return built


def main(args: argparse.Namespace) -> int:
    """0; 1 where `--prune` could not remove something."""
    pruned = _prune() if args.prune else []
    found = leases.every(os.environ)
    sessions = [session(one, uptime()) for one in found]
    if args.json:
        document({"sessions": sessions, "removed": pruned} if args.prune else {"sessions": sessions})
    else:
        _print(sessions, pruned)
    return 0 if all(one["gone"] for one in pruned) else 1


def _prune() -> list[dict[str, Any]]:
    from dataclasses import asdict

    from sandbox.prune import prune

    return [asdict(one) for one in prune(os.environ)]


def session(lease: leases.Lease, now: float) -> dict[str, Any]:
    """What a lease says of its session, `now` seconds after the boot."""
    since = max(0.0, now - lease.started / os.sysconf("SC_CLK_TCK"))
    return {
        "server": lease.server,
        "session": lease.session,
        "state": "running" if lease.lives else "left behind",
        "backend": lease.backend,
        "profile": lease.profile,
        "pid": lease.pid,
        "uptime": round(since, 1),
        "container": lease.containers[0] if lease.containers else None,
    }


def uptime() -> float:
    """Seconds since the boot, as the start times of processes count them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _print(sessions: list[dict[str, Any]], pruned: list[dict[str, Any]]) -> None:
    for one in pruned:
        words = "removed" if one["gone"] else "could not remove"
        emit(harmless(f"{words} {one['kind']} {one['name']}"))
    rows = [COLUMNS, *(row(one) for one in sessions)]
    widths = [max(len(one[column]) for one in rows) for column in range(len(COLUMNS))]
    for line in rows if sessions else []:
        columns = (word.ljust(width) for word, width in zip(line, widths, strict=True))
        emit(harmless("  ".join(columns).rstrip()))
    if not sessions:
        note("no sandbox of yours is running")
    if any(one["state"] != "running" for one in sessions):
        note("\nhint: mcp-sandbox ps --prune")


def row(one: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table."""
    up = since(one["uptime"]) if one["state"] == "running" else one["state"]
    return (
        one["server"] or "-",
        one["profile"] or "-",
        one["backend"],
        str(one["pid"]),
        up,
        one["session"],
        one["container"] or "-",
    )


def since(seconds: float) -> str:
    """`12s`, `3m 05s`, `2h 07m`, `4d 01h`: two units at most."""
    whole = int(seconds)
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size}{unit} {whole % size // part:02d}{below}"
    return f"{whole}s"
