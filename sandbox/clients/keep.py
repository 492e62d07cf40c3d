"""Changes a client's config file as a whole or not at all, one of us at a time.

The draft lies beside the file, is on disk before it takes the file's name, and takes it only while the
file is still what was read. `unlink` of an old draft and `rename` are the only steps that anybody sees.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from sandbox.clients.codec import MAX_BYTES
from sandbox.errors import SandboxError
from sandbox.places import state_dir
from sandbox.policy.cache import make_private
from sandbox.records import dataclass

FOLDER: Final = "clients"
LARGEST: Final = MAX_BYTES
"""Bytes of a config file; some clients keep their whole state in it."""
LOCK_S: Final = 10.0
_PAUSE_S: Final = 0.02
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class NotChanged(SandboxError):
    """A config file that cannot be read or must not be written; nothing was changed."""

    exit_status = 1


@dataclass(frozen=True, slots=True)
class Held:
    """A config file as it was read: by the name it is known by, and where that really leads."""

    path: str
    real: str
    content: bytes
    mode: int
    group: int


def read(path: str) -> Held:
    """The file as it is now; it may be a link, and must be a regular file of at most `LARGEST` bytes."""
    real = os.path.realpath(path)
    try:
        with open(os.open(real, os.O_RDONLY | _FLAGS), "rb") as file:
            held = os.fstat(file.fileno())
            if not stat.S_ISREG(held.st_mode):
                raise NotChanged("not-a-file", f"`{path}` is not a regular file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise NotChanged("unreadable", f"`{path}` cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise NotChanged("too-large", f"`{path}` is larger than {LARGEST >> 20} MiB, and is left alone")
    return Held(path, real, content, stat.S_IMODE(held.st_mode), held.st_gid)


def replace(held: Held, content: bytes) -> None:
    """Gives the file new content, with its mode, group and attributes; only while it is what was read."""
    directory, name = os.path.split(held.real)
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritten(held, error) from None
    draft = f".{name[:200]}.mcp-sandbox"
    try:
        _refuse_what_is_lost(held, folder, name)
        _write(folder, draft, content, held, name)
        if _content(folder, name) != held.content:
            raise NotChanged("changed-meanwhile", f"`{held.path}` has changed since it was read", hint=AGAIN)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        with suppress(OSError):  # not every file system knows it of a directory, and the file is there
            os.fsync(folder)
    except OSError as error:
        raise _unwritten(held, error) from None
    finally:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        os.close(folder)


AGAIN: Final = "close the client, then run the command again"


def _refuse_what_is_lost(held: Held, folder: int, name: str) -> None:
    """A rename leaves other names of the file behind, and makes it ours where it was not."""
    now = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if now.st_uid != os.geteuid():
        what = f"`{held.path}` belongs to another user"
        raise NotChanged("not-yours", what, hint="run the command as the user whose file it is")
    if now.st_nlink > 1:
        what = f"`{held.path}` has {now.st_nlink} names (hard links), and only one would change"
        raise NotChanged("hard-linked", what, hint=f"cp -p FILE FILE.one && mv FILE.one FILE  # {name}")


def _write(folder: int, draft: str, content: bytes, held: Held, name: str) -> None:
    # Whoever left it had the lock, and has not got it any more.
    with suppress(FileNotFoundError):
        os.unlink(draft, dir_fd=folder)
    # Nobody else may look before it has the file's own mode: it holds what the file holds.
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600, dir_fd=folder)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(fd, left) :]
        if os.fstat(fd).st_gid != held.group:
            os.fchown(fd, -1, held.group)
        _copy_attributes(folder, name, fd)
        os.fchmod(fd, held.mode)
        os.fsync(fd)
    finally:
        os.close(fd)


def _copy_attributes(folder: int, name: str, fd: int) -> None:
    """Access lists and labels; what the file system does not keep it did not have."""
    if not hasattr(os, "listxattr"):
        return  # macOS: Python has no calls for them there
    source = os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder)
    try:
        for attribute in os.listxattr(source):
            value = os.getxattr(source, attribute)
            if not _has(fd, attribute, value):
                _set(fd, attribute, value)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(source)


def _set(fd: int, attribute: str, value: bytes) -> None:
    try:
        os.setxattr(fd, attribute, value)
    except PermissionError:
        if not attribute.startswith(("security.", "trusted.")):
            raise  # those are the system's to give, and it has given its own


def _has(fd: int, attribute: str, value: bytes) -> bool:
    """A label such as SELinux's is mostly there already, and may not be ours to set."""
    try:
        return os.getxattr(fd, attribute) == value
    except OSError:
        return False


def _content(folder: int, name: str) -> bytes:
    with open(os.open(name, os.O_RDONLY | _FLAGS, dir_fd=folder), "rb") as file:
        return file.read(LARGEST + 1)


def _unwritten(held: Held, error: OSError) -> NotChanged:
    return NotChanged("unwritable", f"`{held.path}` cannot be written: {error.strerror}")


def folder_of(environ: Mapping[str, str]) -> str:
    """Where what was changed is remembered."""
    return os.path.join(state_dir(environ), FOLDER)


@contextmanager
def alone(environ: Mapping[str, str]) -> Iterator[None]:
    """Within it no other of ours of this user reads, decides and writes."""
    folder = folder_of(environ)
    try:
        make_private(folder)
        fd = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
    except OSError as error:
        raise NotChanged("no-state", f"`{folder}` cannot be used: {error.strerror}") from None
    try:
        _lock(fd)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    end = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                what = "another `mcp-sandbox clients` is at work"
                raise NotChanged("busy", what, hint="answer its question, or end it") from None
            time.sleep(_PAUSE_S)
