"""Files that trees share: one content and mode is one file on the disk, however many trees have it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from sandbox.supply.compared import SEALED, hashed
from sandbox.supply.disk import remove
from sandbox.supply.manifest import FILE, PROGRAM, Record

_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
"""What a file system without hard links, or a host that forbids them, answers."""


def share(folder: str, staging: str, records: Iterable[Record]) -> None:
    """Each file of the sealed tree in `staging` becomes its blob, or a name of the blob that is there; where
    links cannot be made, the tree keeps files of its own.

    The tree must have no other writer any more: whoever had a file of it open would hold every tree's.
    """
    tree, part = os.fsencode(os.path.join(staging, "tree")), os.fsencode(os.path.join(staging, "part"))
    sound: set[bytes] = set()
    try:
        for kind, value, path in records:
            if kind in (FILE, PROGRAM):
                blob = place(folder, kind, value)
                _share(blob, tree + b"/" + path, part, None if blob in sound else (kind, value))
                sound.add(blob)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise


def place(folder: str, kind: bytes, value: bytes) -> bytes:
    """Where the blob of that kind and hash is."""
    name = value + b".x" if kind == PROGRAM else value
    return b"/".join((os.fsencode(folder), value[:2], name))


def _share(blob: bytes, file: bytes, part: bytes, wanted: tuple[bytes, bytes] | None) -> None:
    """Until one of both is done: others offer and prune the same blob meanwhile."""
    while not _offered(file, blob):
        if _sound(blob, wanted) and _replaced(file, blob, part):
            return


def _offered(file: bytes, blob: bytes) -> bool:
    """The file has become the blob; False where there is another one."""
    try:
        os.link(file, blob, follow_symlinks=False)
    except FileExistsError:
        return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(blob), mode=0o700, exist_ok=True)
        return False
    return True


def _replaced(file: bytes, blob: bytes, part: bytes) -> bool:
    """The file has become a name of the blob; False where that went, or has all names that it can have."""
    try:
        os.link(blob, part, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        os.unlink(blob)  # the trees keep it; the next blob takes over
        return False
    # Of two names of one file rename(2) leaves both.
    os.rename(part, file)
    with suppress(FileNotFoundError):
        os.unlink(part)
    return True


def _sound(blob: bytes, wanted: tuple[bytes, bytes] | None) -> bool:
    """What is there is what its name says, or it is removed: one flipped byte must not spread."""
    if wanted is None:
        return True
    kind, value = wanted
    with suppress(OSError):
        status = os.lstat(blob)
        if stat.S_IMODE(status.st_mode) == SEALED[kind] and hashed(None, blob) == value.decode():
            return True
    remove(os.fsdecode(blob))
    return False
