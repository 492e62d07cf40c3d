"""The package store: trees by content, requests by key, one builder a key, nothing half done.

    trees/DIGEST/{tree,manifest}   complete, or absent: renamed into place
    trees/DIGEST/{stamps,used}     what spares reading it again; locked by those who use it, dated by the last
    blobs/XX/SHA256[.x]            a file of some tree, which all trees with the same one share by hard links
    keys/KEY.json                  which tree answers a request
    locks/KEY                      held while KEY is built; the kernel drops it with its holder
    staging/KEY.XXXX/{tree,log}    a build under way; swept when its lock is free

The warm path reads one small file; everything heavy is imported where a build needs it.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from sandbox.errors import SandboxNotBuilt
from sandbox.places import cache_dir
from sandbox.plan.image import Image
from sandbox.records import dataclass
from sandbox.supply.disk import remove as remove
from sandbox.supply.disk import sync_directory, write
from sandbox.supply.key import SCHEMA

Stamp = tuple[int, int]
"""Size and modification time in ns: tells one build of an interpreter from the next without running it."""


_HELD: dict[str, set[str]] = {}
"""By store, the digests of the trees that this process holds until it ends."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The answer to a request: a tree, how each of its programs starts, and the interpreter it fits."""

    digest: str
    starts: Mapping[str, tuple[str, ...]]
    default: str | None
    """The program of npx's rule; None where the packages have none."""
    interpreter: str
    stamp: Stamp
    abi: str
    resolved: tuple[str, ...]
    built: int
    """Nanoseconds of the clock: tells a rebuild with the same outcome from no rebuild."""
    image: str = ""
    """The id of the image whose interpreter it is; empty where it is the host's."""


def stamp_of(path: str) -> Stamp | None:
    """The stamp of the interpreter at `path`; None where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def fits(entry: Entry, image: Image | None) -> bool:
    """The interpreter is the very one that the tree was built for."""
    if image is not None:
        return entry.image == image.id
    return stamp_of(entry.interpreter) == entry.stamp


def _stamp(size: int, mtime_ns: int) -> Stamp:
    return size, mtime_ns


def entry_of(raw: object) -> Entry | None:
    """An entry as it was written; anything else (an older schema, a damaged file) is no entry."""
    try:
        if not isinstance(raw, dict) or raw.pop("schema") != SCHEMA:
            return None
        starts = {name: tuple(argv) for name, argv in raw.pop("starts").items()}
        stamp, resolved = _stamp(*raw.pop("stamp")), tuple(raw.pop("resolved"))
        return Entry(starts=starts, stamp=stamp, resolved=resolved, **raw)
    except (KeyError, TypeError, AttributeError):
        return None


def environment_store(environ: Mapping[str, str]) -> Store:
    """The caller's own store, which nobody else can have written."""
    store = Store(os.path.join(cache_dir(environ), "store"))
    store.check_owner()
    return store


