"""A tree is what it was: by stamps at each start, by every byte where that is asked for."""

from __future__ import annotations

from sandbox.supply.store import Store


def verify(store: Store, digest: str, *, deep: bool = False) -> None:
    """The tree of that digest is there and unchanged, else `tree-gone` or `tree-changed` naming the path.

    `deep` reads every byte; without, a file is read again only where its stamp is another.
    """
    raise NotImplementedError


def measured(path: str, *, without: frozenset[str] = frozenset()) -> tuple[str, int, int]:
    """Digest, number of files and bytes of the file or directory, which nothing of this changes.

    `without`: names at its top that do not count, such as `.git`.
    """
    raise NotImplementedError


def unchanged(path: str, digest: str, notes: str, *, without: frozenset[str] = frozenset()) -> None:
    """`path` still measures as `digest`, else `tree-changed` naming what differs.

    `notes` is a directory of ours in which stamps are kept, so that the next look is cheap.
    """
    raise NotImplementedError
