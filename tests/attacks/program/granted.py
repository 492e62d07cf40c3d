"""Attacks on the host by what is left in a granted directory."""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct

import kernel

SET_IDS = stat.S_ISUID | stat.S_ISGID
PROGRAM = b"#!/bin/sh\nexec id -u\n"
AT_FDCWD, SYS_OPENAT2 = -100, 437


def set_ids(path: str, how: str) -> str:
    """A program in the granted directory with the setuid and setgid bits, made in the way `how`."""
    _WAYS[how](path, 0o755 | SET_IDS)
    return oct(stat.S_IMODE(os.lstat(path).st_mode))


def _change(path: str, mode: int) -> None:
    with open(path, "wb") as file:
        file.write(PROGRAM)
    os.chmod(path, mode)


def _change_open(path: str, mode: int) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(PROGRAM)
        os.fchmod(file.fileno(), mode)


def _create(path: str, mode: int) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def _create_nameless(path: str, mode: int) -> None:
    fd = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY, mode)
    # With a directory's descriptor Python calls linkat(2), which follows the link.
    descriptors = os.open("/proc/self/fd", os.O_RDONLY)
    os.link(str(fd), path, src_dir_fd=descriptors, follow_symlinks=True)
    os.close(descriptors)
    os.close(fd)


def _make_node(path: str, mode: int) -> None:
    os.mknod(path, stat.S_IFREG | mode)


def _create_by_openat2(path: str, mode: int) -> None:
    how = struct.pack("=QQQ", os.O_CREAT | os.O_WRONLY, mode, 0)
    number, where, size = (ctypes.c_long(n) for n in (SYS_OPENAT2, AT_FDCWD, len(how)))
    os.close(kernel.checked(kernel.LIBC.syscall(number, where, path.encode(), how, size)))


def connect(path: str) -> str:
    """What the host's service behind a socket in a granted directory says."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)
        return client.recv(100).decode()


_WAYS = {
    "chmod": _change,
    "fchmod": _change_open,
    "open": _create,
    "O_TMPFILE": _create_nameless,
    "mknod": _make_node,
    "openat2": _create_by_openat2,
}
