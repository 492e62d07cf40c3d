"""The calls that Python lacks, for the attacks (x86_64 and aarch64 through libc, no numbers)."""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWPID = (
    0x20000,
    0x4000000,
    0x10000000,
    0x40000000,
    0x20000000,
)
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MNT_DETACH = 1, 32, 4096, 16384, 2


def checked(result: int) -> int:
    """The result, or the error the kernel gave."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    checked(LIBC.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None))


def umount(target: str) -> None:
    checked(LIBC.umount2(target.encode(), MNT_DETACH))


def unshare(flags: int) -> None:
    checked(LIBC.unshare(flags))


def become_root_of_new_namespace(flags: int) -> None:
    """Capabilities over `flags` in a user namespace of one's own: what any program may take by default."""
    uid, gid = os.getuid(), os.getgid()
    unshare(CLONE_NEWUSER | flags)
    for name, value in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(value)