class Store:
    """The store at `root`, a directory of this user's alone."""

    def __init__(self, root: str) -> None:
        self.root = root

    def _path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def place(self, digest: str) -> str:
        """Where all that belongs to the tree of that digest is, or would be."""
        return self._path("trees", digest)

    def tree(self, digest: str) -> str:
        """Where the tree of that digest is, or would be."""
        return self._path("trees", digest, "tree")

    def hold(self, digest: str) -> bool:
        """Nobody removes the tree before this process ends; False where there is none."""
        held = _HELD.setdefault(self.root, set())
        try:
            if digest not in held:
                hold(self._path("trees", digest, "used"))
                held.add(digest)
        except FileNotFoundError:
            return False
        except OSError:
            pass  # whoever cannot write there cannot lock it, and only its owner could remove it
        return os.path.isdir(self.tree(digest))

    def hold_staged(self, staging: str, digest: str) -> None:
        """The tree that is about to be put in its place is held from before it is there."""
        hold(os.path.join(staging, "used"))
        _HELD.setdefault(self.root, set()).add(digest)

    def hold_anew(self, digest: str) -> bool:
        """The tree that is there now is held, whatever stood in its place before."""
        _HELD.setdefault(self.root, set()).discard(digest)
        return self.hold(digest)

    def lookup(self, key: str) -> Entry | None:
        """The entry of a request whose tree is there, and held; None for anything that needs a build."""
        try:
            with open(self._path("keys", f"{key}.json"), "rb") as opened:
                entry = entry_of(json.load(opened))
        except (FileNotFoundError, ValueError):
            return None
        return entry if entry is not None and self.hold(entry.digest) else None

    def check_owner(self) -> None:
        """A store that others could have written is refused: it decides what runs."""
        with suppress(FileNotFoundError):
            status = os.lstat(self.root)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not stat.S_ISDIR(status.st_mode):
                raise SandboxNotBuilt(
                    "store-not-ours",
                    f"`{self.root}` is not a directory that only this user can write",
                    rule="packages run only from a store of the caller's own",
                    hint="remove it, or set XDG_CACHE_HOME to a directory of this user's own",
                )

    def prepare(self) -> None:
        """The directories of the store, for this user alone."""
        for name in ("", "trees", "blobs", "keys", "locks", "staging"):
            os.makedirs(self._path(name) if name else self.root, mode=0o700, exist_ok=True)

    @contextmanager
    def lock(self, key: str, *, waiting: Callable[[], None] = lambda: None) -> Iterator[bool]:
        """Alone with the key until the block ends or this process dies; whether another had it first."""
        fd, waited = self._open_lock(key), False
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(fd, fcntl.LOCK_EX)
                waited = True
            yield waited
        finally:
            os.close(fd)

    def _open_lock(self, key: str) -> int:
        # Lock files stay: removing one would let two builders hold two files of one name.
        return os.open(self._path("locks", key), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note_failure(self, key: str, error: SandboxNotBuilt) -> None:
        """Those who wait for the lock right now learn why there is nothing to share."""
        said = json.dumps([time.monotonic_ns(), error.code, error.what, error.hint])
        write(self._path("locks", key), said.encode(), 0o600)

    def forget_failure(self, key: str) -> None:
        """What failed before, perhaps before the clock started again, is nobody's news."""
        write(self._path("locks", key), b"", 0o600)

    def failure(self, key: str, *, since: int) -> SandboxNotBuilt | None:
        """The failure noted after `since` (the monotonic clock, in ns), while this process waited."""
        try:
            with open(self._path("locks", key), "rb") as opened:
                at, code, what, hint = json.load(opened)
        except ValueError:
            return None  # empty: nothing has failed
        return SandboxNotBuilt(code, what, hint=hint) if at > since else None

    def sweep(self, *, held: str | None = None) -> None:
        """Remove what dead builders left: of the key whose lock is `held`, and of every key nobody holds."""
        try:
            names = os.listdir(self._path("staging"))
        except FileNotFoundError:
            return
        for name in names:
            key = name.partition(".")[0]
            if key == held:
                remove(self._path("staging", name))
            elif held is None:
                self._sweep_unheld(key, name)

    def _sweep_unheld(self, key: str, name: str) -> None:
        fd = self._open_lock(key)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(self._path("staging", name))
        except BlockingIOError:
            pass  # its builder lives
        finally:
            os.close(fd)

    @contextmanager
    def stage(self, key: str) -> Iterator[str]:
        """An empty staging directory (with `tree` in it) for the holder of the lock; gone afterwards."""
        import tempfile

        self.sweep(held=key)
        staging = tempfile.mkdtemp(prefix=f"{key}.", dir=self._path("staging"))
        try:
            os.mkdir(os.path.join(staging, "tree"), 0o755)
            yield staging
        finally:
            remove(staging)

    def keep(self, staging: str, digest: str, manifest: bytes) -> None:
        """Put the staged tree in its place, all of it or nothing, as the disk sees it too; it is held."""
        from sandbox.supply.keeping import keep  # only after a build

        keep(self, staging, digest, manifest)

    def remember(self, key: str, entry: Entry) -> None:
        """From now on the key is answered by `entry`, also after a crash; its lock is held."""
        from dataclasses import asdict  # only after a build

        body = json.dumps({"schema": SCHEMA, **asdict(entry)}, indent=1).encode()
        part = self._path("staging", f"{key}.entry")
        write(part, body, 0o600)
        os.rename(part, self._path("keys", f"{key}.json"))
        sync_directory(self._path("keys"))


locks: list[int] = []
"""The descriptors of what this process holds, for one that takes over from it."""


def hold(path: str) -> None:
    """A shared lock on a tree's `used` file until this process ends, and the time of it.

    Its descriptor is never closed: what a start forks keeps the lock too, and what it executes does not.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(fd, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                os.utime(fd)
                locks.append(fd)
                return
        os.close(fd)  # of a tree that went while we waited
