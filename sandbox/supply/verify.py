"""A tree is what it was: by stamps at each start, by every byte where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from sandbox.errors import SandboxNotBuilt
from sandbox.records import dataclass, field
from sandbox.supply import manifest, stamps
from sandbox.supply.compared import SEALED, Changed, Wanted, compare
from sandbox.supply.store import Store

RULE = "a locked server starts only from the very files that were locked"
REPAIR = "mcp-sandbox store verify --remove"


@dataclass(frozen=True, slots=True)
class Listed:
    """A tree, and where its list and its stamps are."""

    root: str
    digest: str
    manifest: str
    stamps: str
    modes: Mapping[bytes, int] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    hint: str = REPAIR


def verify(store: Store, digest: str, *, deep: bool = False) -> None:
    """The tree of that digest is there and unchanged, else `tree-gone` or `tree-changed` naming the path.

    `deep` reads every byte; without, a file is read again only where its stamp is another.
    """
    place, tree = store.place(digest), store.tree(digest)
    listed = Listed(tree, digest, f"{place}/manifest", f"{place}/stamps", SEALED)
    if os.path.islink(place):
        raise refusal(listed, Changed(b".", "lies elsewhere: a link has its place"))
    try:
        check(listed, {} if deep else None)
    except FileNotFoundError as error:
        what = f"the package store has no tree `{digest[:16]}` any more"
        raise SandboxNotBuilt("tree-gone", what, rule=RULE, hint=REPAIR) from error


def check(listed: Listed, known: Mapping[bytes, stamps.Stamp] | None = None) -> None:
    """The tree is as its list says, else `tree-changed`; where no stamps are `known`, the kept ones are.

    FileNotFoundError where the tree or its list is not there at all.
    """
    try:
        with _opened(listed.root) as root:
            kept = stamps.read(listed.stamps, listed.digest) if known is None else None
            if kept is None or not stamps.same(kept, listed.manifest, root):
                _look(root, listed, stamps.by_path(kept) if kept else known or {})
    except FileNotFoundError:
        raise
    except Changed as error:
        raise refusal(listed, error) from error
    except OSError as error:
        raise refusal(listed, Changed(b".", f"cannot be read: {error.strerror}")) from error


def refusal(listed: Listed, error: Changed) -> SandboxNotBuilt:
    """`tree-changed`, with the path and what is wrong with it."""
    if not error.path:
        where = listed.manifest
    else:
        where = listed.root if error.path == b"." else f"{listed.root}/{manifest.shown(error.path)}"
    return SandboxNotBuilt("tree-changed", f"`{where}` {error.how}", rule=RULE, hint=listed.hint)


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """The directory itself: no link in its place is followed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _look(root: int, listed: Listed, known: Mapping[bytes, stamps.Stamp]) -> None:
    """Every record holds; what was seen is kept for the next time."""
    at_first = stamps.of(os.stat(listed.manifest, follow_symlinks=False))
    wanted = Wanted(_records(listed), listed.modes, listed.without)
    seen = list(compare(root, wanted, known))
    remember(listed, [path for path, _ in seen[1:]], [at_first, *(stamp for _, stamp in seen)])


def _records(listed: Listed) -> list[manifest.Record]:
    import hashlib  # long, and only where a stamp is another

    with open(listed.manifest, "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest() != listed.digest:
        raise Changed(b"", "is not the list of that tree")
    try:
        return manifest.parse(content)
    except ValueError as error:
        raise Changed(b"", f"is no list of ours: {error}") from error


def remember(listed: Listed, paths: list[bytes], seen: list[stamps.Stamp]) -> None:
    """The stamps are kept; where nothing can be written, every start reads everything."""
    part = f"{listed.stamps}.{os.getpid()}"
    with suppress(OSError, OverflowError):
        try:
            with open(part, "wb") as file:
                file.write(stamps.spell(listed.digest, paths, seen))
            os.rename(part, listed.stamps)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(part)
