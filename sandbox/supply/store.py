"""The package store: trees by content, requests by key, one builder a key, nothing half done.

    trees/DIGEST/{tree,manifest}   complete, or absent: renamed into place
    keys/KEY.json                  which tree answers a request
    locks/KEY                      held while KEY is built; the kernel drops it with its holder
    staging/KEY.XXXX/{tree,log}    a build under way; swept when its lock is free

The warm path reads one small file; everything heavy is imported where a build needs it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from sandbox.errors import SandboxNotBuilt
from sandbox.plan.image import Image
from sandbox.records import dataclass
from sandbox.supply.key import SCHEMA

Stamp = tuple[int, int]
"""Size and modification time in ns: tells one build of an interpreter from the next without running it."""


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


def _entry(raw: object) -> Entry | None:
    """An entry as it was written; anything else (an older schema, a damaged file) is no entry."""
    try:
        if not isinstance(raw, dict) or raw.pop("schema") != SCHEMA:
            return None
        starts = {name: tuple(argv) for name, argv in raw.pop("starts").items()}
        stamp, resolved = _stamp(*raw.pop("stamp")), tuple(raw.pop("resolved"))
        return Entry(starts=starts, stamp=stamp, resolved=resolved, **raw)
    except (KeyError, TypeError, AttributeError):
        return None


class Store:
    """The store at `root`, a directory of this user's alone."""

    def __init__(self, root: str) -> None:
        self.root = root

    def _path(self, *names: str) -> str:
        return os.path.join(self.root, *names)

    def tree(self, digest: str) -> str:
        """Where the tree of that digest is, or would be."""
        return self._path("trees", digest, "tree")

    def lookup(self, key: str) -> Entry | None:
        """The entry of a request whose tree is there; None for anything that needs a build."""
        try:
            with open(self._path("keys", f"{key}.json"), "rb") as opened:
                entry = _entry(json.load(opened))
        except (FileNotFoundError, ValueError):
            return None
        if entry is None or not os.path.isdir(self.tree(entry.digest)):
            return None
        return entry

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
        for name in ("", "trees", "keys", "locks", "staging"):
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
        _write(self._path("locks", key), said.encode(), 0o600)

    def forget_failure(self, key: str) -> None:
        """What failed before, perhaps before the clock started again, is nobody's news."""
        _write(self._path("locks", key), b"", 0o600)

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
        """Put the staged tree in its place, all of it or nothing, as the disk sees it too."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(staging, "log"))
        _write(os.path.join(staging, "manifest"), manifest, 0o444)
        _sync_filesystem(staging)
        # mkdtemp gave 0700; a tree is read by the sandbox's own uid through its mount.
        os.chmod(staging, 0o755)  # noqa: S103 - the store above it is 0700
        place = self._path("trees", digest)
        if not os.path.isdir(self.tree(digest)):
            remove(place)  # half deleted by hand
        try:
            os.rename(staging, place)
        except OSError as error:
            # The same content under another key: one tree answers both.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        _sync_directory(self._path("trees"))

    def remember(self, key: str, entry: Entry) -> None:
        """From now on the key is answered by `entry`, also after a crash; its lock is held."""
        from dataclasses import asdict  # only after a build

        body = json.dumps({"schema": SCHEMA, **asdict(entry)}, indent=1).encode()
        part = self._path("staging", f"{key}.entry")
        _write(part, body, 0o600)
        os.rename(part, self._path("keys", f"{key}.json"))
        _sync_directory(self._path("keys"))


def _write(path: str, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(fd)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_filesystem(path: str) -> None:
    """Everything written below `path` is on the disk: thousands of fsync calls in one."""
    import subprocess

    # coreutils calls syncfs(2), which Python does not have; without it sync(2) does more than needed.
    try:
        subprocess.run(  # noqa: S603 - a fixed program and a directory of ours
            ["/usr/bin/sync", "--file-system", path], check=True, timeout=120, capture_output=True
        )
    except (OSError, subprocess.SubprocessError):
        os.sync()


def remove(path: str) -> None:
    """The file or directory is gone, whatever modes a build left in it; nothing there is fine too."""
    import shutil

    if not os.path.isdir(path) or os.path.islink(path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    with suppress(OSError, RecursionError):
        shutil.rmtree(path)
    if os.path.lexists(path):
        _remove_flat(path)


def _remove_flat(top: str) -> None:
    """For what stops rmtree: directories without their write bit, paths too long, trees too deep.

    A package chooses its own modes and depth, and remains that stay would fail every later start. Each
    directory is moved up to `top` before it is emptied, so that no path grows.
    """
    waiting, moved = [top], 0
    while waiting:
        here = waiting.pop()
        os.chmod(here, 0o700)
        for name in os.listdir(here):
            place = os.path.join(here, name)
            if os.path.islink(place) or not os.path.isdir(place):
                os.unlink(place)
                continue
            if here != top:
                os.chmod(place, 0o700)  # its `..` is about to change
                while os.path.lexists(up := os.path.join(top, f".moved-{moved}")):
                    moved += 1
                os.rename(place, up)
                place = up
            waiting.append(place)
        if here != top:
            os.rmdir(here)
    os.rmdir(top)
