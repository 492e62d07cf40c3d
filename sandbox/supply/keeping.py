"""A built tree goes into the store: its files shared, all of it on the disk, then renamed into place."""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress

from sandbox.errors import SandboxNotBuilt
from sandbox.supply import blobs, manifest, stamps
from sandbox.supply.compared import SEALED
from sandbox.supply.disk import remove, sync_directory, sync_filesystem, write
from sandbox.supply.store import Store
from sandbox.supply.verify import Listed, remember, verify

_OWN = frozenset(("tree", "manifest", "stamps", "used"))


def keep(store: Store, staging: str, digest: str, listed: bytes) -> None:
    """The staged tree is in its place, all of it or nothing, also after a crash; this process holds it."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(staging, "log"))
    write(os.path.join(staging, "manifest"), listed, 0o444)
    records = manifest.parse(listed)
    blobs.share(os.path.join(store.root, "blobs"), staging, records)
    sync_filesystem(staging)
    _stamp(staging, digest, records)
    # mkdtemp gave 0700; a tree is read by the sandbox's own uid through its mount.
    os.chmod(staging, 0o755)  # noqa: S103 - the store above it is 0700
    store.hold_staged(staging, digest)
    while not _placed(store, staging, digest):
        pass
    sync_directory(os.path.dirname(store.place(digest)))


def _stamp(staging: str, digest: str, records: list[manifest.Record]) -> None:
    """The first start need not read what was hashed just now; but for links, whose blob may not be touched,
    nothing has happened since."""
    time.sleep(stamps.SETTLED_NS / 1e9)  # else what was linked last would count as unsettled
    place = os.path.join(staging, "manifest")
    listed = Listed(os.path.join(staging, "tree"), digest, place, os.path.join(staging, "stamps"), SEALED)
    root = os.open(listed.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        seen = [(b"", stamps.of(os.fstat(root)))]
        for kind, _, path in records:
            if kind != manifest.LINK:
                seen.append((path, stamps.of(os.stat(path, dir_fd=root, follow_symlinks=False))))
    finally:
        os.close(root)
    own = stamps.of(os.stat(place))
    remember(listed, [path for path, _ in seen[1:]], [own, *(stamp for _, stamp in seen)])


def _placed(store: Store, staging: str, digest: str) -> bool:
    """The tree is there, this one or the same content under another key; False where a broken one went."""
    place = store.place(digest)
    try:
        os.rename(staging, place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return (_stands(store, digest) and _completed(place, staging)) or _put_aside(place, staging)
    return True


def _completed(place: str, staging: str) -> bool:
    """What this build knows besides of the same tree, such as how it was resolved, is what counts now."""
    for name in os.listdir(staging):
        if name not in _OWN:
            os.rename(os.path.join(staging, name), os.path.join(place, name))
    return True


def _stands(store: Store, digest: str) -> bool:
    """What is there already is whole: a build is how a tree that was changed is mended."""
    try:
        verify(store, digest, deep=True)
    except SandboxNotBuilt:
        return False
    return store.hold_anew(digest)


def _put_aside(place: str, staging: str) -> bool:
    """A server that still runs from it keeps its files until all of it is removed; nobody starts from it."""
    aside = f"{staging}.broken"  # swept with its key, if we die here
    remove(aside)
    with suppress(FileNotFoundError):
        os.rename(place, aside)
    remove(aside)
    return False
