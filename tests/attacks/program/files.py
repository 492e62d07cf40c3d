"""Attacks on files: read what was not granted, write what was granted to be read."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any

import kernel


def identity(path: str) -> list[int]:
    """Which file of which file system a path leads to."""
    status = os.stat(path)
    return [status.st_dev, status.st_ino]


def read(path: str) -> str:
    """The file's text."""
    with open(path, errors="replace") as file:
        return file.read(1 << 16)


def names(path: str) -> list[str]:
    return sorted(os.listdir(path))


def exists(path: str) -> bool:
    os.lstat(path)
    return True


def hunt(needle: str, roots: list[str], most: int = 60_000) -> list[str]:
    """Every small file below `roots` that holds `needle`, /proc and /dev left aside."""
    found, seen = [], 0
    for root in roots:
        for directory, below, files in os.walk(root):
            below[:] = [one for one in below if os.path.join(directory, one) not in ("/proc", "/dev", "/usr")]
            for name in files:
                path, seen = os.path.join(directory, name), seen + 1
                if seen > most:
                    return found
                if _holds(path, needle.encode()):
                    found.append(path)
    return found


def _holds(path: str, needle: bytes) -> bool:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode) or os.path.getsize(path) > 1 << 16:
            return False
        with open(path, "rb") as file:
            return needle in file.read()
    except OSError:
        return False


def append(path: str) -> int:
    with open(path, "a") as file:
        return file.write("tampered\n")


def create(path: str, content: str = "planted\n") -> int:
    with open(path, "x") as file:
        return file.write(content)


def truncate(path: str) -> None:
    os.truncate(path, 0)


def unlink(path: str) -> None:
    os.unlink(path)


def rename(path: str, to: str) -> None:
    os.rename(path, to)


def chmod(path: str) -> None:
    os.chmod(path, 0o777)  # noqa: S103 - the attack


def touch(path: str) -> None:
    os.utime(path, (1, 1))


def make_directory(path: str) -> None:
    os.mkdir(path)


def attribute(path: str) -> None:
    os.setxattr(path, "user.tampered", b"1")


def map_and_write(path: str) -> None:
    """A writable shared mapping of a file opened for reading only, and through /proc/self/fd."""
    fd = os.open(path, os.O_RDONLY)
    os.write(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY), b"tampered")


def hard_link(path: str, to: str) -> int:
    """A second name for `path` in a writable place, then a write through it."""
    os.link(path, to)
    return append(to)


def symbolic_link(to: str, path: str) -> str:
    """A link of our own making to a place outside, read through it."""
    os.symlink(to, path)
    return read(path)


def hashes(paths: list[str]) -> dict[str, str]:
    return {path: hashlib.sha256(open(path, "rb").read()).hexdigest() for path in paths}


def device(path: str, major: int = 1, minor: int = 5) -> None:
    """A device node of our own (1:5 is /dev/zero)."""
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(major, minor))


def run(*, path: str, argument: str) -> dict[str, Any]:
    """Runs a program that may be setuid; its output."""
    import subprocess

    done = subprocess.run([path, argument], capture_output=True, text=True, check=False)
    return {"status": done.returncode, "out": done.stdout}


# --- mounts: directly, and with every capability of a user namespace of one's own ------------------


def remount_writable(path: str) -> None:
    """Turns a read-only bind mount writable again; outside, first makes one there."""
    _privileged()
    if not os.path.ismount(path):
        kernel.mount(path, path, "", kernel.MS_BIND)
        kernel.mount("", path, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY)
    kernel.mount("", path, "", kernel.MS_REMOUNT | kernel.MS_BIND)


def bind_over(source: str, path: str) -> None:
    _privileged()
    kernel.mount(source, path, "", kernel.MS_BIND | kernel.MS_REC)


def mount_new(kind: str, path: str) -> None:
    _privileged()
    kernel.mount(kind, path, kind)


def unmount(path: str) -> None:
    """Uncovers what lies below a mount; outside, first puts one there."""
    _privileged()
    if not os.path.ismount(path):
        kernel.mount("tmpfs", path, "tmpfs")
    kernel.umount(path)


def change_root(path: str) -> None:
    _privileged()
    os.chroot(path)


def pivot(path: str) -> None:
    _privileged()
    kernel.mount("tmpfs", path, "tmpfs")
    os.mkdir(f"{path}/old")
    number = {"x86_64": 155, "aarch64": 41}[os.uname().machine]
    kernel.checked(kernel.LIBC.syscall(number, path.encode(), f"{path}/old".encode()))


def _privileged() -> None:
    kernel.become_root_of_new_namespace(kernel.CLONE_NEWNS)
