"""How a change of a client's file is shown: server by server, and without anybody's secrets."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sandbox.cli.clients_found import titled
from sandbox.cli.output import emit, harmless, paint

if TYPE_CHECKING:
    from sandbox.clients.changing import Change, Plan


def show(plan: Plan) -> None:
    """Every server of a file that changes, and why others do not."""
    told = [(entry, left) for entry, left in plan.left if not left.contained]
    if not plan.changes and not told:
        return
    emit(paint(titled(plan.config.found), "bold", sys.stdout))
    for change in plan.changes:
        emit(f"  {one_line(change.entry.name)}{' (disabled)' if change.entry.disabled else ''}")
        emit(paint(f"  - {command_line(change.before)}", "red", sys.stdout))
        emit(paint(f"  + {command_line(change.after)}", "green", sys.stdout))
        if moved := [name for name in dict(change.entry.env) if name not in dict(change.then.env)]:
            emit(f"    out of its variables: {one_line(', '.join(moved))}")
        if back := [name for name in dict(change.then.env) if name not in dict(change.entry.env)]:
            emit(f"    now among its variables: {one_line(', '.join(back))}")
        for text in change.notes:
            emit(paint(f"    {one_line(text)}", "yellow", sys.stdout))
    for entry, left in told:
        emit(f"  {one_line(entry.name)}: left as it is: {one_line(left.why)}")
    for path, _ in plan.profiles:
        emit(f"  a profile is written: {one_line(path)}")
    emit("")


def command_line(words: Sequence[str]) -> str:
    """A command as a shell would take it, credentials masked, on one line."""
    from sandbox.clients.credential import masked

    return one_line(" ".join(word if _plain(word) else shlex.quote(word) for word in masked(words)))


def _plain(word: str) -> bool:
    # `${VAR}` is the client's, and reads worse in quotes.
    return bool(word) and all(char.isalnum() or char in "@%+=:,./-_${}~•" for char in word)


def one_line(text: str) -> str:
    """What a file has chosen can neither drive the terminal nor begin a line of its own."""
    return harmless(text).replace("\n", "\\n").replace("\t", "\\t")


def described(plan: Plan, *, done: bool) -> dict[str, Any]:
    """A file's changes for `--json`."""
    found = plan.config.found
    return {
        "client": found.row.id,
        "scope": found.scope,
        "path": found.path,
        "changed": done and bool(plan.changes),
        "servers": [_server(change) for change in plan.changes],
        "left": [
            {"name": entry.name, "why": left.why, "contained": left.contained} for entry, left in plan.left
        ],
        "profiles": [path for path, _ in plan.profiles],
    }


def _server(change: Change) -> dict[str, Any]:
    from sandbox.clients.credential import masked

    return {
        "name": change.entry.name,
        "before": masked(change.before),
        "after": masked(change.after),
        "notes": list(change.notes),
    }
