"""Who the sandbox is on the host: never uid 0, and how host files look to it (user_namespaces(7)).

A root caller drops to a uid of this session's own, far above any account or container range; files
of the mounts it was granted are mapped to that uid and back (idmapped mounts, Linux 5.12).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from sandbox import kernel_files, linux
from sandbox.plan.spec import Bind, Identity, ViewStep

# Above systemd's container range (524288 to 1878982656) and below 2^31; a pid is at most 2^22.
FIRST_UID = 1_880_000_000


def host_ids(identity: Identity, keeper: int) -> tuple[int, int]:
    """uid and gid on the host; a dropped root gets one that no other session has."""
    if identity.drop:
        return FIRST_UID + keeper, FIRST_UID + keeper
    return identity.uid, identity.gid


def drop_root(uid: int, gid: int) -> None:
    """Gives up root for good; the process may still map its own ids afterwards."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if 0 in (*os.getresuid(), *os.getresgid()):
        raise PermissionError(1, "still root after setresuid")
    # A change of uid makes /proc/self root's own, and uid_map with it.
    linux.prctl(linux.PR_SET_DUMPABLE, 1)


def map_ids(identity: Identity, uid: int, gid: int) -> None:
    """Gives the one uid and gid of the host the numbers of `identity` in the user namespace just entered."""
    maps = (("uid_map", f"{identity.uid} {uid} 1"), ("gid_map", f"{identity.gid} {gid} 1"))
    for name, value in (("setgroups", "deny"), *maps):
        kernel_files.write(f"/proc/self/{name}", value)


def idmaps(steps: Iterable[ViewStep], uid: int, gid: int) -> dict[tuple[int, int], int]:
    """For every owner of an idmapped mount, a user namespace that shows that owner as `uid`."""
    owners = {step.owner for step in steps if isinstance(step, Bind) and step.idmap}
    return {owner: _mapping(owner, (uid, gid)) for owner in owners}


def _mapping(owner: tuple[int, int], sandbox: tuple[int, int]) -> int:
    child = linux.clone(linux.CLONE_NEWUSER)
    if child == 0:
        os._exit(0)  # what is left of it until we wait has its namespace, which clone(2) has made
    try:
        for name, outside, inside in zip(("uid_map", "gid_map"), owner, sandbox, strict=True):
            kernel_files.write(f"/proc/{child}/{name}", f"{outside} {inside} 1")
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.waitpid(child, 0)
