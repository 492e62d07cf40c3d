"""Programs that stay where they are: measured when they are locked, and held against that at each start."""

from __future__ import annotations

import os

from sandbox.errors import SandboxNotBuilt
from sandbox.supply.in_place import measured, unchanged
from sandbox.supply.lock import Place

BESIDE = frozenset({".git", ".mcp-sandbox"})
"""At a place's top: what changes with every look at a checkout, the lock that would be part of itself, and
what no program is made of."""
HINT = "mcp-sandbox update"
_COMMIT_LETTERS = frozenset("0123456789abcdef")
_SMALL = 4096
_PACKED = 8 << 20
_UP = 16


def place(path: str, notes: str) -> Place:
    """The file or directory as it is now; `notes` is a directory of ours where its list is kept."""
    digest, files, _ = measured(path, without=BESIDE, notes=notes)
    return Place(path, digest, files, commit(path))


def check(
    locked: tuple[Place, ...], needed: tuple[str, ...], notes: str, *, name: str = "", deep: bool = False
) -> None:
    """Each place is what it was, and the command needs no other; raises naming the path.

    `deep` reads every byte; without, only files whose stamp is another are read again. `name`: the lock's.
    """
    hint = f"{HINT} {name}".rstrip()
    known = {one.path for one in locked}
    for path in needed:
        if path not in known:
            raise SandboxNotBuilt(
                "place-changed",
                f"the command starts from `{path}` too, which was not locked with it",
                rule="a locked program starts from the places that were locked",
                hint=hint,
            )
    for one in locked:
        _hold(one, notes, hint, deep=deep)


def _hold(one: Place, notes: str, hint: str, *, deep: bool) -> None:
    if deep and measured(one.path, without=BESIDE)[0] == one.digest:
        return
    unchanged(one.path, one.digest, notes, without=BESIDE, hint=hint)
    if deep:  # its stamps say that nothing changed, and they are no proof
        raise SandboxNotBuilt(
            "tree-changed", f"`{one.path}` has other bytes behind the same stamps", hint=HINT
        )


# --- git -------------------------------------------------------------------------------------------


def commit(path: str) -> str:
    """The commit that the checkout around `path` stands at, read and never run; empty where there is none."""
    here = path
    for _ in range(_UP):
        folder = _git_folder(f"{here}/.git")
        if folder:
            return _head(folder)
        if here == "/":
            break
        here = os.path.dirname(here)
    return ""


def _git_folder(path: str) -> str:
    """The repository's own directory: a worktree and a submodule name it in a file."""
    if os.path.isdir(path):
        return path
    text = _read(path, _SMALL)
    if not text.startswith("gitdir: "):
        return ""
    named = text.removeprefix("gitdir: ").strip()
    return os.path.normpath(os.path.join(os.path.dirname(path), named))


def _head(folder: str) -> str:
    head = _read(f"{folder}/HEAD", _SMALL).strip()
    if not head.startswith("ref: "):
        return _hash(head)
    ref = head.removeprefix("ref: ").strip()
    if ".." in ref.split("/") or not ref.startswith("refs/"):
        return ""
    shared = _read(f"{folder}/commondir", _SMALL).strip()  # of a worktree: branches are the repository's
    places = [folder, *([os.path.normpath(os.path.join(folder, shared))] if shared else [])]
    found = [_hash(_read(f"{one}/{ref}", _SMALL).strip()) or _packed(one, ref) for one in places]
    return next(filter(None, found), "")


def _packed(folder: str, ref: str) -> str:
    for line in _read(f"{folder}/packed-refs", _PACKED).splitlines():
        value, _, name = line.partition(" ")
        if name == ref:
            return _hash(value)
    return ""


def _hash(text: str) -> str:
    """SHA-1 or SHA-256 in hexadecimal; whatever else a file holds stays where it is."""
    return text if len(text) in (40, 64) and _COMMIT_LETTERS.issuperset(text) else ""


def _read(path: str, most: int) -> str:
    """The first bytes of a regular file; nothing of anything else."""
    try:
        # Whoever made the checkout may have put a pipe there.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            return file.read(most).decode("utf-8", "replace") if os.path.isfile(path) else ""
    except (OSError, ValueError):
        return ""
