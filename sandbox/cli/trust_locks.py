"""`mcp-sandbox trust` for locks: what one says is shown, and the very bytes that were shown are accepted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from sandbox.cli.lock_words import contents
from sandbox.cli.output import note
from sandbox.errors import UsageError
from sandbox.policy import search
from sandbox.supply import accepted
from sandbox.supply.lock import SUFFIX, Lock
from sandbox.supply.lock_text import parse

Shown = dict[str, bytes]
"""By real path, the bytes that a person is shown."""


def is_lock(path: str) -> bool:
    """The file of a lock, by its name."""
    return path.endswith((SUFFIX, SUFFIX + accepted.PREVIOUS))


def pending(path: str | None) -> Shown:
    """The locks that are not accepted as they are: the one that is named, or those of a directory."""
    known = accepted.every(os.environ)
    found = {os.path.realpath(one): accepted.content(one) for one in named(path)}
    return {
        real: raw
        for real, raw in found.items()
        if real not in known or accepted.digest(raw) not in known[real].hashes
    }


def named(path: str | None) -> list[str]:
    """The files of the locks that are meant, whether anybody accepted them or not."""
    from sandbox.locks import files_in

    if path is None:
        around = search.places(os.environ, os.getcwd())
        return [one for kind, directory in around if kind == "project" for one in files_in(directory)]
    if not os.path.isdir(path):
        return [os.path.abspath(path)] if is_lock(path) else []
    inner = os.path.join(path, search.PROJECT_DIR)
    return files_in(os.path.abspath(inner if os.path.isdir(inner) else path))


def refuse_elsewhere(shown: Shown) -> None:
    """Only where starts look for it does a lock count."""
    for path in shown:
        user = os.path.realpath(accepted.user_dir(os.environ))
        if os.path.basename(os.path.dirname(path)) != search.PROJECT_DIR and os.path.dirname(path) != user:
            what = f"no start looks for a lock at `{path}`"
            raise UsageError("nothing-to-trust", what, hint=f"put it into a `{search.PROJECT_DIR}` directory")


def show(path: str, raw: bytes) -> None:
    """All that decides what starts, in few lines."""
    note(f"--- {path}")
    for line in _lines(parse(raw.decode("utf-8", "replace"), path)):
        note(f"    {line}")
    note("")


def _lines(lock: Lock) -> Iterator[str]:
    yield f"{lock.name}: {' '.join(lock.command)}"
    yield f"locked {lock.made} by {lock.by}, for profile {lock.profile}"
    yield f"starts for: {', '.join(lock.keys) or 'nothing: `rollback` goes back to it'}"
    yield from contents(lock)
    yield from (f"{one.what}, allowed by {one.by}" for one in (*lock.scripts, *lock.waived))
    if lock.server:
        counts = Counter(one.kind for one in lock.pins)
        yield f"calls itself {lock.server}: {', '.join(f'{count} {kind}' for kind, count in counts.items())}"
    yield from (f"not checked: {sentence}" for sentence in lock.unchecked)


def accept(shown: Shown) -> None:
    """From now on starts are held to them."""
    for path, raw in shown.items():
        accepted.accept(path, raw, os.environ)
