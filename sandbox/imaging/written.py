"""A file of this user's alone that is there whole, or as it was before."""

from __future__ import annotations

import os


def write(path: str, content: bytes) -> None:
    """Replaces the file in one step; its folder is made where it is missing."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    staged = f"{path}.{os.getpid()}"
    fd = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as opened:
            opened.write(content)
        os.replace(staged, path)
    except OSError:
        os.unlink(staged)
        raise
