"""The part of the view that every sandbox has: programs, /etc, /dev, /proc and scratch space."""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.plan.spec import Bind, Device, Directory, Proc, Symlink, Tmpfs, ViewStep
from sandbox.records import dataclass

PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
# What OCI engines mask and protect (runtime-spec, Linux), and what else speaks of the whole machine.
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    # How this machine was started: names of disks, addresses, now and then a password.
    "/proc/cmdline",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/key-users",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/modules",
    # Anybody may write triggers for the whole machine's load there (accounting/psi.rst).
    "/proc/pressure",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/vmallocinfo",
)
_FEWEST_FILES, _MANY = 1024, 64 << 20
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True)
class Scratch:
    """Bytes of each tree in memory; together never more than `quota.disk`."""

    home: int
    tmp: int
    shm: int


def inodes(size: int) -> int:
    """How many files a tree in memory may have: one a KiB up to 64 MiB, one in 16 KiB beyond.

    Each takes about a KiB of the kernel's own memory, which counts against no size.
    """
    return max(_FEWEST_FILES, min(size, _MANY) >> 10) + (max(0, size - _MANY) >> 14)


def programs(system: Mapping[str, str]) -> tuple[ViewStep, ...]:
    """/usr read-only, and /bin, /lib and their like as the host has them: links or directories."""
    steps: list[ViewStep] = []
    for path in PROGRAMS:
        link = system.get(path)
        if link:
            steps.append(Symlink(path, link))
        elif link is not None:
            steps.append(Bind(path, path, why="system"))
    return tuple(steps)


def kernel(scratch: Scratch) -> tuple[ViewStep, ...]:
    """A /dev of six harmless nodes and a /proc of the sandbox's own; no /sys, no terminals."""
    return (
        # On the read-only root, not on a tmpfs of its own: nothing can be created in /dev.
        Directory("/dev"),
        *(Device(name) for name in DEVICES),
        *(Symlink(path, to) for path, to in DEVICE_LINKS),
        Tmpfs("/dev/shm", scratch.shm, inodes(scratch.shm), mode=0o1777),  # noqa: S108 - a place inside the sandbox
        Proc(MASKED, READONLY),
    )


def scratch_space(home: ViewStep, scratch: Scratch) -> tuple[ViewStep, ...]:
    """An empty home and /tmp, and the empty directories that programs expect."""
    return (
        Directory("/run"),
        Tmpfs("/tmp", scratch.tmp, inodes(scratch.tmp), mode=0o1777),  # noqa: S108 - a place inside the sandbox
        # Relative, so that it means the sandbox's own /tmp even while the view is being built.
        Symlink("/var/tmp", "../tmp"),  # noqa: S108 - a place inside the sandbox
        home,
    )
