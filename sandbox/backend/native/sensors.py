"""What the wrapper measures a sandbox by: descriptors that process 1 and the server's child send out.

They go over a pair of sockets by SCM_RIGHTS (unix(7)), one message for one or more names, a line each, before
`ready` is told: `disk:/tmp` is an O_PATH descriptor of a tmpfs of the view, `syscalls` the listener of the
server's filter. Neither the descriptors nor the channel outlive execve(2), so the server has none of them.
"""

from __future__ import annotations

import array
import os
from _socket import CMSG_LEN, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, SCM_RIGHTS, SOL_SOCKET, socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sandbox.plan.spec import Spec, Tmpfs

SYSCALLS = "syscalls"
DISK = "disk:"
_MOST = 253  # descriptors of one message, SCM_MAX_FD
_LONGEST = 1 << 16


def disks(spec: Spec) -> tuple[str, ...]:
    """The places of the view that are in memory and have a size."""
    return tuple(dict.fromkeys(step.target for step in spec.view if isinstance(step, Tmpfs)))


def expected(spec: Spec) -> frozenset[str]:
    """The names without which a sandbox of `spec` does not start."""
    places = [DISK + place for place in disks(spec)]
    # A bridge in a server's place is ours, and what it may not do fails: nobody is told of it first.
    return frozenset(places if spec.endpoint is not None and spec.endpoint.remote else [SYSCALLS, *places])


def send_disks(to: int, spec: Spec) -> None:
    """From inside the new root: a descriptor of each such place, with which nothing can be opened or read."""
    places = disks(spec)
    if not places:
        return
    found = {DISK + place: os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for place in places}
    send(to, found)
    for fd in found.values():
        os.close(fd)


def send(to: int, found: Mapping[str, int]) -> None:
    """One message; the descriptors stay open here too."""
    descriptors = array.array("i", found.values())
    with _adopted(to) as channel:
        channel.sendmsg(["\n".join(found).encode()], [(SOL_SOCKET, SCM_RIGHTS, descriptors)])


def receive(channel: int, names: frozenset[str]) -> dict[str, int]:
    """All that was sent, once `ready` was told; one that is missing is an error, and nothing stays open."""
    found: dict[str, int] = {}
    try:
        with _adopted(channel) as held:
            while names - found.keys():
                found |= _message(held)
    except (OSError, ValueError):
        for fd in found.values():
            os.close(fd)
        missing = ", ".join(sorted(names - found.keys()))
        raise OSError(5, f"the sandbox did not send what it is measured by: {missing}") from None
    return found


def _message(held: socket) -> dict[str, int]:
    descriptors = array.array("i")
    flags = MSG_DONTWAIT | MSG_CMSG_CLOEXEC
    said, ancillary, cut, _ = held.recvmsg(_LONGEST, CMSG_LEN(_MOST * descriptors.itemsize), flags)
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    names = said.decode().split("\n") if said else []
    # SOCK_SEQPACKET: MSG_CMSG_CLOEXEC alone comes back in the flags.
    if cut & ~MSG_CMSG_CLOEXEC or not names or len(names) != len(descriptors):
        for fd in descriptors:
            os.close(fd)
        raise OSError(5, "incomplete")
    return dict(zip(names, descriptors, strict=True))


@contextmanager
def _adopted(fd: int) -> Iterator[socket]:
    """A socket object around a descriptor that stays its owner's."""
    one = socket(fileno=fd)
    try:
        yield one
    finally:
        one.detach()
