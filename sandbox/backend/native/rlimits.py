"""Resource limits of the server's processes (setrlimit(2)), set inside its user namespace."""

from __future__ import annotations

import resource
from contextlib import suppress
from math import ceil

from sandbox import kernel_files
from sandbox.plan.spec import Limits

# Beyond the limit: Node reserves address space that it never touches, and does not start without; and who is
# refused memory ends by itself, before the watchdog could say why.
DATA_ROOM = 256 << 20
OWN_PROCESSES = 1
LATER_S = 5
SHARES = (("instances", 4), ("watches", 2))
"""What can be used up for all programs of a user, and the part of it that one sandbox gets."""


def table(limits: Limits) -> list[tuple[int, int]]:
    """Each resource with its limit. Memory and processes are rlimits only where no cgroup holds them."""
    # 1 and not 0: a `|handler` in core_pattern, which the kernel starts as root, ignores 0 (core(5)).
    rows = [(resource.RLIMIT_CORE, 1)]
    if limits.open_files is not None:
        rows.append((resource.RLIMIT_NOFILE, limits.open_files))
    if limits.cpu_time is not None:
        # Of one process, and later than the watchdog, which adds all of them up and says why.
        rows.append((resource.RLIMIT_CPU, ceil(limits.cpu_time) + LATER_S))
    if limits.mechanism == "rlimit" and limits.pids is not None:
        rows.append((resource.RLIMIT_NPROC, limits.pids + OWN_PROCESSES))
    if limits.mechanism == "rlimit" and limits.memory is not None:
        rows.append((resource.RLIMIT_DATA, limits.memory + DATA_ROOM))
    return rows


def share_watchers() -> None:
    """Leaves the caller most of what one user may watch: by root of the namespace, before it gives that up.

    The kernel counts watchers of files for the namespace and for the user who made it (namespaces(7),
    /proc/sys/user). Where /proc/sys is read-only, as in many containers, it stays as it is.
    """
    for name, part in SHARES:
        with suppress(OSError):
            most = max(1, kernel_files.number(f"/proc/sys/fs/inotify/max_user_{name}") // part)
            kernel_files.write(f"/proc/sys/user/max_inotify_{name}", str(most))


def apply(limits: Limits) -> None:
    """Sets soft and hard limit alike, never above the hard limit that the caller already has."""
    for kind, wanted in table(limits):
        _, hard = resource.getrlimit(kind)
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))
