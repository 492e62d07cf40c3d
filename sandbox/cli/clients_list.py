"""`mcp-sandbox clients list`: which clients' files there are, and how many of their servers are contained."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sandbox.cli.clients_found import around, configs, files, is_chosen, shown
from sandbox.cli.columns import cell
from sandbox.cli.output import document, emit

if TYPE_CHECKING:
    from sandbox.clients.gather import Config
    from sandbox.errors import SandboxError

COLUMNS = ("CLIENT", "SERVERS", "CONTAINED", "SCOPE", "FILE")


def add(_parser: argparse.ArgumentParser) -> None:
    """It has no options of its own."""


def main(args: argparse.Namespace) -> int:
    """0; 1 where a file could not be read."""
    failed: list[tuple[Any, SandboxError]] = []
    found = [_described(args, one) for one in configs(files(args), failed)]
    if args.json:
        faults = [{"client": one.row.id, "path": one.path, "fault": error.what} for one, error in failed]
        document({"files": found, "unreadable": faults})
    else:
        _print(found)
    return 1 if failed else 0


def _described(args: argparse.Namespace, config: Config) -> dict[str, Any]:
    from sandbox.clients.gather import contained

    found, here = config.found, around()
    servers = [
        {
            "name": entry.name,
            "kind": entry.kind,
            "disabled": entry.disabled,
            "contained": contained(entry, found, here),
        }
        for entry in config.entries
        if is_chosen(args, entry)
    ]
    head = {"client": found.row.id, "name": found.row.name, "scope": found.scope, "path": found.path}
    return {**head, "real": found.real, "format": found.format, "servers": servers}


def _print(found: list[dict[str, Any]]) -> None:
    if not found:
        emit("no client's file was found")
        return
    rows = [COLUMNS, *(_row(one) for one in found)]
    wide = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        emit("  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=True)).rstrip())
    servers = [server for one in found for server in one["servers"]]
    contained = sum(server["contained"] for server in servers)
    emit(f"{contained} of {len(servers)} servers contained")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    contained = sum(server["contained"] for server in one["servers"])
    return (
        cell(one["name"]),
        str(len(one["servers"])),
        str(contained),
        one["scope"],
        shown(one["path"]),
    )
