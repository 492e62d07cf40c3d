"""What an engine's mounts cannot make, in a folder of the session's own: written files, mapped owners.

A root caller's tree is cloned and attributed as native does it (`view.gather`), then attached below the
folder, where the engine finds it: nothing of the caller's is looked up by name afterwards.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from socket import AF_UNIX, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET, socket

from sandbox import linux
from sandbox.backend.docker.orders import Orders
from sandbox.backend.native import identity, view
from sandbox.errors import SandboxNotBuilt
from sandbox.plan.spec import Bind

_OTHERS_READ = 0o044
"""Inside alone: the folder is the caller's, and nobody else enters it."""


def stage(orders: Orders) -> None:
    """Makes the folder and all that the body names in it."""
    os.makedirs(orders.folder, mode=0o700)
    for name, mode, content in orders.files:
        path = f"{orders.folder}/{name}"
        # A server that is somebody else must be able to read what native would write as its own.
        stranger = os.geteuid() not in (0, orders.uid)
        _write(path, content.encode("latin-1"), mode | (_OTHERS_READ if stranger else 0))
        if os.geteuid() == 0:
            os.chown(path, orders.uid, orders.gid)
    _map_owners(orders)


def _write(path: str, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)


def _map_owners(orders: Orders) -> None:
    steps = {
        number: Bind(source, source, writable=writable, owner=(uid, gid), idmap=True, is_dir=is_dir)
        for number, source, writable, is_dir, uid, gid in orders.trees
    }
    if not steps:
        return
    maps = identity.idmaps(steps.values(), orders.uid, orders.gid)
    # Each its own: one source may stand at two places, and what is attached once is used up.
    trees = {number: view.gather((step,), maps)[step] for number, step in steps.items()}
    _enter_the_engines(orders.engine)
    for number, step in steps.items():
        place = f"{orders.folder}/{number}"
        if step.is_dir:
            os.mkdir(place)
        else:
            _write(place, b"", 0o600)
        linux.attach_tree(trees[number], place)
        os.close(trees[number])
    for userns in maps.values():
        os.close(userns)


def _enter_the_engines(endpoint: str) -> None:
    """From here on our mounts are the engine's: it sees none of a mount namespace of the caller's own."""
    try:
        its = f"/proc/{_listener(endpoint)}/ns/mnt"
        if os.readlink("/proc/self/ns/mnt") != os.readlink(its):
            linux.enter_mounts(its)
    except OSError as error:
        # What is written to a place that the engine does not see would be lost.
        what = f"whether the engine at {endpoint} sees this process's mounts cannot be told"
        hint = "use the engine's own unix socket, or start it as an unprivileged user"
        raise SandboxNotBuilt("mounts-unseen", what, hint=hint) from error


def _listener(endpoint: str) -> int:
    """The pid of whoever listens at a socket of this machine (unix(7), SO_PEERCRED); 0 elsewhere."""
    scheme, _, path = endpoint.partition("://")
    if scheme != "unix":
        return 0
    with socket(AF_UNIX, SOCK_STREAM) as one:
        one.connect(path)
        return int(struct.unpack("=iII", one.getsockopt(SOL_SOCKET, SO_PEERCRED, 12))[0])


def clear(folder: str) -> bool:
    """Takes all of it away, nothing in a tree that is still mounted; False where some is left."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return True
    for name in names:
        _remove(f"{folder}/{name}")
    with suppress(OSError):
        os.rmdir(folder)
    return not os.path.lexists(folder)


def _remove(path: str) -> None:
    if os.geteuid() == 0:
        with suppress(OSError):  # not a mount
            linux.umount(path, linux.MNT_DETACH)
    with suppress(OSError):
        # A directory here is only ever a mount point: a mounted one is busy, one with content is not ours.
        (os.rmdir if os.path.isdir(path) and not os.path.islink(path) else os.unlink)(path)
