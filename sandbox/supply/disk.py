"""What the store writes and removes, as the disk sees it too: synced, moved into place, or gone."""

from __future__ import annotations

import os
from contextlib import suppress


def write(path: str, content: bytes, mode: int) -> None:
    """The file has this content, also after a power failure; a link in its place is not followed."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(fd, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(fd)


def sync_directory(path: str) -> None:
    """The names in the directory are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: str) -> None:
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
