"""A shipped filter that refuses more than its tier does: for the bridge, which needs less than a server."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from errno import EPERM

from sandbox.backend.native.notify import numbers
from sandbox.backend.native.seccomp import FOREIGN, RET_ERRNO, RET_KILL_PROCESS, RET_USER_NOTIF
from sandbox.errors import CannotEnforce

PROGRAMS = ("execve", "execveat", "fork", "vfork", "ptrace", "kill", "tkill", "pidfd_send_signal")
FILES = tuple(
    "open openat openat2 creat unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat"
    " mkdir mkdirat rmdir mknod mknodat truncate chmod fchmodat fchmodat2 chown lchown fchownat"
    " setxattr lsetxattr readlink readlinkat getdents getdents64 chdir fchdir inotify_add_watch".split()
)
SERVING = ("bind", "listen", "accept", "accept4")
CONNECTING = ("socket", "connect")
INSIDE = (*PROGRAMS, *FILES, *SERVING)
OUTSIDE = (*INSIDE, *CONNECTING)
"""Of a bridge beside the sandbox: every connection that it has was handed to it."""
_LINE = struct.Struct("<HBBI")
_HEAD = 4
"""Instructions of a shipped filter's head: whose machine's call it is, and its number."""
_EQUAL, _RETURN, _LOAD_NUMBER = 0x15, 0x06, (0x20, 0, 0, 0)
_FOREIGN = ((_RETURN, 0, 0, RET_USER_NOTIF | FOREIGN), (_RETURN, 0, 0, RET_KILL_PROCESS))


def without(bpf: bytes, names: Iterable[str], machine: str) -> bytes:
    """The same filter, under which the calls `names` fail; one that does not begin as ours do is refused."""
    head, search = bpf[: _HEAD * _LINE.size], bpf[_HEAD * _LINE.size :]
    lines = list(_LINE.iter_unpack(head))
    if len(lines) != _HEAD or lines[2] not in _FOREIGN or lines[3] != _LOAD_NUMBER:
        raise CannotEnforce("no-filter", "the shipped filter does not begin as it should")
    known = numbers(machine)
    refused = (_RETURN, 0, 0, RET_ERRNO | EPERM)
    found = [line for name in names if name in known for line in ((_EQUAL, 0, 1, known[name]), refused)]
    return head + b"".join(_LINE.pack(*line) for line in found) + search
