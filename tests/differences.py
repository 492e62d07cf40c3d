"""Where another backend answers an attack otherwise than native, and why that is as safe or how it is not.

A test asks for what this backend's answer has to be, so each of these is proved; docs/backends.md shows all.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.backends import DOCKER, GVISOR, NATIVE

OWN = "its own"
"""Something is there, and it is the image's or the runtime's: nothing of the host's."""
EMPTY = "empty"


@dataclass(frozen=True)
class Difference:
    """What each backend says; an empty word is the one before it."""

    native: str
    docker: str
    gvisor: str
    why: str

    def on(self, backend: str) -> str:
        """This backend's answer."""
        docker = self.docker or self.native
        return {NATIVE: self.native, DOCKER: docker, GVISOR: self.gvisor or docker}[backend]


_IMAGE = "the root is the image's, which has such a directory; the host's is not mounted"

DIFFERENCES = {
    "/etc/shadow": Difference("ENOENT", "EACCES", "", "the image has one, which only its root may read"),
    "/root": Difference("ENOENT", "EACCES", "", "the image has one, which only its root may enter"),
    "/boot": Difference("ENOENT", OWN, "", _IMAGE),
    "/srv": Difference("ENOENT", OWN, "", _IMAGE),
    "/var/lib": Difference("ENOENT", OWN, "", _IMAGE),
    "/sys": Difference(
        "ENOENT",
        EMPTY,
        OWN,
        "every engine mounts one: covered here; gVisor's own kernel makes its own up",
    ),
    "/sys/fs/cgroup": Difference("ENOENT", "", EMPTY, "gVisor's own /sys, which no mask covers"),
    "process 1": Difference(
        "EACCES EPERM",
        OWN,
        "",
        "the engine's init has the server's uid and environment and nothing else: there is nothing to hide",
    ),
    "HOSTNAME": Difference("not set", "set", "", "every engine sets it, to `sandbox`"),
    "namespaces": Difference(
        "user mnt pid net ipc uts cgroup",
        "mnt pid net ipc uts cgroup",
        "those of gVisor's own process",
        "an engine without user namespaces has none for the container: its root would be the host's, "
        "were there a way to it; the server is another uid, without capabilities",
    ),
    "openat2": Difference("ENOSYS", "", "EPERM", "gVisor's filter knows no other answer than EPERM"),
    "a forbidden call": Difference(
        "named, then killed",
        "killed",
        "EPERM",
        "an engine's filter has no listener: the process is ended, and only the kernel's log names the call; "
        "gVisor's filter knows no other answer than EPERM",
    ),
    "a socket that comes later": Difference(
        "granted", "", "EPERM", "gVisor connects to no socket of the host's at all"
    ),
    "a socket in a grant": Difference(
        "ECONNREFUSED", "", "EPERM", "the same: covered elsewhere, under gVisor out of reach as it is"
    ),
    "a file where a mount comes later": Difference("EROFS", "", "EACCES", "gVisor looks at the owner first"),
    "core_pattern": Difference("EROFS EACCES", "", "ENOENT", "gVisor's kernel has no such switch"),
    "/proc/cmdline": Difference(
        EMPTY, "", OWN, "gVisor takes no masks over its /proc, which tells of its own kernel only"
    ),
    "a terminal": Difference("ENXIO ENOTTY", "", "EIO", "gVisor's word for a terminal that is not there"),
    "inodes": Difference(
        "one a KiB",
        "",
        "unbounded",
        "gVisor's tmpfs counts bytes and no inodes: the memory quota is what ends this",
    ),
    "memory of forty processes": Difference(
        "300M", "", "900M", "gVisor's own kernel is paid from the same quota, 4 MB for each process"
    ),
}


def differs(what: str, backend: str, native: str) -> str:
    """What `backend` has to answer; `native` stands in the test, and the table may not say otherwise."""
    row = DIFFERENCES[what]
    assert row.native == native, f"tests/differences.py has another answer of native's for {what}"
    return row.on(backend)
