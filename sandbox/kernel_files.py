"""Files of /proc and /sys that hold one value, each in one system call: `open` takes five, and more time."""

from __future__ import annotations

import os

_MOST = 4096


def write(path: str, value: str) -> None:
    """Into a file that is there; the error names file and value."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, f"{path} = {value}: {error.strerror}") from error
    finally:
        os.close(fd)


def number(path: str) -> int:
    """What stands there; `ValueError` where that is no number."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, _MOST))
    finally:
        os.close(fd)
