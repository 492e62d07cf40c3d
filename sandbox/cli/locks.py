"""`mcp-sandbox lock --list` and `--remove`: the locks that count here."""

from __future__ import annotations

import os
import sys
from typing import Any

from sandbox.cli.output import document, emit, harmless, note
from sandbox.errors import UsageError
from sandbox.locks import Here, here

COLUMNS = ("NAME", "STATE", "KIND", "PROFILE", "FILE")


def show(*, as_json: bool) -> int:
    """0; 1 where one of them would not start."""
    found = here(os.environ, os.getcwd())
    if as_json:
        document({"locks": [_row(one) for one in found]})
    elif not found:
        note("nothing is locked here")
    else:
        _table(found)
    return 1 if any(one.fault for one in found) else 0


def _row(one: Here) -> dict[str, Any]:
    lock = one.lock
    return {
        "name": one.name,
        "state": one.fault or "ok",
        "file": one.path,
        "kind": lock.kind if lock else None,
        "profile": lock.profile if lock else None,
        "asked": list(lock.asked) if lock else [],
        "made": lock.made if lock else None,
        "by": lock.by if lock else None,
        "trees": [tree.digest for tree in lock.trees] if lock else [],
        "unchecked": list(lock.unchecked) if lock else [],
    }


def _table(found: list[Here]) -> None:
    rows = [COLUMNS, *(_cells(one) for one in found)]
    wide = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        emit("  ".join(f"{text:<{width}}" for text, width in zip(row, wide, strict=True)).rstrip())


def _cells(one: Here) -> tuple[str, ...]:
    kind, profile = (one.lock.kind, one.lock.profile) if one.lock else ("-", "-")
    return tuple(map(harmless, (one.name, one.fault or "ok", kind, profile, one.path)))


def remove(name: str, *, yes: bool) -> int:
    """0 when it is gone, 1 when the person said no."""
    from sandbox.cli.typed import typed
    from sandbox.supply.accepted import PREVIOUS, drop

    one = named(name)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            what = "what is removed holds no more, and there is no terminal to ask at"
            raise UsageError("no-terminal", what, hint="run it in a terminal of your own, or add `--yes`")
        note(f"without `{one.path}` the newest version starts, whatever it is")
        if typed("remove it? type `yes`: ") != "yes":
            note("nothing was removed")
            return 1
    drop(one.path, os.environ)
    drop(one.path + PREVIOUS, os.environ)
    emit(f"removed: {harmless(one.path)}")
    return 0


def named(name: str) -> Here:
    """The lock that counts here under that name, the project's before the user's."""
    found = [one for one in here(os.environ, os.getcwd()) if one.name == name]
    if not found:
        raise UsageError("no-such-lock", f"no lock is called `{name}`", hint="mcp-sandbox lock --list")
    return found[0]
