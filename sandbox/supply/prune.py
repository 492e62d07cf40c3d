"""What is in the store, who uses it, and the removal of what nobody does."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from sandbox.records import dataclass
from sandbox.supply.disk import remove, sync_directory
from sandbox.supply.store import Store, entry_of

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KEY = re.compile(r"([0-9a-f]{40})\.json")
OURS = "prune"
"""The key whose staging directories are what is being removed: the next start sweeps what a crash left."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One tree of the store."""

    digest: str
    packages: tuple[str, ...]
    """Of the requests that it answers: names and versions."""
    keys: tuple[str, ...]
    """Those requests."""
    locks: tuple[str, ...]
    """Names of the locks that say it."""
    used: float
    """When a start took it last, in seconds of the clock."""
    running: bool
    """A process holds it."""
    files: int
    size: int
    shared: int
    """Bytes of `size` that other trees have too."""


def trees(store: Store, locked: Mapping[str, Sequence[str]]) -> list[Kept]:
    """Every tree, the one that was used last first."""
    requests = _requests(store)
    names = [name for name in _names(store.root, "trees") if _DIGEST.fullmatch(name)]
    found = [_kept(store, digest, requests.get(digest, {}), locked.get(digest, ())) for digest in names]
    return sorted((one for one in found if one is not None), key=lambda one: -one.used)


def _requests(store: Store) -> dict[str, dict[str, tuple[str, ...]]]:
    """By digest the keys that it answers, and what each was resolved to."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name in _names(store.root, "keys"):
        if match := _KEY.fullmatch(name):
            with suppress(OSError, ValueError), open(os.path.join(store.root, "keys", name), "rb") as opened:
                entry = entry_of(json.load(opened))
                if entry is not None:
                    found.setdefault(entry.digest, {})[match[1]] = entry.resolved
    return found


def _kept(
    store: Store, digest: str, keys: Mapping[str, tuple[str, ...]], locks: Sequence[str]
) -> Kept | None:
    if not os.path.isdir(store.tree(digest)):
        return None
    packages = sorted({name for resolved in keys.values() for name in resolved})
    try:
        used = os.stat(_used(store, digest)).st_mtime
        files, size, shared = sizes(store, digest)
    except FileNotFoundError:
        return None  # removed meanwhile
    who = tuple(sorted(locks))
    return Kept(digest, tuple(packages), tuple(keys), who, used, _is_held(store, digest), files, size, shared)


def _used(store: Store, digest: str) -> str:
    """The file that its last start dated; a tree older than that file has its own date."""
    place = store.place(digest)
    used = os.path.join(place, "used")
    return used if os.path.exists(used) else place


def sizes(store: Store, digest: str) -> tuple[int, int, int]:
    """Files of the tree, their bytes, and how many of these bytes another tree has as well."""
    files = size = 0
    inodes: dict[int, list[int]] = {}
    for status in _files(store.tree(digest)):
        files += 1
        size += status.st_size
        inodes.setdefault(status.st_ino, [0, status.st_nlink, status.st_size])[0] += 1
    # One name of each is the blob's, where it has one.
    shared = sum(bytes_ * here for here, links, bytes_ in inodes.values() if links > here + 1)
    return files, size, shared


def _files(folder: str) -> Iterator[os.stat_result]:
    try:
        found = os.scandir(folder)
    except (PermissionError, NotADirectoryError, FileNotFoundError):
        return  # changed, as `verify` will say, or removed meanwhile
    with found as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.stat(follow_symlinks=False)


def _is_held(store: Store, digest: str) -> bool:
    with _alone(store, digest, os.O_RDWR) as free:
        return not free


@contextmanager
def _alone(store: Store, digest: str, how: int) -> Iterator[bool]:
    """Whether no process uses the tree; while the block lasts none begins to."""
    try:
        fd = os.open(os.path.join(store.place(digest), "used"), how | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        yield True  # nobody ever used it
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def unused(found: Sequence[Kept], *, now: float, older: float | None = None) -> list[Kept]:
    """What may go: without a lock and not running, and no request has it, or none within `older` seconds."""
    free = [one for one in found if not one.locks and not one.running]
    return [one for one in free if not one.keys or (older is not None and one.used < now - older)]


def prune(store: Store, chosen: Sequence[Kept]) -> list[Kept]:
    """The chosen trees that were removed, with their requests and with every file that no tree has any more.

    A tree that somebody began to use meanwhile stays, and so does one that another request has by now.
    """
    with _removing(store):
        return [one for one in chosen if _removed(store, one)]


def discard(store: Store, digest: str) -> bool:
    """The tree that was changed is gone, its requests too, whoever uses it: a start builds it again."""
    with _removing(store):
        for key in _requests(store).get(digest, ()):
            _forget(store, key)
        return _put_aside(store, digest)


@contextmanager
def _removing(store: Store) -> Iterator[None]:
    """What is put aside while the block lasts is gone after it, and so are the files of no tree."""
    store.prepare()
    with store.lock(OURS):
        store.sweep(held=OURS)
        yield
        store.sweep(held=OURS)
        _prune_blobs(store.root)


def _removed(store: Store, one: Kept) -> bool:
    # Made where it is missing: a start that comes now must meet this lock.
    with _alone(store, one.digest, os.O_RDWR | os.O_CREAT) as free:
        others = set(_requests(store).get(one.digest, ())) - set(one.keys)
        if not free or others or not os.path.isdir(store.tree(one.digest)):
            return False
        for key in one.keys:
            _forget(store, key)
        return _put_aside(store, one.digest)


def _forget(store: Store, key: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(store.root, "keys", f"{key}.json"))


def _put_aside(store: Store, digest: str) -> bool:
    """Out of its place in one step; a crash leaves it to the next start's sweep."""
    aside = tempfile.mkdtemp(prefix=f"{OURS}.", dir=os.path.join(store.root, "staging"))
    try:
        os.rename(store.place(digest), os.path.join(aside, "tree"))
    except FileNotFoundError:
        return False
    sync_directory(os.path.join(store.root, "keys"))
    sync_directory(os.path.join(store.root, "trees"))
    return True


def _prune_blobs(root: str) -> None:
    """Blobs that are no tree's file are gone; a build that links one at this moment keeps its name of it."""
    for fold in _names(root, "blobs"):
        for name in _names(root, "blobs", fold):
            path = os.path.join(root, "blobs", fold, name)
            with suppress(FileNotFoundError):
                status = os.lstat(path)
                if not (stat.S_ISREG(status.st_mode) and status.st_nlink > 1):
                    remove(path)


def _names(*path: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(*path)))
    except (FileNotFoundError, NotADirectoryError):
        return []
