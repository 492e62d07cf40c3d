"""Puts a program into the test host: its network, and its `/etc/resolv.conf`, `hosts` and `nsswitch.conf`.

`enter.py NETNS ETC [--uid N --gid N] -- PROGRAM…`: NETNS is a namespace's file, ETC a directory with the
files that stand in for those of `/etc`. It must start as root; standard library only, any Python.
"""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS, CLONE_NEWNET = 0x20000, 0x40000000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def _must(outcome: int, what: str) -> None:
    if outcome != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def network(path: str) -> None:
    """This process is in that network namespace."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    _must(_libc.setns(fd, CLONE_NEWNET), f"setns {path}")
    os.close(fd)


def files(directory: str) -> None:
    """Each file of `directory` stands in for the one of `/etc`, for this process and its children only."""
    _must(_libc.unshare(CLONE_NEWNS), "unshare")
    # Slave, not private: what the machine unmounts later is unmounted here too.
    _must(_libc.mount(None, b"/", None, MS_REC | MS_SLAVE, None), "make / a slave")
    for name in sorted(os.listdir(directory)):
        # A mount on a symlink would follow it; `/etc/resolv.conf` often is one, sometimes to nowhere.
        target = os.path.realpath(f"/etc/{name}")
        if os.path.exists(target):
            source = os.path.join(directory, name)
            _must(_libc.mount(source.encode(), target.encode(), None, MS_BIND, None), f"bind {target}")
        else:
            raise FileNotFoundError(f"{target} does not exist, so nothing can stand in for it")


def become(uid: int, gid: int) -> None:
    """Root's groups, and then root, are gone."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def main(words: list[str]) -> None:
    """Enters, drops, and becomes the program."""
    at = words.index("--")
    (netns, etc, *options), argv = words[:at], words[at + 1 :]
    network(netns)
    files(etc)
    if options:
        chosen = dict(zip(options[::2], map(int, options[1::2]), strict=True))
        become(chosen["--uid"], chosen["--gid"])
    os.execvp(argv[0], argv)  # noqa: S606 - that is what this program is for


if __name__ == "__main__":
    main(sys.argv[1:])
